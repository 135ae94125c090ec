package load

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/aftermath"
	"github.com/bucketseal/bucketseal/chaos/history"
)

// Sample is what a proxy held at a moment of the load, and how long the answers since the sample before took.
type Sample struct {
	At  time.Duration // since the load began, judging left out
	RSS int64         // resident memory, in bytes
	aftermath.Held
	Took map[history.Kind][]time.Duration
}

// Operations is how many answers there were.
func (s *Sample) Operations() (n int) {
	for _, took := range s.Took {
		n += len(took)
	}
	return n
}

// All is how long all answers took, shortest first.
func (s *Sample) All() []time.Duration {
	var all []time.Duration
	for _, took := range s.Took {
		all = append(all, took...)
	}
	slices.Sort(all)
	return all
}

// Sampler takes samples of a proxy.
type Sampler struct {
	PID     int
	Metrics string
	Every   time.Duration
	Logf    func(string, ...any)
	// Samples so far.
	Samples []Sample
	at      time.Duration
}

// Run takes samples until ctx ends, of the operations that a history gets meanwhile.
func (s *Sampler) Run(ctx context.Context, h *history.History) error {
	began, seen := time.Now(), 0
	ticks := time.NewTicker(s.Every)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			s.at += time.Since(began)
			return nil
		case <-ticks.C:
		}
		one := Sample{At: s.at + time.Since(began), Took: map[history.Kind][]time.Duration{}}
		var err error
		if one.RSS, err = Memory(s.PID, "VmRSS"); err != nil {
			return err
		}
		if one.Held, err = aftermath.Ask(context.WithoutCancel(ctx), s.Metrics); err != nil {
			return err
		}
		ops := h.Ops()
		for i := seen; i < len(ops); i++ {
			if o := &ops[i]; o.By == "http" {
				one.Took[o.Kind] = append(one.Took[o.Kind], o.End-o.Start)
			}
		}
		seen = len(ops)
		s.Samples = append(s.Samples, one)
		all := one.All()
		s.Logf("%6.0f s: %5.0f op/s, p50 %v, p99 %v, %d MiB resident, %d MiB heap, %d goroutines, %d descriptors", one.At.Seconds(),
			float64(len(all))/s.Every.Seconds(), Percentile(all, 50).Round(time.Millisecond), Percentile(all, 99).Round(time.Millisecond),
			one.RSS>>20, one.Heap>>20, one.Goroutines, one.Descriptors)
	}
}

// Percentile is the least of sorted values that p percent do not exceed; 0 of none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(float64(len(sorted))*p/100))-1)]
}

// Write writes samples as a table with commas, times in milliseconds.
func Write(to io.Writer, samples []Sample) error {
	w := csv.NewWriter(to)
	rows := [][]string{{"seconds", "operations", "p50_ms", "p99_ms", "resident_bytes", "heap_bytes", "goroutines", "descriptors"}}
	milliseconds := func(d time.Duration) string { return strconv.FormatFloat(float64(d)/1e6, 'f', 1, 64) }
	for i := range samples {
		s := &samples[i]
		all := s.All()
		rows = append(rows, []string{
			strconv.FormatFloat(s.At.Seconds(), 'f', 0, 64), strconv.Itoa(len(all)), milliseconds(Percentile(all, 50)), milliseconds(Percentile(all, 99)),
			strconv.FormatInt(s.RSS, 10), strconv.FormatInt(s.Heap, 10), strconv.Itoa(s.Goroutines), strconv.Itoa(s.Descriptors),
		})
	}
	return w.WriteAll(rows)
}

// Memory reads a line of /proc/PID/status, in bytes: VmRSS is what is resident now, VmHWM the most since ResetPeak.
func Memory(pid int, line string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return statusLine(string(text), line)
}

func statusLine(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, unit, _ := strings.Cut(strings.TrimSpace(rest), " ")
			n, err := strconv.ParseInt(kib, 10, 64)
			if err == nil && unit != "kB" {
				err = fmt.Errorf("%s is in %q", name, unit)
			}
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

// ResetPeak has the kernel begin anew with a process's peak of resident memory.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
