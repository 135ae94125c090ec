package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/aftermath"
	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/history"
	"github.com/bucketseal/bucketseal/chaos/load"
	"github.com/bucketseal/bucketseal/chaos/workload"
)

const loadUsage = `chaos load held   clients beside idle and slow connections: nothing may grow, and every answer is checked
chaos load many   a bucket of many objects: listing, sweep, restart, memory
`

// loadCommand runs a load without faults.
func loadCommand(ctx context.Context, args []string) (int, error) {
	var do func(context.Context, *loading, []string) (int, error)
	if len(args) > 0 {
		do = map[string]func(context.Context, *loading, []string) (int, error){"held": heldCommand, "many": manyCommand}[args[0]]
	}
	if do == nil {
		fmt.Fprint(os.Stderr, loadUsage)
		return misused, nil
	}
	l := &loading{flags: flag.NewFlagSet("load "+args[0], flag.ContinueOnError)}
	c := &l.o.cluster
	l.flags.StringVar(&c.Bucketseal, "bin", "../.bin/bucketseal", "the product")
	l.flags.StringVar(&c.MinIO, "minio", "../.bin/minio", "MinIO")
	l.flags.StringVar(&c.MC, "mc", "../.bin/mc", "mc")
	l.flags.StringVar(&c.Dir, "out", "", "an empty or new folder for data, logs and summary; a temporary one if not given")
	return do(ctx, l, args[1:])
}

// loading is one call of "load".
type loading struct {
	flags *flag.FlagSet
	o     options
}

// parse reads the flags.
func (l *loading) parse(args []string) error {
	if err := l.flags.Parse(args); err != nil {
		return err
	}
	c := &l.o.cluster
	c.World, c.Load, c.Upgrade, c.DriveMiB = cluster.Processes, true, c.Bucketseal, 1 // a folder, of any size
	return l.o.place()
}

// start starts the cluster.
func (l *loading) start(ctx context.Context, began time.Time) (*cluster.Cluster, workload.Target, error) {
	l.o.cluster.Logf = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%8.1f  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c, err := cluster.Start(starting, l.o.cluster)
	if err != nil {
		return nil, workload.Target{}, err
	}
	l.o.cluster.Logf("the proxy is ready, in %s", c.Dir)
	t := target(c.Ways()[0])
	if err := load.Prepare(ctx, t); err != nil {
		return nil, t, errors.Join(err, c.Close())
	}
	return c, t, nil
}

// holding is a run of "load held".
type holding struct {
	o          options
	c          *cluster.Cluster
	idle, slow int
	object     int64 // what slow readers read, in bytes
	window     time.Duration
	limits     load.Limits
	s          *summary
	sampler    load.Sampler
	clients    *clients // of the last window
	provoked   map[string]int
	busy       map[string]int // operations by kind
	neighbours map[string]int
}

func heldCommand(ctx context.Context, l *loading, args []string) (int, error) {
	h := &holding{provoked: map[string]int{}, busy: map[string]int{}}
	l.flags.Uint64Var(&l.o.seed, "seed", 1, "same seed, same schedule")
	l.flags.DurationVar(&l.o.duration, "duration", time.Hour, "how long the load is held, judging left out")
	l.flags.IntVar(&l.o.clients, "clients", 64, "how many clients there are")
	l.flags.DurationVar(&l.o.pause, "pause", 50*time.Millisecond, "how long a client waits between two operations, about")
	l.flags.DurationVar(&l.o.settle, "settle", 2*time.Minute, "how long the proxy may take to let go of what it held")
	l.flags.IntVar(&h.idle, "idle", 10_000, "how many connections are idle")
	l.flags.IntVar(&h.slow, "slow", 2_000, "how many clients are slow")
	l.flags.Int64Var(&h.object, "slow-object", 512<<10, "bytes of what slow readers read; it lies in the kernel's buffers")
	l.flags.DurationVar(&h.window, "window", 10*time.Minute, "how long a history is: then it is judged, and what was written is deleted")
	if err := l.parse(args); err != nil {
		return misused, err
	}
	files, err := load.FileLimit(1 << 16)
	if need := uint64(h.idle + h.slow + 20*l.o.clients + 1000); err != nil || files < need { //nolint:gosec // small numbers
		return undecided, fmt.Errorf("%d files may be open, and %d are needed: %w", files, need, err)
	}
	began := time.Now()
	// auto allows as many connections as half of the files that may be open, and closes idle ones after 90 s.
	l.o.cluster.Room = fmt.Sprintf("idle: 24h, max_connections: %d, max_requests: %d", h.idle+h.slow+10*l.o.clients+500, 2*h.slow+8*l.o.clients+512)
	h.limits = load.Limits{ReadHeader: 10 * time.Second, Stall: time.Minute, Late: 20 * time.Second}
	l.o.faults = []string{"none"}
	c, t, err := l.start(ctx, began)
	if err != nil {
		return undecided, err
	}
	h.o, h.c, h.s = l.o, c, newSummary(l.o)
	err = errors.Join(h.run(ctx, t), c.Close(), h.write())
	switch {
	case err != nil:
		return undecided, err
	case len(h.s.Violations) > 0:
		return violated, nil
	}
	return good, nil
}

