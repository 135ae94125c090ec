package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sample is what one target did in one round.
type sample struct {
	// Ops were done within Seconds.
	Ops     int     `json:"ops"`
	Seconds float64 `json:"seconds"`
	// FrontCPU is the processor time of the server that was asked, BackCPU that of
	// MinIO behind it, ClientCPU the benchmark's own, in seconds.
	FrontCPU  float64 `json:"front_cpu_seconds"`
	BackCPU   float64 `json:"back_cpu_seconds"`
	ClientCPU float64 `json:"client_cpu_seconds"`
	// Peak is the resident memory of the server that was asked, at most, in bytes;
	// 0 if it could not be read.
	Peak int64 `json:"peak_bytes"`
	// Allocs are what that server allocated, less than 0 if it does not tell.
	Allocs float64 `json:"allocations"`
	// latencies are those of all operations, unsorted.
	latencies []time.Duration
}

// rate is operations per second.
func (s sample) rate() float64 { return float64(s.Ops) / s.Seconds }

// measure drives the work at a target once.
func (w work) measure(ctx context.Context, t *target) (sample, error) {
	if w.op == "delete" {
		if err := w.prepare(ctx, t); err != nil {
			return sample{}, err
		}
	}
	if w.op == "list-cold" && t.front.metrics != "" {
		// What was learned of this bucket so far is forgotten.
		if err := t.front.restart(ctx); err != nil {
			return sample{}, err
		}
	}
	c, err := w.muster(ctx, t)
	if err != nil {
		return sample{}, fmt.Errorf("%s at %s: %w", w.name(), t.name, err)
	}
	before, err := readMeters(ctx, t, true)
	if err != nil {
		c.dismiss()
		return sample{}, err
	}
	took, err := c.work()
	if err != nil {
		return sample{}, fmt.Errorf("%s at %s: %w", w.name(), t.name, err)
	}
	after, err := readMeters(ctx, t, false)
	if err != nil {
		return sample{}, err
	}
	s := after.since(before)
	s.Seconds = took.Seconds()
	for _, l := range c.latencies {
		s.latencies = append(s.latencies, l...)
	}
	s.Ops = len(s.latencies)
	return s, ctx.Err()
}

// crew is the clients of a work, each with a connection that has carried a request.
type crew struct {
	// begin lets them work; dismissed, set before, tells them to go.
	begin     chan struct{}
	dismissed bool
	began     time.Time
	// stop is set by who fails: the others stop too.
	stop      atomic.Bool
	ended     sync.WaitGroup
	latencies [][]time.Duration
	errs      []error
}

// muster returns when all clients are ready, with all their requests made.
func (w work) muster(ctx context.Context, t *target) (*crew, error) {
	all := &crew{begin: make(chan struct{}), latencies: make([][]time.Duration, w.clients), errs: make([]error, w.clients)}
	ready := make(chan error, w.clients)
	for worker := range w.clients {
		all.ended.Go(func() {
			steps := w.steps(t, worker)
			c, err := dial(ctx, t.front.addr, t.front.secure)
			if err == nil {
				defer c.Close()
				err = w.warm(t, c, worker)
			}
			all.latencies[worker] = make([]time.Duration, 0, 4096)
			ready <- err
			if err != nil {
				return
			}
			if <-all.begin; all.dismissed {
				return
			}
			if all.errs[worker] = w.drive(steps, c, &all.latencies[worker], &all.stop, all.began); all.errs[worker] != nil {
				all.stop.Store(true)
			}
		})
	}
	for range w.clients {
		if err := <-ready; err != nil {
			all.dismiss()
			return nil, err
		}
	}
	return all, nil
}

// dismiss lets all go without having worked.
func (c *crew) dismiss() {
	c.dismissed = true
	close(c.begin)
	c.ended.Wait()
}

// work has all of them work, and says how long that took until the last one ended.
func (c *crew) work() (time.Duration, error) {
	c.began = time.Now()
	close(c.begin)
	c.ended.Wait()
	return time.Since(c.began), errors.Join(c.errs...)
}

// warm has a connection carry a request before the time counts.
func (w work) warm(t *target, c *connection, worker int) error {
	now := time.Now()
	switch w.op {
	case "get", "head", "range", "copy", "delete":
		object := w.object(worker)
		if w.op == "delete" {
			object = fmt.Sprintf("%s/%s/%04d", w.op, sizeName(w.size), worker)
		}
		return send(t.requestFor(now, "HEAD", object, "", nil, 200, -1))(c)
	case "list":
		return w.step(t, now, worker)(c)
	default:
		return send(t.requestFor(now, "HEAD", "", "", nil, 200, -1))(c)
	}
}

// drive goes round the steps until the slot is over. What can be done once only
// (a cold listing, the removal of an object) ends with its steps.
func (w work) drive(steps []step, c *connection, latencies *[]time.Duration, stop *atomic.Bool, began time.Time) error {
	once := w.op == "delete" || w.op == "list-cold"
	for i := 0; ; i++ {
		if i == len(steps) {
			if once {
				return nil
			}
			i = 0
		}
		start := time.Now()
		if err := steps[i](c); err != nil {
			return err
		}
		end := time.Now()
		*latencies = append(*latencies, end.Sub(start))
		if end.Sub(began) >= w.slot || stop.Load() {
			return nil
		}
	}
}

// meters are what counts up in the servers of a target.
type meters struct {
	front, back, client float64
	mallocs             float64
	peak                int64
}

// readMeters reads them; at the beginning it has the peak of memory begin anew.
func readMeters(ctx context.Context, t *target, begin bool) (meters, error) {
	m := meters{mallocs: -1}
	var err error
	if begin {
		_ = resetPeak(t.front.pid()) // then there is no peak to report
		m.mallocs = mallocs(ctx, t.front)
	} else if peak, err := memoryOf(t.front.pid(), "VmHWM"); err == nil {
		m.peak = peak
	}
	if m.front, err = processorSeconds(t.front.pid()); err != nil {
		return m, err
	}
	if t.back != nil {
		if m.back, err = processorSeconds(t.back.pid()); err != nil {
			return m, err
		}
	}
	m.client, err = processorSeconds(selfPID)
	if !begin {
		m.mallocs = mallocs(ctx, t.front)
	}
	return m, err
}

func (m meters) since(b meters) sample {
	s := sample{FrontCPU: m.front - b.front, BackCPU: m.back - b.back, ClientCPU: m.client - b.client, Peak: m.peak, Allocs: -1}
	if m.mallocs >= 0 && b.mallocs >= 0 {
		s.Allocs = m.mallocs - b.mallocs
	}
	return s
}

// mallocs asks a bucketseal how many objects it has allocated, -1 if it does not tell.
func mallocs(ctx context.Context, s *server) float64 {
	if s.metrics == "" {
		return -1
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		return -1
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	return parseMallocs(resp.Body)
}

// parseMallocs finds go_memstats_mallocs_total in Prometheus's text, -1 if it is
// not there.
func parseMallocs(r io.Reader) float64 {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), "go_memstats_mallocs_total "); ok {
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				return n
			}
		}
	}
	return -1
}
