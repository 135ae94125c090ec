package main

import (
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/faults"
	"github.com/bucketseal/bucketseal/chaos/history"
	"github.com/bucketseal/bucketseal/chaos/nemesis"
)

func TestEachFaultHasATrial(t *testing.T) {
	all, err := faults.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if len(trials[f.Name].kinds) == 0 {
			t.Errorf("nobody says what finds %s", f.Name)
		}
	}
	if len(all) != len(trials) {
		t.Errorf("%d faults, %d trials", len(all), len(trials))
	}
	for name, trial := range trials {
		if unknown := nemesis.Unknown([]string{trial.faults}); len(unknown) > 0 {
			t.Errorf("%s: no fault is named %s", name, unknown)
		}
	}
}

func TestAFaultIsShownWhenTheLastOfItsOperationsEnded(t *testing.T) {
	h := history.New(nil)
	for _, end := range []time.Duration{4, 1, 3, 2} {
		h.Add(history.Op{End: end * time.Second})
	}
	for name, c := range map[string]struct {
		found []checker.Violation
		at    time.Duration
		after int
	}{
		"the first counts":    {[]checker.Violation{{Kind: "a", Events: []int{0, 1}}, {Kind: "a", Events: []int{1, 3}}}, 2 * time.Second, 2},
		"others do not":       {[]checker.Violation{{Kind: "b", Events: []int{1}}, {Kind: "a", Events: []int{2}}}, 3 * time.Second, 3},
		"seen in the end":     {[]checker.Violation{{Kind: "a"}}, 4 * time.Second, 4},
		"before the very end": {[]checker.Violation{{Kind: "a"}, {Kind: "a", Events: []int{1}}}, time.Second, 1},
	} {
		if at, after := shown(h, c.found, []string{"a"}); at != c.at || after != c.after {
			t.Errorf("%s: after %v and %d operations, want %v and %d", name, at, after, c.at, c.after)
		}
	}
}
