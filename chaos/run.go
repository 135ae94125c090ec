package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/aftermath"
	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/cluster"
	"github.com/bucketseal/bucketseal/chaos/nemesis"
)

// Limits of what is done beside the run itself.
const (
	startLimit  = 3 * time.Minute
	settleLimit = 5 * time.Minute
)

// run does a whole run: cluster, clients and faults, healing, checks, summary.
func run(ctx context.Context, o options) (int, error) {
	began := time.Now()
	o.cluster.Logf = func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%8.1f  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	logf := o.cluster.Logf
	logf("seed %d, %v, %d clients, %s in %s", o.seed, o.duration, o.clients, o.cluster.World, o.cluster.Dir)
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	c, err := cluster.Start(starting, o.cluster)
	if err != nil {
		return undecided, err
	}
	logf("the cluster is ready")
	s, err := attack(ctx, c, o)
	err = errors.Join(err, c.Close(), s.write(o))
	if err != nil {
		return undecided, err
	}
	if len(s.Violations) > 0 {
		return violated, nil
	}
	return good, nil
}

// attack runs clients and faults against a cluster and returns what came of it.
func attack(ctx context.Context, c *cluster.Cluster, o options) (s *summary, err error) {
	s = newSummary(o)
	held := map[string]aftermath.Held{}
	if !o.cluster.Bare {
		if held, err = aftermath.Holds(ctx, c); err != nil {
			return s, err
		}
	}
	load, err := newClients(c, o)
	if err != nil {
		return s, err
	}
	if err := load.attack(ctx, c, o, s); err != nil {
		return s, err
	}
	full := c.HasRoom() // what there is can be judged all the same
	defer func() { err = errors.Join(full, s.inVain(), err) }()
	settling, cancel := context.WithTimeout(ctx, settleLimit+o.duration/3) // MinIO looks at each object
	defer cancel()
	if err := aftermath.Settled(settling, c); err != nil {
		return s, err
	}
	o.cluster.Logf("the cluster is ready again")
	if err := load.judge(ctx, s, o.cluster.Logf); err != nil {
		return s, err
	}
	if !o.cluster.Bare {
		after := aftermath.Options{Dir: filepath.Join(c.Dir, "after"), Settle: o.settle, Before: held}
		load.tell(&after)
		found, err := aftermath.Look(ctx, c, after)
		for _, f := range found {
			s.Violations = append(s.Violations, checker.Violation{Kind: f.Kind, Detail: f.Detail})
		}
		load.setApart(s)
		return s, err
	}
	load.setApart(s)
	return s, nil
}

// setApart moves what the storage is known to break alone out of the violations.
func (l *clients) setApart(s *summary) {
	s.Violations, s.Apart = checker.SetApart(l.config.Record, s.Violations, checker.Storage{Several: s.Storage == "four", Killed: s.killed()})
}

// attack runs the clients, and the faults meanwhile.
func (l *clients) attack(ctx context.Context, c *cluster.Cluster, o options, s *summary) error {
	n := nemesis.New(c, o.seed, o.faults)
	s.LeftOut = n.LeftOut()
	var both sync.WaitGroup
	var faulty, loaded error
	// Faults without clients, and clients at a cluster that did not heal, show nothing.
	either, stop := context.WithCancel(ctx)
	defer stop()
	begun := make(chan struct{}) // buckets and rules are there
	l.config.OnBegin = func() { close(begun) }
	both.Go(func() {
		select {
		case <-begun:
		case <-either.Done():
			return
		}
		if s.Faults, faulty = n.Run(either, o.duration); faulty != nil {
			stop()
		}
	})
	both.Go(func() {
		if loaded = l.run(either); loaded != nil {
			stop()
		}
	})
	both.Wait()
	if err := errors.Join(faulty, loaded, ctx.Err()); err != nil {
		return err
	}
	c.Logf("clients and faults are done")
	return nil
}
