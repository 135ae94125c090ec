package nemesis

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// bare are the parts of a plan that can be compared.
func bare(plan []Planned) []Planned {
	for i := range plan {
		plan[i].start, plan[i].heal = nil, nil
	}
	return plan
}

func TestSameSeedSamePlan(t *testing.T) {
	t.Parallel()
	plan := func(seed uint64) []Planned { return bare(New(cluster.Sketch(), seed, []string{"all"}).Plan(time.Hour)) }
	if !reflect.DeepEqual(plan(3), plan(3)) {
		t.Error("two plans of one seed differ")
	}
	if reflect.DeepEqual(plan(3), plan(4)) {
		t.Error("two seeds have the same plan")
	}
}

func TestPlanHasEveryKindAndEndsHealed(t *testing.T) {
	t.Parallel()
	const duration = 2 * time.Hour
	seen := map[string]int{}
	end := map[string]time.Duration{}
	for _, p := range New(cluster.Sketch(), 1, []string{"all"}).Plan(duration) {
		seen[p.Kind]++
		if p.At < end[p.Lane]+gapLeast {
			t.Errorf("%s at %v begins before the one before in its lane has ended", p.Kind, p.At)
		}
		end[p.Lane] = p.At + p.For
		if end[p.Lane] > duration-quietAfter {
			t.Errorf("%s at %v ends at %v", p.Kind, p.At, end[p.Lane])
		}
	}
	for _, name := range Kinds() {
		if seen[name] < 5 {
			t.Errorf("%s comes %d times in %v", name, seen[name], duration)
		}
	}
}

func TestOnlyTheFaultsThatAreNamed(t *testing.T) {
	t.Parallel()
	for _, p := range New(cluster.Sketch(), 1, []string{"kill-kms"}).Plan(time.Hour) {
		if p.Kind != "kill-kms" {
			t.Fatalf("%s was not asked for", p.Kind)
		}
	}
	if plan := New(cluster.Sketch(), 1, []string{"none"}).Plan(time.Hour); len(plan) > 0 {
		t.Errorf("no faults are %v", plan)
	}
	if got := Unknown([]string{"all", "none", "kill-kms", "x"}); !reflect.DeepEqual(got, []string{"x"}) {
		t.Errorf("unknown are %v", got)
	}
}

func TestFaultThatDoesNotHealIsAnError(t *testing.T) {
	t.Parallel()
	c := cluster.Sketch()
	c.Logf = t.Logf
	n := New(c, 1, nil)
	healed := errors.New("no")
	f, err := n.do(t.Context(), Planned{Kind: "k", Detail: "d", start: func(context.Context) error { return errors.New("not\ndone") }, heal: func(context.Context) error { return healed }})
	if !errors.Is(err, healed) {
		t.Errorf("the error is %v", err)
	}
	if f.Detail != "d; not done" {
		t.Errorf("the detail is %q", f.Detail)
	}
}

func TestFaultIsHealedWhenTheRunIsStopped(t *testing.T) {
	t.Parallel()
	c := cluster.Sketch()
	c.Logf = t.Logf
	ctx, stop := context.WithCancel(t.Context())
	healed := false
	_, err := New(c, 1, nil).do(ctx, Planned{
		Kind: "k", For: time.Hour,
		start: func(context.Context) error { stop(); return nil },
		heal:  func(ctx context.Context) error { healed = true; return ctx.Err() },
	})
	if !healed || err != nil {
		t.Errorf("healed: %v, %v", healed, err)
	}
}
