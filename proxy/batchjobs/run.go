package batchjobs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	// maxRunning bounds the jobs that one process runs at a time.
	maxRunning = 2
	// pruneEvery is after how many notes of a job its older versions are removed: MinIO slows
	// down with them.
	pruneEvery = 100
	// noteTimeout bounds the note of a job whose process ends.
	noteTimeout = 3 * time.Second
)

// errCancelled and errTaken end a run: its job was cancelled, or is another process's now.
var (
	errCancelled = errors.New("the batch job was cancelled")
	errTaken     = errors.New("the batch job is another proxy's now")
)

// metrics are those of the jobs.
type metrics struct {
	objects *prometheus.CounterVec
	running prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bucketseal_batch_rewrapped_objects_total", Help: "Objects whose keys batch jobs sealed anew, or could not, by result.",
		}, []string{"result"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "bucketseal_batch_jobs_running", Help: "Batch jobs that this process runs."}),
	}
	if r != nil {
		r.MustRegister(m.objects, m.running)
	}
	return m
}

// sighting is a job as this process saw it, and since when it is so. Clocks are not compared:
// a job is another's as long as somebody notes it.
type sighting struct {
	etag string
	at   time.Time
	// ended is when a job that has ended did so, zero for others.
	ended time.Time
}

// Run runs jobs, until ctx ends. A job that it runs then is left to others.
func (j *Jobs) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	failing := false // said once until it is over
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.kick:
		case <-time.After(j.o.Poll):
		}
		err := j.look(ctx, &work)
		if err != nil && ctx.Err() == nil && !failing {
			j.o.Logger.Warn("cannot look for batch jobs; it is tried again", "error", err)
		}
		failing = err != nil
	}
}

// look goes through the jobs, and begins those that nobody runs.
func (j *Jobs) look(ctx context.Context, work *sync.WaitGroup) error {
	notes, _, err := j.o.System.ListNotes(ctx, prefix, "")
	if errors.Is(err, system.ErrNoBucket) {
		return nil // it is not set up yet
	}
	if err != nil {
		return err
	}
	for _, n := range notes {
		id := strings.TrimPrefix(n.Name, prefix)
		if err := j.lookAt(ctx, id, n.ETag, work); sealed.MayPass(err) {
			return err
		} else if err != nil {
			j.o.Logger.Warn("a batch job cannot be read; it is left alone", "job", id, "error", err)
		}
	}
	return nil
}

// lookAt looks at one job, and begins it if nobody runs it: it has no owner, or one that has
// not noted it for a while.
func (j *Jobs) lookAt(ctx context.Context, id, etag string, work *sync.WaitGroup) error {
	if j.runs(id) {
		return nil
	}
	s, known := j.sightingOf(id)
	switch known = known && s.etag == etag; {
	case known && !s.ended.IsZero():
		if time.Since(s.ended) > keepFor {
			return j.remove(ctx, id)
		}
		return nil
	case known && time.Since(s.at) < j.o.Silence:
		return nil
	}
	job, etag, err := j.get(ctx, id)
	if errors.Is(err, ErrNoJob) {
		return nil
	}
	if err != nil {
		j.see(id, sighting{etag: etag, at: time.Now()})
		return err
	}
	silent := known && etag == s.etag
	s = sighting{etag: etag, at: time.Now()}
	if job.State != Running {
		s.ended = job.Updated
	}
	j.see(id, s)
	if job.State == Running && (silent || job.Owner == "" || job.Owner == j.owner) {
		j.begin(ctx, job, etag, work)
	}
	return nil
}

func (j *Jobs) sightingOf(id string) (sighting, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s, known := j.seen[id]
	return s, known
}

func (j *Jobs) see(id string, s sighting) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.seen) > 2*maxJobs { // of jobs that are gone
		clear(j.seen)
	}
	j.seen[id] = s
}

func (j *Jobs) runs(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.running[id] != nil
}

// begin makes a job this process's, and runs it.
func (j *Jobs) begin(ctx context.Context, job *Job, etag string, work *sync.WaitGroup) {
	ctx, stop := context.WithCancelCause(ctx)
	j.mu.Lock()
	full := len(j.running) >= maxRunning
	if full {
		delete(j.seen, job.ID) // to be looked at as soon as there is room
	} else {
		j.running[job.ID] = stop
	}
	j.mu.Unlock()
	if full {
		stop(nil)
		return
	}
	end := func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.running, job.ID)
		stop(nil)
	}
	job.Owner, job.Updated = j.owner, time.Now().UTC()
	job.Runs++
	etag, err := j.put(ctx, job, etag)
	if err != nil { // a rival was first, or the next look tries again
		end()
		return
	}
	work.Go(func() {
		defer j.wake() // there is room for another one
		defer end()
		j.metrics.running.Inc()
		defer j.metrics.running.Dec()
		r := &run{jobs: j, job: job, etag: etag, done: job.Objects, stop: stop}
		r.do(ctx)
	})
}

// run is a job that this process runs.
type run struct {
	jobs *Jobs
	stop context.CancelCauseFunc

	mu   sync.Mutex
	job  *Job
	etag string
	// done are the objects of the runs before this one.
	done  int64
	notes int
}

