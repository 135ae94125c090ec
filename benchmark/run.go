package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// selfPID is the benchmark's own process.
var selfPID = os.Getpid()

// options are the flags of run.
type options struct {
	short   bool
	targets string
	works   string
	json    string
	dir     string
	rounds  int
	slot    time.Duration
	tls     string
	// page and chart are files of the documentation, "" for none.
	page, chart string
	// bounds are tried by these names; try says how.
	bounds string
	try    *bounds
}

// result is all that a run found out.
type result struct {
	Began   time.Time `json:"began"`
	Machine machine   `json:"machine"`
	Rows    []*row    `json:"rows"`
	// Floor is what cannot be saved; Goals and Bounds are judged.
	Floor  floor     `json:"floor"`
	Goals  []verdict `json:"goals"`
	Bounds []verdict `json:"bounds"`
}

func runCommand(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.BoolVar(&o.short, "short", os.Getenv("SHORT") == "1", "under a minute: few works, few rounds (SHORT=1 is the same)")
	flags.StringVar(&o.targets, "targets", "", "`NAMES` of targets, with commas between; if not given, "+allTargets+", of a short run "+shortTargets)
	flags.StringVar(&o.works, "works", "", "`PATTERNS` of works, with commas between, as in get-4k-*,list-*; all of the run's if not given")
	flags.StringVar(&o.json, "json", "", "`FILE` for all figures")
	flags.StringVar(&o.dir, "dir", "", "`FOLDER` for the servers' data, which a temporary one in it is removed from at the end")
	flags.IntVar(&o.rounds, "rounds", 0, "`NUMBER` of rounds, in place of what each work has")
	flags.DurationVar(&o.slot, "slot", 0, "how long a target is driven in a round, in place of what each work has")
	flags.StringVar(&o.tls, "tls", "", "over TLS: `none`, some or all works; some if not given, none of a short run")
	flags.StringVar(&o.bounds, "bounds", "", "`NAMES` of bounds to try, or none; if not given, all of them, and of a short run or of chosen works none")
	o.try = newBounds(flags)
	flags.StringVar(&o.page, "page", "", "Markdown `FILE` with marks between which the tables are put")
	flags.StringVar(&o.chart, "chart", "", "`FILE` for the chart, an SVG")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.fill()
	works, err := o.choose()
	if err != nil {
		return err
	}
	chosen, err := chooseKinds(o.targets)
	if err != nil {
		return err
	}
	return inLab(o.dir, func(l *lab) error {
		r, err := o.run(ctx, l, chosen, works)
		if err != nil {
			return err
		}
		l.close() // the bounds have servers of their own
		if o.bounds != "none" {
			if r.Bounds, err = o.try.try(ctx, strings.Split(o.bounds, ",")); err != nil {
				return err
			}
		}
		return o.report(r)
	})
}

// fill gives flags that were not given what follows from others.
func (o *options) fill() {
	tls, bounds, targets := "some", boundNames, allTargets
	if o.short {
		tls, bounds, targets = "none", "none", shortTargets
	}
	if o.targets == "" {
		o.targets = targets
	}
	if o.works != "" {
		bounds = "none"
	}
	if o.tls == "" {
		o.tls = tls
	}
	if o.bounds == "" {
		o.bounds = bounds
	}
	o.try.dir = o.dir
}

// inLab calls f with servers to be had in a temporary folder, within dir if that is
// given, and removes all of it in the end.
func inLab(dir string, f func(*lab) error) error {
	dir, err := os.MkdirTemp(dir, "bucketseal-benchmark-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	l, err := newLab(dir)
	if err != nil {
		return err
	}
	defer l.close()
	return f(l)
}

// say tells progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// choose returns the works of the run.
func (o options) choose() ([]work, error) {
	all := fullWorks()
	if o.short {
		all = shortWorks()
	}
	var secured []work
	for _, w := range all {
		if o.tls == "all" || o.tls == "some" && w.alsoSecure() {
			w.secure = true
			secured = append(secured, w)
		}
	}
	all = append(all, secured...)
	works := all
	if o.works != "" {
		var err error
		if works, err = matching(all, o.works); err != nil {
			return nil, err
		}
	}
	for i := range works {
		if o.rounds > 0 {
			works[i].rounds = o.rounds
		}
		if o.slot > 0 {
			works[i].slot = o.slot
		}
	}
	return works, nil
}

// matching returns those works that one of the patterns, with commas between, names.
// A name of a work that is not among them stands for itself.
func matching(all []work, patterns string) ([]work, error) {
	var works []work
	for pattern := range strings.SplitSeq(patterns, ",") {
		before := len(works)
		for _, w := range all {
			ok, err := path.Match(pattern, w.name())
			if err != nil {
				return nil, err
			}
			if ok && !slices.Contains(works, w) {
				works = append(works, w)
			}
		}
		if len(works) == before {
			w, err := workNamed(pattern)
			if err != nil {
				return nil, err
			}
			works = append(works, w)
		}
	}
	return works, nil
}

// run measures the works, those over plain HTTP first.
func (o options) run(ctx context.Context, l *lab, chosen []kind, works []work) (*result, error) {
	r := &result{Began: time.Now().UTC().Truncate(time.Second), Machine: thisMachine()}
	for _, secure := range []bool{false, true} {
		var targets []*target
		var counters map[string]*counter
		for _, w := range works {
			if w.secure != secure {
				continue
			}
			if targets == nil {
				var err error
				if targets, err = l.start(ctx, chosen, secure, say); err != nil {
					return nil, err
				}
				if !secure {
					counters, err = l.counters(ctx, chosen, targets)
				}
				if err != nil {
					return nil, err
				}
			}
			row, err := w.compare(ctx, targets)
			if err != nil {
				return nil, err
			}
			for _, c := range row.Cells {
				if count := counters[c.Target]; count != nil {
					if c.Upstream, err = count.cost(ctx, w); err != nil {
						return nil, fmt.Errorf("count %s: %w", w.name(), err)
					}
				}
			}
			r.Rows = append(r.Rows, row)
			row.print(os.Stdout)
		}
	}
	r.Floor = measureFloor()
	r.Goals = judge(r.Rows, r.Floor)
	return r, nil
}

// compare measures one work at all targets by turns: the order moves on by one in
// each round.
func (w work) compare(ctx context.Context, targets []*target) (*row, error) {
	for _, t := range targets {
		if err := w.prepareOnce(ctx, t); err != nil {
			return nil, fmt.Errorf("prepare %s: %w", w.name(), err)
		}
	}
	samples := make([][]sample, len(targets))
	for round := range w.rounds {
		for turn := range targets {
			i := (turn + round) % len(targets)
			s, err := w.measure(ctx, targets[i])
			if err != nil {
				return nil, err
			}
			samples[i] = append(samples[i], s)
		}
	}
	return newRow(w, targets, samples), nil
}

func (o options) report(r *result) error {
	printVerdicts(os.Stdout, append(append([]verdict{}, r.Goals...), r.Bounds...))
	if o.page != "" {
		if err := writePage(o.page, r); err != nil {
			return err
		}
	}
	if o.chart != "" {
		if err := writeChart(o.chart, r); err != nil {
			return err
		}
	}
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.json, append(data, '\n'), 0o644)
}
