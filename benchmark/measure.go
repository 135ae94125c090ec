package main

import (
	"bufio"
	"context"
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
	plan := make([][]step, w.clients)
	for i := range plan {
		plan[i] = w.steps(t, i)
	}
	var (
		all           = make([][]time.Duration, w.clients)
		ready, ended  sync.WaitGroup
		begin         = make(chan struct{})
		began         time.Time
		stop          atomic.Bool
		failed        = make(chan error, 1)
		readyToBegin  = make(chan struct{})
		firstFailures sync.Once
	)
	ready.Add(w.clients)
	ended.Go(func() {
		err := each(ctx, t, w.clients, func(worker int, c *connection) error {
			err := w.warm(t, c, worker)
			all[worker] = make([]time.Duration, 0, 4096)
			ready.Done()
			if err != nil {
				stop.Store(true)
				return err
			}
			<-begin
			err = w.drive(plan[worker], c, &all[worker], &stop, began)
			if err != nil {
				stop.Store(true)
			}
			return err
		})
		if err != nil {
			firstFailures.Do(func() { failed <- err })
		}
	})
	go func() { ready.Wait(); close(readyToBegin) }()
	select {
	case <-readyToBegin:
	case err := <-failed:
		return sample{}, err
	}
	before, err := readMeters(ctx, t, true)
	if err != nil {
		return sample{}, err
	}
	began = time.Now()
	close(begin)
	ended.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		return sample{}, fmt.Errorf("%s: %w", w.name(), err)
	default:
	}
	after, err := readMeters(ctx, t, false)
	if err != nil {
		return sample{}, err
	}
	s := after.since(before)
	s.Seconds = took.Seconds()
	for _, l := range all {
		s.latencies = append(s.latencies, l...)
	}
	s.Ops = len(s.latencies)
	return s, ctx.Err()
}

// warm has a connection carry a request before the time counts.
func (w work) warm(t *target, c *connection, worker int) error {
	now := time.Now()
	switch w.op {
	case "get", "head", "range", "copy", "delete":
		return send(t.requestFor(now, "HEAD", work{op: "head", size: w.size}.warmObject(w, worker), "", nil, 200, -1))(c)
	case "list":
		return w.step(t, now, worker)(c)
	default:
		return send(t.requestFor(now, "HEAD", "", "", nil, 200, -1))(c)
	}
}

func (work) warmObject(w work, worker int) string {
	if w.op == "delete" {
		return fmt.Sprintf("%s/%s/%04d", w.op, sizeName(w.size), worker)
	}
	return w.object(worker)
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