// do runs the job to its end, or to that of ctx.
func (r *run) do(ctx context.Context) {
	log := r.jobs.o.Logger.With("job", r.job.ID)
	log.Info("batch job begins", "run", r.job.Runs)
	beating := make(chan struct{})
	go func() {
		defer close(beating)
		r.beat(ctx)
	}()
	state, reason := r.attempts(ctx)
	cause := context.Cause(ctx)
	r.stop(nil)
	<-beating
	if errors.Is(cause, errCancelled) || errors.Is(cause, errTaken) {
		log.Info("batch job is left", "cause", cause)
		return
	}
	r.mu.Lock()
	r.job.Owner = ""
	if cause == nil { // else this process ends, and another one goes on
		r.job.State, r.job.Reason = state, reason
	}
	r.mu.Unlock()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	for try := 0; try < 3; try++ {
		if err := r.note(last); err == nil || errors.Is(err, errTaken) {
			break
		}
	}
	log.Info("batch job ends", "state", string(r.job.State), "objects", r.job.Objects, "failed", r.job.Failures, "reason", reason)
}

// attempts seals keys anew until none fails, as often as the job says.
func (r *run) attempts(ctx context.Context) (State, string) {
	spec, err := Parse([]byte(r.job.Text))
	if err != nil {
		return Failed, err.Error()
	}
	for n := 1; ; n++ {
		total, err := r.once(ctx, spec)
		switch {
		case err == nil && total.Failed == 0:
			return Complete, ""
		case n >= spec.Attempts && err != nil:
			return Failed, err.Error()
		case n >= spec.Attempts:
			return Failed, fmt.Sprintf("%d objects could not be done", total.Failed)
		}
		r.mu.Lock()
		r.done = r.job.Objects
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return Running, ""
		case <-time.After(spec.Delay):
		}
	}
}

// once goes through the job's objects.
func (r *run) once(ctx context.Context, spec *Spec) (maintenance.RewrapTotal, error) {
	to := spec.Key
	if spec.Mode == sse.ModeS3 {
		to = r.jobs.o.S3Key()
	}
	now := time.Now()
	o := &maintenance.Rewrap{
		Buckets: []string{spec.Bucket}, To: to, Mode: spec.Mode, Prefix: spec.Prefix, Resume: prefix + r.job.ID,
		Report: func(done maintenance.Rewrapped) {
			result := "done"
			if done.Err != nil {
				result = "failed"
			}
			r.jobs.metrics.objects.WithLabelValues(result).Inc()
			r.mu.Lock()
			defer r.mu.Unlock()
			r.job.Last = done.Name.Key
		},
		Progress: func(total maintenance.RewrapTotal) { r.count(&total) },
		Only: func(ctx context.Context, c *maintenance.Candidate) (bool, error) {
			if is, err := chosen(spec, c, now); !is || err != nil || c.Mode == spec.Mode && c.KMSKey == to {
				return is, err
			}
			if err := r.jobs.o.MayMove(ctx, r.job.User, spec.Bucket, c.KMSKey, to); err != nil {
				return false, fmt.Errorf("%q, who defined the job: %w", r.job.User, err)
			}
			return true, nil
		},
	}
	total, err := r.jobs.o.Rewrapper.Rewrap(ctx, o)
	r.count(&total)
	return total, err
}

func (r *run) count(total *maintenance.RewrapTotal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.job.Objects, r.job.Failures = r.done+total.Done, total.Failed
}

// errUnlisted is why an object is not done.
var errUnlisted = errors.New("the storage lists neither its metadata nor its tags, so that filters cannot be judged")

// chosen says whether a job is about a version.
func chosen(spec *Spec, c *maintenance.Candidate, now time.Time) (bool, error) {
	if c.Mode != sse.ModeS3 && c.Mode != sse.ModeKMS {
		return false, nil // it has no KMS key
	}
	o := &Object{Modified: c.Modified, KMSKey: c.KMSKey}
	if len(spec.Filter.Tags) > 0 || len(spec.Filter.Metadata) > 0 {
		if !c.Listed {
			return false, errUnlisted
		}
		for _, m := range c.Meta {
			o.Metadata = append(o.Metadata, Pair{m.Name, m.Value})
		}
		tags, err := url.ParseQuery(c.Tags)
		if err != nil {
			return false, errUnlisted
		}
		for name, values := range tags {
			o.Tags = append(o.Tags, Pair{name, values[0]})
		}
	}
	return spec.Filter.Passes(o, now), nil
}

// beat notes the job from time to time, until ctx ends.
func (r *run) beat(ctx context.Context) {
	ticker := time.NewTicker(r.jobs.o.Beat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch err := r.note(ctx); {
		case errors.Is(err, errTaken):
			r.stop(err)
			return
		case err != nil:
			r.jobs.o.Logger.Warn("cannot note a batch job", "job", r.job.ID, "error", err)
		}
	}
}

// note stores the job as it is. errTaken if it is another process's, or cancelled.
func (r *run) note(ctx context.Context) error {
	r.mu.Lock()
	r.job.Updated = time.Now().UTC()
	now, former := *r.job, r.etag
	r.mu.Unlock()
	etag, err := r.jobs.put(ctx, &now, former)
	if errors.Is(err, system.ErrConflict) {
		// Perhaps it is this process's own note, of which the answer was lost.
		there, current, readErr := r.jobs.get(ctx, now.ID)
		switch {
		case errors.Is(readErr, ErrNoJob), readErr == nil && there.Owner != r.jobs.owner:
			return errTaken
		case readErr != nil:
			return readErr
		}
		etag, err = r.jobs.put(ctx, &now, current)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.etag = etag
	r.notes++
	prune := r.notes%pruneEvery == 0
	r.mu.Unlock()
	if prune {
		if err := r.jobs.o.Prune(ctx, prefix+now.ID); err != nil {
			r.jobs.o.Logger.Warn("cannot remove old versions of a batch job", "job", now.ID, "error", err)
		}
	}
	return nil
}