// run opens the neighbours, has the clients run window by window, and looks at what is left.
func (h *holding) run(ctx context.Context, t workload.Target) error {
	logf, proxy := h.o.cluster.Logf, h.c.Proxies[0]
	before, err := aftermath.Holds(ctx, h.c)
	if err != nil {
		return err
	}
	idle, err := load.OpenIdle(ctx, t, h.idle)
	if err != nil {
		return fmt.Errorf("idle connections: %w", err)
	}
	defer idle.Close()
	logf("%d idle connections are open", h.idle)
	slow, err := load.StartSlow(ctx, t, h.slow, h.object, h.limits)
	if err != nil {
		return fmt.Errorf("slow clients: %w", err)
	}
	logf("%d slow clients go on", h.slow)
	h.sampler = load.Sampler{PID: proxy.PID(), Metrics: proxy.Metrics, Every: min(10*time.Second, h.o.duration/10), Logf: logf}
	for done := time.Duration(0); done < h.o.duration && err == nil; done += h.window {
		err = h.hold(ctx, done, min(h.window, h.o.duration-done))
	}
	h.neighbours = slow.Stop(ctx)
	if err != nil {
		return err
	}
	for _, outcome := range slices.Sorted(maps.Keys(h.neighbours)) {
		if !load.Expected(outcome) {
			h.violate("slow-client", "%s, %d times", outcome, h.neighbours[outcome])
		}
	}
	for kind, n := range h.busy {
		all := 0
		for _, of := range h.s.Operations[kind] {
			all += of
		}
		if !load.Busy(n, all) {
			h.violate("error", "%s: 503 as the object was busy, %d of %d times", kind, n, all)
		}
	}
	if dead := idle.Try(ctx); dead > 0 {
		h.violate("idle", "%d of %d idle connections are not answered in the end", dead, h.idle)
	}
	idle.Close()
	http.DefaultClient.CloseIdleConnections()
	logf("the neighbours are gone")
	first, last, err := load.Tenths(h.sampler.Samples, h.o.duration)
	if err != nil {
		return err
	}
	h.s.Violations = append(h.s.Violations, load.Compare(first, last)...)
	return h.after(ctx, before)
}

func (h *holding) violate(kind, format string, args ...any) {
	h.s.Violations = append(h.s.Violations, checker.Violation{Kind: kind, Detail: fmt.Sprintf(format, args...)})
}

// hold has clients run for one window, and judges what they were answered.
func (h *holding) hold(ctx context.Context, done, window time.Duration) error {
	o := h.o
	o.duration, o.seed = window, h.o.seed+uint64(done/time.Second) //nolint:gosec // not negative
	l, err := newClients(h.c, o)
	if err != nil {
		return err
	}
	// Keys are named by the clock: those of the window before are left alone.
	l.config.Offset = done + time.Duration(int(done/h.window))*time.Minute
	sampling, stop := context.WithCancel(ctx)
	var sampled error
	var sampler sync.WaitGroup
	l.config.OnBegin = func() { sampler.Go(func() { sampled = h.sampler.Run(sampling, l.config.Record) }) }
	err = l.run(ctx)
	stop()
	sampler.Wait()
	if err := errors.Join(err, sampled); err != nil {
		return err
	}
	provoked, others, busy := load.Errors(l.config.Record.Ops())
	for kind, n := range busy {
		h.busy[kind] += n
	}
	for what, n := range provoked {
		h.provoked[what] += n
	}
	for _, what := range slices.Sorted(maps.Keys(others)) {
		h.violate("error", "%s, %d times", what, others[what])
	}
	one := newSummary(o)
	if err := l.judge(ctx, one, o.cluster.Logf); err != nil {
		return err
	}
	h.s.add(one)
	h.clients = l
	if len(one.Violations) > 0 { // the next window would overwrite it
		return os.Rename(l.file.Name(), fmt.Sprintf("%s-%.0fs", l.file.Name(), done.Seconds()))
	}
	return h.clean(ctx)
}

