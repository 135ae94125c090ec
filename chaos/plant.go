package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/aftermath"
	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/faults"
	"github.com/bucketseal/bucketseal/chaos/history"
)

// trial is a run that is to find a planted fault.
type trial struct {
	seed     uint64
	duration time.Duration
	faults   string // what the nemesis does, as for "chaos run"
	// kinds of violations that show the fault: one of them must be found.
	kinds []string
}

// trials are what finds each fault.
var trials = map[string]trial{
	"01-early-answer":    {1, 20 * time.Second, "none", []string{"lost-write", "stale-read", "order", "listing-lacks"}},
	"02-late-manifest":   {1, 40 * time.Second, "kill-proxy", []string{"unreadable", "listing-stale"}},
	"03-lost-record":     {1, 20 * time.Second, "none", []string{"unreadable"}},
	"04-stale-rule":      {1, 30 * time.Second, "none", []string{"rule"}},
	"05-loose-condition": {1, 30 * time.Second, "none", []string{"swapped-twice", "order"}},
	"06-old-page":        {1, 40 * time.Second, "none", []string{"listing-lacks", "listing-stale"}},
	"07-swapped-part":    {1, 30 * time.Second, "none", []string{"bytes", "phantom"}},
	"08-range-off":       {1, 20 * time.Second, "none", []string{"bytes"}},
	"09-cached-only":     {1, 40 * time.Second, "none", []string{"key-survives"}},
	"10-secret-logged":   {1, 20 * time.Second, "none", []string{"secret"}},
}

// honest is the name of the product without a fault.
const honest = "none"

// planting is one call of the command.
type planting struct {
	source, out    string
	minio, mc      string
	clients        int
	pause          time.Duration
	markdown       string
	began          time.Time
	rows           []string
	missed, blamed []string
}

func plantCommand(ctx context.Context, args []string) (int, error) {
	p := &planting{began: time.Now()}
	flags := flag.NewFlagSet("plant", flag.ContinueOnError)
	flags.StringVar(&p.source, "source", "..", "the product's module")
	flags.StringVar(&p.minio, "minio", "../.bin/minio", "MinIO")
	flags.StringVar(&p.mc, "mc", "../.bin/mc", "mc")
	flags.StringVar(&p.out, "out", "", "an empty or new folder for binaries, data, logs and histories; a temporary one if not given")
	flags.IntVar(&p.clients, "clients", 24, "how many clients there are")
	flags.DurationVar(&p.pause, "pause", 20*time.Millisecond, "how long a client waits between two operations, about")
	flags.StringVar(&p.markdown, "markdown", "", "write the table to this file too")
	if err := flags.Parse(args); err != nil {
		return misused, err
	}
	all, err := faults.All()
	if err != nil {
		return undecided, err
	}
	wanted := flags.Args()
	for _, name := range wanted {
		if name != honest && !slices.ContainsFunc(all, func(f faults.Fault) bool { return f.Name == name }) {
			return misused, fmt.Errorf("no fault is named %s", name)
		}
	}
	if err := p.place(); err != nil {
		return misused, err
	}
	if err := p.all(ctx, all, wanted); err != nil {
		return undecided, err
	}
	return p.conclude()
}

// place makes the folder, and paths absolute.
func (p *planting) place() (err error) {
	if p.out == "" {
		if p.out, err = os.MkdirTemp("", "chaos-plant-"); err != nil {
			return err
		}
	}
	for _, path := range []*string{&p.source, &p.out, &p.minio, &p.mc} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if entries, err := os.ReadDir(p.out); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", p.out)
	}
	return os.MkdirAll(p.out, 0o700)
}

func (p *planting) logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%8.1f  %s\n", time.Since(p.began).Seconds(), fmt.Sprintf(format, args...))
}

