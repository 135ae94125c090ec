package batchjobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// fake is what jobs run in tests.
type fake struct {
	mu    sync.Mutex
	calls []*maintenance.Rewrap
	do    func(ctx context.Context, call int, o *maintenance.Rewrap) (maintenance.RewrapTotal, error)
}

// Rewrap implements Rewrapper.
func (f *fake) Rewrap(ctx context.Context, o *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
	f.mu.Lock()
	f.calls = append(f.calls, o)
	n := len(f.calls)
	f.mu.Unlock()
	return f.do(ctx, n, o)
}

// kit is an installation with jobs.
type kit struct {
	store  *system.Store
	bucket *memory.System
}

func newKit(t *testing.T) *kit {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	if err := service.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	k := &kit{bucket: memory.New(memory.Options{}).System("own")}
	if err := k.bucket.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.store, err = system.New(system.Options{Service: k.bucket, KMS: service, Key: "system", Deployment: "test"}); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kit) mayMove(_ context.Context, user, _, from, to string) error {
	if from == "secret" {
		return fmt.Errorf("%s from %s to %s: %w", user, from, to, errNotHis)
	}
	return nil
}

var errNotHis = errors.New("not his key")

// Who defines a job gets no object that he may not open, under a key that he may use.
func TestAJobMovesWhatItsUserMayOpen(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	got := make(map[string]string)
	f := &fake{do: func(ctx context.Context, _ int, o *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
		for name, c := range map[string]maintenance.Candidate{
			"open": {Mode: sse.ModeKMS, KMSKey: "other"}, "secret": {Mode: sse.ModeKMS, KMSKey: "secret"}, "there": {Mode: sse.ModeS3, KMSKey: "s3"},
		} {
			wanted, err := o.Only(ctx, &c)
			got[name] = fmt.Sprint(wanted, errors.Is(err, errNotHis))
		}
		return maintenance.RewrapTotal{}, nil
	}}
	j := k.jobs(t, f)
	start(t, j)
	job, err := j.Start(t.Context(), "me", []byte(smallest))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the job does not end", func() bool { return k.state(t, j, job.ID).State != Running })
	if got["open"] != "true false" || got["secret"] != "false true" || got["there"] != "true false" {
		t.Error(got)
	}
}

