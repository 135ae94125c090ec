// Package batchjobs runs the jobs that `mc batch start` defines, in the background: those of
// the kind keyrotate, which seal objects' keys anew and touch no object. Jobs lie, sealed, in
// the system bucket: any proxy shows them, and another one goes on with a job whose proxy is
// gone. Whether a caller may define one is not judged here.
package batchjobs

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// Sentinels.
var (
	// ErrNoJob says that there is no job of an id.
	ErrNoJob = errors.New("there is no such batch job")
	// ErrNoBucket says that a job is about a bucket that does not exist.
	ErrNoBucket = errors.New("the bucket of a batch job does not exist")
	// ErrTooMany says that there are as many jobs as there may be.
	ErrTooMany = errors.New("there are too many batch jobs")
)

const (
	kind   = "batch-job"
	prefix = "batch/"
	// idPrefix begins the ids of jobs, and those of no other's.
	idPrefix = "keyrotate-bs"
	// maxJobs bounds the jobs that are kept.
	maxJobs = 200
	// keepFor is how long a job that has ended is kept, as MinIO does.
	keepFor = 3 * 24 * time.Hour
)

// Layout says what this package keeps in the system bucket.
func Layout() []system.Layout { return []system.Layout{{Prefix: prefix, Kind: kind}} }

// Rewrapper seals keys of objects anew; *maintenance.Keeper does.
type Rewrapper interface {
	Rewrap(ctx context.Context, o *maintenance.Rewrap) (maintenance.RewrapTotal, error)
}

// Options are the dependencies of Jobs.
type Options struct {
	// System is the system bucket. Required.
	System *system.Store
	// Rewrapper does the work. Required.
	Rewrapper Rewrapper
	// Buckets returns the names of all buckets, SystemBucket the one that is no client's.
	// Required.
	Buckets      func(context.Context) (map[string]time.Time, error)
	SystemBucket string
	// S3Key returns the KMS key of SSE-S3. Required.
	S3Key func() string
	// MayMove says whether a user may have objects of a bucket that lie under one KMS key
	// sealed under another one: whoever may use the latter can read them then. Required.
	MayMove func(ctx context.Context, user, bucket, from, to string) error
	// Ready makes the system bucket ready, or says why it is not. Required.
	Ready func(context.Context) error
	// Prune removes old versions of what lies below a prefix in the system bucket. Required.
	Prune func(ctx context.Context, prefix string) error
	// Logger is told when jobs begin and end. Required.
	Logger *slog.Logger
	// Metrics registers the metrics; nil means none.
	Metrics prometheus.Registerer
	// Beat is how often a running job is noted, Poll how often others' jobs are looked at, and
	// Silence how long a job is not noted until another proxy goes on with it. 0 means ten,
	// twenty and forty-five seconds.
	Beat, Poll, Silence time.Duration
}

// Jobs are the batch jobs of an installation. They are safe for concurrent use.
type Jobs struct {
	o       Options
	owner   string // of what this process runs
	metrics *metrics
	kick    chan struct{}

	mu      sync.Mutex
	running map[string]context.CancelCauseFunc
	seen    map[string]sighting // jobs of others
}

// New returns the jobs, of which none runs before Run is called.
func New(o Options) (*Jobs, error) {
	if o.System == nil || o.Rewrapper == nil || o.Buckets == nil || o.SystemBucket == "" || o.S3Key == nil || o.MayMove == nil || o.Ready == nil || o.Prune == nil || o.Logger == nil {
		return nil, errors.New("batch jobs: incomplete options")
	}
	for of, value := range map[*time.Duration]time.Duration{&o.Beat: 10 * time.Second, &o.Poll: 20 * time.Second, &o.Silence: 45 * time.Second} {
		if *of == 0 {
			*of = value
		}
	}
	return &Jobs{
		o: o, owner: rand.Text(), metrics: newMetrics(o.Metrics), kick: make(chan struct{}, 1),
		running: make(map[string]context.CancelCauseFunc), seen: make(map[string]sighting),
	}, nil
}

// State is how a job is.
type State string

// States.
const (
	Running  State = "running" // also one that waits for a proxy
	Complete State = "complete"
	Failed   State = "failed"
)

// Job is one batch job.
type Job struct {
	ID string `json:"id"`
	// User is the access key that defined it, Text its definition.
	User string `json:"user"`
	Text string `json:"text"`
	// Started is when it was defined, Updated when it was last noted.
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	State   State     `json:"state"`
	// Owner is the process that runs it, "" for none. Runs counts how often it was begun.
	Owner string `json:"owner,omitempty"`
	Runs  int    `json:"runs"`
	// Objects were sealed anew, all runs together; Failures of the last run were not.
	Objects  int64 `json:"objects"`
	Failures int64 `json:"failures"`
	// Last is the key of the latest object that was done.
	Last string `json:"last,omitempty"`
	// Reason says why it failed.
	Reason string `json:"reason,omitempty"`
}