// all tries each fault, and the product without one under the same conditions.
func (p *planting) all(ctx context.Context, all []faults.Fault, wanted []string) error {
	for _, f := range all {
		if len(wanted) > 0 && !slices.Contains(wanted, f.Name) {
			continue
		}
		t, known := trials[f.Name]
		if !known {
			return fmt.Errorf("nobody says how %s is found", f.Name)
		}
		binary := filepath.Join(p.out, "bucketseal-"+f.Name)
		if err := f.Build(ctx, p.source, binary); err != nil {
			return err
		}
		if err := p.fault(ctx, f, t, binary); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if len(wanted) == 0 || slices.Contains(wanted, honest) {
		return p.control(ctx)
	}
	return nil
}

// fault runs a product with a fault, and notes what found it.
func (p *planting) fault(ctx context.Context, f faults.Fault, t trial, binary string) error {
	s, h, err := p.run(ctx, f.Name, t, binary)
	if err != nil {
		return err
	}
	kinds := map[string]int{}
	for _, v := range s.Violations {
		kinds[v.Kind]++
	}
	var found []string
	for _, k := range t.kinds {
		if kinds[k] > 0 {
			found = append(found, k)
		}
	}
	p.logf("%s: %v", f.Name, kinds)
	if len(found) == 0 {
		p.missed = append(p.missed, f.Name)
		p.rows = append(p.rows, fmt.Sprintf("| `%s` | %s | not found | %d | | |", f.Name, f.Title(), t.seed))
		return nil
	}
	at, after := shown(h, s.Violations, t.kinds)
	p.logf("%s: first shown after %.1f s by %d operations", f.Name, at.Seconds(), after)
	by := ""
	if t.faults != "none" {
		by = ", " + t.faults
	}
	p.rows = append(p.rows, fmt.Sprintf("| `%s` | %s | %s | %d%s | %.0f | %d |",
		f.Name, f.Title(), strings.Join(found, ", "), t.seed, by, at.Seconds(), after))
	return nil
}

// shown is when the first of these violations was to be seen, and after how many operations. One that no operations
// show was seen in the end.
func shown(h *history.History, all []checker.Violation, kinds []string) (at time.Duration, operations int) {
	ops := h.Ops()
	end := time.Duration(0)
	for _, o := range ops {
		end = max(end, o.End)
	}
	at = end
	for _, v := range all {
		if !slices.Contains(kinds, v.Kind) || len(v.Events) == 0 {
			continue
		}
		last := time.Duration(0)
		for _, id := range v.Events {
			last = max(last, ops[id].End)
		}
		at = min(at, last)
	}
	for _, o := range ops {
		if o.End <= at {
			operations++
		}
	}
	return at, operations
}

// control runs the product as it is, once for each way in which faults are found, for as long as any of them.
func (p *planting) control(ctx context.Context) error {
	binary := filepath.Join(p.out, "bucketseal")
	if err := faults.Honest(ctx, p.source, binary); err != nil {
		return err
	}
	longest := map[string]trial{}
	for _, t := range trials {
		way := fmt.Sprint(t.seed, t.faults)
		if t.duration > longest[way].duration {
			longest[way] = t
		}
	}
	for i, way := range slices.Sorted(maps.Keys(longest)) {
		t := longest[way]
		s, h, err := p.run(ctx, fmt.Sprintf("%s-%d", honest, i+1), t, binary)
		if err != nil {
			return err
		}
		result := "nothing"
		if len(s.Violations) > 0 {
			result = fmt.Sprintf("%d violations", len(s.Violations))
			p.blamed = append(p.blamed, way)
			for _, v := range s.Violations {
				p.logf("honest: %s", line(v))
			}
		}
		by := ""
		if t.faults != "none" {
			by = ", " + t.faults
		}
		p.rows = append(p.rows, fmt.Sprintf("| none | the product as it is | %s | %d%s | %.0f | %d |", result, t.seed, by, t.duration.Seconds(), len(h.Ops())))
	}
	return nil
}

// run is one run against a small cluster.
func (p *planting) run(ctx context.Context, name string, t trial, binary string) (*summary, *history.History, error) {
	o := options{seed: t.seed, duration: t.duration, clients: p.clients, faults: strings.Split(t.faults, ","), pause: p.pause}
	o.cluster = cluster.Config{
		Dir: filepath.Join(p.out, name), World: cluster.Processes, Small: true, Seed: t.seed,
		Bucketseal: binary, MinIO: p.minio, MC: p.mc, DriveMiB: 1024,
		Logf: func(format string, args ...any) { p.logf(name+": "+format, args...) },
	}
	if err := os.MkdirAll(o.cluster.Dir, 0o700); err != nil {
		return nil, nil, err
	}
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c, err := cluster.Start(starting, o.cluster)
	if err != nil {
		return nil, nil, err
	}
	s := newSummary(o)
	load, err := newClients(c, o)
	if err == nil {
		err = load.attack(ctx, c, o, s)
	}
	if err == nil {
		settling, cancel := context.WithTimeout(ctx, settleLimit+o.duration/3)
		err = c.WaitReady(settling)
		cancel()
	}
	if err == nil {
		err = load.judge(ctx, s, o.cluster.Logf)
	}
	if err == nil {
		var after aftermath.Options
		load.tell(&after)
		var found []aftermath.Finding
		found, err = aftermath.Logs(ctx, c, after)
		for _, f := range found {
			s.Violations = append(s.Violations, checker.Violation{Kind: f.Kind, Detail: f.Detail})
		}
	}
	if err = errors.Join(err, c.Close()); err != nil {
		return nil, nil, err
	}
	// Histories and logs stay, what lay at MinIO does not.
	return s, load.config.Record, os.RemoveAll(filepath.Join(o.cluster.Dir, "drives"))
}

// conclude prints the table.
func (p *planting) conclude() (int, error) {
	table := "| Planted | What it is | Found by | Seed | Seconds | Operations |\n|---|---|---|---|---:|---:|\n" + strings.Join(p.rows, "\n") + "\n"
	fmt.Print(table)
	if p.markdown != "" {
		if err := os.WriteFile(p.markdown, []byte(table), 0o600); err != nil {
			return undecided, err
		}
	}
	if len(p.missed)+len(p.blamed) == 0 {
		return good, nil
	}
	return violated, fmt.Errorf("not found: %s; blamed without a fault: seeds %s (everything is in %s)",
		cmp.Or(strings.Join(p.missed, ", "), "none"), cmp.Or(strings.Join(p.blamed, ", "), "none"), p.out)
}