// jobs returns the jobs as one process knows them.
func (k *kit) jobs(t *testing.T, f *fake) *Jobs {
	t.Helper()
	j, err := New(Options{
		System: k.store, Rewrapper: f, SystemBucket: "own", S3Key: func() string { return "s3" }, MayMove: k.mayMove, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Buckets: func(context.Context) (map[string]time.Time, error) {
			return map[string]time.Time{"b": {}, "own": {}}, nil
		},
		Ready: func(context.Context) error { return nil }, Prune: func(context.Context, string) error { return nil },
		Beat: 20 * time.Millisecond, Poll: 10 * time.Millisecond, Silence: 150 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// start runs jobs until stop is called, or the test ends.
func start(t *testing.T, j *Jobs) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); j.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// until waits for something.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func (k *kit) state(t *testing.T, j *Jobs, id string) *Job {
	t.Helper()
	job, err := j.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func TestJobsRunAndAreTriedAgain(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	f := &fake{do: func(_ context.Context, call int, o *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
		switch call {
		case 1:
			return maintenance.RewrapTotal{}, errors.New("away")
		case 2:
			o.Report(maintenance.Rewrapped{Name: sse.Name{Bucket: "b", Key: "one"}})
			o.Report(maintenance.Rewrapped{Name: sse.Name{Bucket: "b", Key: "two"}, Err: errors.New("broken")})
			return maintenance.RewrapTotal{Done: 1, Failed: 1}, nil
		}
		o.Report(maintenance.Rewrapped{Name: sse.Name{Bucket: "b", Key: "two"}})
		return maintenance.RewrapTotal{Done: 1}, nil
	}}
	j := k.jobs(t, f)
	start(t, j)
	text := "keyrotate:\n  apiVersion: v1\n  bucket: b\n  prefix: p\n  encryption:\n    type: sse-s3\n  flags:\n    retry:\n      delay: 1ms\n"
	job, err := j.Start(t.Context(), "me", []byte(text))
	if err != nil || !Is(job.ID) {
		t.Fatal(job, err)
	}
	until(t, "the job does not end", func() bool { return k.state(t, j, job.ID).State != Running })
	got := k.state(t, k.jobs(t, f), job.ID)
	if got.State != Complete || got.Objects != 2 || got.Failures != 0 || got.Last != "two" || got.User != "me" || got.Text != text || got.Owner != "" {
		t.Errorf("%+v", got)
	}
	if o := f.calls[2]; len(f.calls) != 3 || o.To != "s3" || o.Prefix != "p" || o.Buckets[0] != "b" || o.Only == nil {
		t.Errorf("%d calls, %+v", len(f.calls), o)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(j.metrics.objects)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := ""
	for _, m := range families[0].GetMetric() {
		counted += fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetCounter().GetValue(), " ")
	}
	if counted != "done 2 failed 1 " {
		t.Errorf("counted are %s", counted)
	}
}

func TestJobsThatFailSayWhy(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	f := &fake{do: func(context.Context, int, *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
		return maintenance.RewrapTotal{Failed: 2}, nil
	}}
	j := k.jobs(t, f)
	start(t, j)
	job, err := j.Start(t.Context(), "me", []byte(smallest+"  flags:\n    retry:\n      attempts: 2\n      delay: 1ms\n"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the job does not end", func() bool { return k.state(t, j, job.ID).State != Running })
	if got := k.state(t, j, job.ID); got.State != Failed || got.Failures != 2 || len(f.calls) != 2 || !strings.Contains(got.Reason, "2 objects") {
		t.Errorf("%+v after %d calls", got, len(f.calls))
	}
}

// A job is another process's once its own is gone: at once if that has left it, and after a
// while if it was killed. While it runs, it is nobody else's.
func TestJobsAreTakenOver(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	begun := make(chan struct{}, 1)
	hangs := &fake{do: func(ctx context.Context, _ int, o *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
		o.Progress(maintenance.RewrapTotal{Done: 5})
		begun <- struct{}{}
		<-ctx.Done()
		return maintenance.RewrapTotal{Done: 5}, ctx.Err()
	}}
	first := k.jobs(t, hangs)
	stop := start(t, first)
	job, err := first.Start(t.Context(), "me", []byte(smallest))
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	ends := &fake{do: func(context.Context, int, *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
		return maintenance.RewrapTotal{Done: 2}, nil
	}}
	second := k.jobs(t, ends)
	start(t, second)
	time.Sleep(500 * time.Millisecond)
	if len(ends.calls) != 0 {
		t.Error("a job that runs was taken over")
	}
	stop()
	until(t, "nobody goes on with it", func() bool { return k.state(t, second, job.ID).State == Complete })
	if got := k.state(t, second, job.ID); got.Objects != 7 || got.Runs != 2 {
		t.Errorf("%+v", got)
	}

	// One whose process was killed has an owner that says nothing any more.
	dead := &Job{ID: idPrefix + "DEAD", Text: smallest, State: Running, Owner: "dead", Objects: 1, Runs: 1, Started: time.Now()}
	if _, err := second.put(t.Context(), dead, ""); err != nil {
		t.Fatal(err)
	}
	until(t, "nobody goes on with the dead one's", func() bool { return k.state(t, second, dead.ID).State == Complete })
	if got := k.state(t, second, dead.ID); got.Objects != 3 || got.Runs != 2 {
		t.Errorf("%+v", got)
	}
}

// A job that is cancelled ends, also in another process, and is gone.
func TestJobsAreCancelled(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"its own", "another"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			begun, ended := make(chan struct{}, 1), make(chan struct{})
			j := k.jobs(t, &fake{do: func(ctx context.Context, _ int, _ *maintenance.Rewrap) (maintenance.RewrapTotal, error) {
				begun <- struct{}{}
				<-ctx.Done()
				close(ended)
				return maintenance.RewrapTotal{}, ctx.Err()
			}})
			start(t, j)
			job, err := j.Start(t.Context(), "me", []byte(smallest))
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			canceller := j
			if by == "another" {
				canceller = k.jobs(t, nil)
			}
			if err := canceller.Cancel(t.Context(), job.ID); err != nil {
				t.Fatal(err)
			}
			<-ended
			until(t, "it runs yet", func() bool { return !j.runs(job.ID) })
			if _, err := j.Get(t.Context(), job.ID); !errors.Is(err, ErrNoJob) {
				t.Errorf("the job came back: %v", err)
			}
			if err := j.Cancel(t.Context(), job.ID); !errors.Is(err, ErrNoJob) {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

func TestJobsThatCannotBeDefined(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	j := k.jobs(t, nil)
	for bucket, want := range map[string]error{"own": ErrNoBucket, "none": ErrNoBucket} {
		if _, err := j.Start(t.Context(), "me", []byte(strings.Replace(smallest, "bucket: b", "bucket: "+bucket, 1))); !errors.Is(err, want) {
			t.Errorf("%s: %v", bucket, err)
		}
	}
	if _, err := j.Start(t.Context(), "me", []byte("expire:\n  a: b\n")); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	for i := range maxJobs {
		if _, err := k.bucket.Put(t.Context(), fmt.Sprintf("batch/%s%d", idPrefix, i), []byte("x"), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Start(t.Context(), "me", []byte(smallest)); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if _, err := j.Get(t.Context(), idPrefix+"1"); !errors.Is(err, system.ErrTampered) {
		t.Errorf("a forged job: %v", err)
	}
	for _, id := range []string{"", "keyrotate-other:1", idPrefix + "/../x"} {
		if _, err := j.Get(t.Context(), id); !errors.Is(err, ErrNoJob) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// Jobs that ended long ago are forgotten.
func TestOldJobsAreForgotten(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	j := k.jobs(t, nil)
	for id, age := range map[string]time.Duration{"OLD": keepFor + time.Hour, "YOUNG": keepFor - time.Hour} {
		job := &Job{ID: idPrefix + id, Text: smallest, State: Complete, Updated: time.Now().Add(-age), Started: time.Now().Add(-age)}
		if _, err := j.put(t.Context(), job, ""); err != nil {
			t.Fatal(err)
		}
	}
	start(t, j)
	until(t, "the old one stays", func() bool { _, err := j.Get(t.Context(), idPrefix+"OLD"); return errors.Is(err, ErrNoJob) })
	if all, err := j.List(t.Context()); err != nil || len(all) != 1 || all[0].ID != idPrefix+"YOUNG" {
		t.Error(all, err)
	}
}

func TestWhichObjectsAJobIsAbout(t *testing.T) {
	t.Parallel()
	spec, err := Parse([]byte(smallest + "  flags:\n    filter:\n      tags:\n        - key: a\n          value: b\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		of   maintenance.Candidate
		want bool
		err  error
	}{
		"tagged":       {maintenance.Candidate{Mode: sse.ModeS3, Listed: true, Tags: "a=b&c=d"}, true, nil},
		"not tagged":   {maintenance.Candidate{Mode: sse.ModeS3, Listed: true}, false, nil},
		"unlisted":     {maintenance.Candidate{Mode: sse.ModeS3}, false, errUnlisted},
		"another mode": {maintenance.Candidate{Mode: sse.ModeKMS, Listed: true, Tags: "a=b"}, true, nil},
		"plain":        {maintenance.Candidate{Listed: true, Tags: "a=b"}, false, nil},
		"a customer's": {maintenance.Candidate{Mode: sse.ModeC, Listed: true, Tags: "a=b"}, false, nil},
	} {
		if got, err := chosen(spec, &c.of, time.Now()); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}