// clean deletes what a window wrote, and ends the uploads that it left open: hours of it would fill the drive.
func (h *holding) clean(ctx context.Context) error {
	for _, bucket := range workload.Buckets() {
		for _, what := range []string{"--versions", "--incomplete"} {
			if _, err := h.c.RunMC(ctx, "", "rm", "--recursive", "--force", what, "front/"+bucket); err != nil && !strings.Contains(err.Error(), "Object does not exist") {
				return err
			}
		}
	}
	return nil
}

// after looks at what is left without clients and neighbours.
func (h *holding) after(ctx context.Context, before map[string]aftermath.Held) error {
	after := aftermath.Options{Settle: h.o.settle, Before: before}
	h.clients.tell(&after)
	for _, look := range []func(context.Context, *cluster.Cluster, aftermath.Options) ([]aftermath.Finding, error){aftermath.Ends, aftermath.Leaks, aftermath.Logs} {
		found, err := look(ctx, h.c, after)
		if err != nil {
			return err
		}
		for _, f := range found {
			h.violate(f.Kind, "%s", f.Detail)
		}
	}
	return nil
}

// add takes a window's summary over.
func (s *summary) add(window *summary) {
	for kind, outcomes := range window.Operations {
		if s.Operations[kind] == nil {
			s.Operations[kind] = counts{}
		}
		for outcome, n := range outcomes {
			s.Operations[kind][outcome] += n
		}
	}
	s.Registers += window.Registers
	s.Undecided += window.Undecided
	s.Violations = append(s.Violations, window.Violations...)
}

// write leaves the samples and the summary in the run's folder, and prints the latter.
func (h *holding) write() error {
	f, err := os.Create(filepath.Join(h.c.Dir, "samples.csv"))
	if err != nil {
		return err
	}
	if err := errors.Join(load.Write(f, h.sampler.Samples), f.Close()); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(h.c.Dir, "load.md"), []byte(h.markdown()), 0o600); err != nil {
		return err
	}
	fmt.Print(h.markdown() + "\n")
	return h.s.write(h.o)
}

// markdown is what the load came to, as docs/reliability.md has it.
func (h *holding) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d clients for %v, beside %d idle connections and %d slow clients.\n\n", h.o.clients, h.o.duration, h.idle, h.slow)
	if first, last, err := load.Tenths(h.sampler.Samples, h.o.duration); err == nil {
		b.WriteString("| | first tenth | last tenth |\n|---|---:|---:|\n")
		fmt.Fprintf(&b, "| resident memory | %d MiB | %d MiB |\n| heap | %d MiB | %d MiB |\n", first.RSS>>20, last.RSS>>20, first.Heap>>20, last.Heap>>20)
		fmt.Fprintf(&b, "| goroutines | %d | %d |\n| descriptors | %d | %d |\n", first.Goroutines, last.Goroutines, first.Descriptors, last.Descriptors)
		for _, kind := range []history.Kind{history.Put, history.Get, history.Head, history.List, history.Copy, history.Delete, history.Complete} {
			was, is := first.Took[kind], last.Took[kind]
			show := func(took []time.Duration) string {
				return fmt.Sprintf("%v / %v", load.Percentile(took, 50).Round(time.Millisecond), load.Percentile(took, 99).Round(time.Millisecond))
			}
			fmt.Fprintf(&b, "| %s, p50 / p99 (%d, %d of them) | %s | %s |\n", kind, len(was), len(is), show(was), show(is))
		}
	}
	for _, said := range []struct {
		title string
		all   map[string]int
	}{{"Slow clients", h.neighbours}, {"Refused as clients provoked", h.provoked}, {"503 as the object was busy", h.busy}} {
		var lines []string
		for _, what := range slices.Sorted(maps.Keys(said.all)) {
			lines = append(lines, fmt.Sprintf("%s: %d", what, said.all[what]))
		}
		fmt.Fprintf(&b, "\n%s: %s.\n", said.title, cmp.Or(strings.Join(lines, "; "), "none"))
	}
	return b.String()
}