// Is says whether an id may be one of these jobs'.
func Is(id string) bool { return strings.HasPrefix(id, idPrefix) && !strings.ContainsAny(id, "/\x00") }

// Start defines a job, which a proxy begins to run within seconds. ErrMalformed, ErrRefused,
// ErrNoBucket, ErrTooMany, or the errors of the system bucket.
func (j *Jobs) Start(ctx context.Context, user string, text []byte) (*Job, error) {
	spec, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if err := j.o.Ready(ctx); err != nil {
		return nil, err
	}
	buckets, err := j.o.Buckets(ctx)
	if err != nil {
		return nil, err
	}
	if _, there := buckets[spec.Bucket]; !there || spec.Bucket == j.o.SystemBucket {
		return nil, fmt.Errorf("%q: %w", short(spec.Bucket), ErrNoBucket)
	}
	notes, more, err := j.o.System.ListNotes(ctx, prefix, "")
	if err != nil {
		return nil, err
	}
	if more || len(notes) >= maxJobs {
		return nil, fmt.Errorf("%d: %w", len(notes), ErrTooMany)
	}
	now := time.Now().UTC()
	job := &Job{ID: idPrefix + rand.Text()[:20], User: user, Text: string(text), Started: now, Updated: now, State: Running}
	if _, err := j.put(ctx, job, ""); err != nil {
		return nil, err
	}
	j.o.Logger.Info("batch job defined", "job", job.ID, "user", user, "bucket", spec.Bucket, "prefix", spec.Prefix, "to_kms_key", spec.Key)
	j.wake()
	return job, nil
}

// Get returns a job. ErrNoJob, or the errors of the system bucket.
func (j *Jobs) Get(ctx context.Context, id string) (*Job, error) {
	job, _, err := j.get(ctx, id)
	return job, err
}

// List returns all jobs, the oldest first.
func (j *Jobs) List(ctx context.Context) ([]*Job, error) {
	notes, _, err := j.o.System.ListNotes(ctx, prefix, "")
	if err != nil {
		return nil, err
	}
	var all []*Job
	for _, n := range notes {
		job, _, err := j.get(ctx, strings.TrimPrefix(n.Name, prefix))
		if errors.Is(err, ErrNoJob) {
			continue // it was cancelled meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, job)
	}
	sort.Slice(all, func(a, b int) bool { return all[a].Started.Before(all[b].Started) })
	return all, nil
}

// Cancel ends a job and forgets it; objects that it has done stay as they are. ErrNoJob, or
// the errors of the system bucket.
func (j *Jobs) Cancel(ctx context.Context, id string) error {
	if _, _, err := j.get(ctx, id); err != nil && !errors.Is(err, system.ErrTampered) {
		return err
	}
	if err := j.remove(ctx, id); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if stop := j.running[id]; stop != nil {
		stop(errCancelled)
	}
	j.o.Logger.Info("batch job cancelled", "job", id)
	return nil
}

func (j *Jobs) remove(ctx context.Context, id string) error {
	name := prefix + id
	_, err := j.o.System.Delete(ctx, name, func(other string) bool { return other != name })
	return err
}

func (j *Jobs) get(ctx context.Context, id string) (*Job, string, error) {
	if !Is(id) {
		return nil, "", ErrNoJob
	}
	data, etag, err := j.o.System.Get(ctx, kind, prefix+id, "")
	if errors.Is(err, system.ErrNotFound) {
		return nil, "", fmt.Errorf("%q: %w", id, ErrNoJob)
	}
	if err != nil {
		return nil, "", err
	}
	job, err := decodeJob(data)
	if err == nil && job.ID != id {
		err = errors.New("it is another one")
	}
	if err != nil {
		return nil, "", fmt.Errorf("batch job %q: %w (%w)", id, system.ErrTampered, err)
	}
	return job, etag, nil
}

// decodeJob reads a job as put stores it.
func decodeJob(data []byte) (*Job, error) {
	job := new(Job)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(job); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows")
	}
	return job, nil
}

// put stores a job in the place of the one that has an ETag, "" for none. system.ErrConflict
// if that is another one's by now, or gone.
func (j *Jobs) put(ctx context.Context, job *Job, etag string) (newETag string, err error) {
	data, err := json.Marshal(job)
	if err != nil {
		return "", fmt.Errorf("encode batch job: %w", err)
	}
	newETag, err = j.o.System.Put(ctx, kind, prefix+job.ID, data, etag)
	if errors.Is(err, system.ErrNotFound) {
		err = fmt.Errorf("%w (%w)", system.ErrConflict, err)
	}
	return newETag, err
}

// wake has Run look at once.
func (j *Jobs) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}
