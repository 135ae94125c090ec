package usage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/sse"
)

func TestOneProcessScansForAll(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var group, asking sync.WaitGroup
	asking.Add(6)
	s.during = func(ctx context.Context) error {
		asking.Wait()
		return sleep(ctx, 200*time.Millisecond)
	}
	began := make(map[time.Time]bool)
	var mu sync.Mutex
	for range 6 {
		p := s.proxy(0)
		group.Go(func() {
			asking.Done()
			scan, err := p.Scan(t.Context(), &ScanOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			began[scan.Began] = true
		})
	}
	group.Wait()
	if n := s.scans.Load(); n > 2 || int(n) < len(began) {
		t.Errorf("%d scans for six at once, %d results", n, len(began))
	}
}

func TestAScanThatWasKilledIsDoneByAnother(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dead := s.proxy(0)
	mine := claim{By: 1}
	if _, err := dead.take(t.Context(), &mine); err != nil { // and no more of it
		t.Fatal(err)
	}
	at := time.Now()
	said := ""
	if _, err := s.proxy(0).Scan(t.Context(), &ScanOptions{Say: func(what string) { said = what }}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(at); took < 200*time.Millisecond || took > 2*time.Second || !strings.Contains(said, "another process") {
		t.Errorf("after %v, having said %q", took, said)
	}
}

func TestAScanWhoseClaimWasTakenEnds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.during = func(ctx context.Context) error {
		data, etag, err := s.shelf.Get(ctx, claimKind, claimName, "")
		if err != nil {
			return err
		}
		if _, err := s.shelf.Put(ctx, claimKind, claimName, data, etag); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	p := s.proxy(0)
	_, err := p.claimed(t.Context(), func(ctx context.Context) (*Scan, error) { return p.scan(ctx, &ScanOptions{}) })
	if !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
}

func TestAnOlderScanTakesNoYoungersPlace(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.proxy(0)
	young := s.scanned(p)
	old := *young
	old.Began = old.Began.Add(-time.Minute)
	if err := p.store(t.Context(), &old); !errors.Is(err, ErrOvertaken) {
		t.Errorf("%v", err)
	}
}

func TestTheBackgroundScansWhenItIsDue(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { s.proxy(100 * time.Millisecond).Run(ctx) })
	}
	time.Sleep(time.Second)
	cancel()
	group.Wait()
	if n := s.scans.Load(); n < 3 || n > 12 {
		t.Errorf("%d scans in a second, one is due each 100 ms", n)
	}
}

func TestAScanOfSomeBucketsIsNotRemembered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.proxy(0)
	buckets := glob.Patterns{"b"}
	if _, err := p.Scan(t.Context(), &ScanOptions{Buckets: buckets}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Last(t.Context()); !errors.Is(err, ErrNoScan) {
		t.Errorf("%v", err)
	}
}

func TestAVersionThatServersMayNotKnowYetIsNotCovered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.rotate()
	p := s.proxy(0)
	p.o.Offline = time.Hour
	if scan := s.scanned(p); len(scan.Covered) != 0 {
		t.Errorf("a server that has been without its store for less than an hour seals under version 1: %v", scan.Covered)
	}
}

func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for i := range 3 * maxSeries {
		s.counts[maintenance.UsageKey{Bucket: "b", Mode: sse.ModeKMS, KMSKey: fmt.Sprint("key", i), Version: 1}] = maintenance.Count{Objects: 1}
	}
	p := s.proxy(0)
	for i := range 2 * maxSeries {
		p.o.Uses.note(&p.o.Uses.of(fmt.Sprint(i), 1).generate, "")
	}
	s.scanned(p)
	r := prometheus.NewRegistry()
	r.MustRegister(p.Collector())
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if len(f.GetMetric()) > maxSeries+4 {
			t.Errorf("%s has %d series", f.GetName(), len(f.GetMetric()))
		}
		if f.GetName() == "bucketseal_key_objects" {
			for _, m := range f.GetMetric() {
				sum += m.GetGauge().GetValue()
			}
		}
	}
	if sum != 3*maxSeries {
		t.Errorf("%v objects are shown of %d", sum, 3*maxSeries)
	}
}
