package main

import (
	"slices"
	"testing"
	"time"
)

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{4, 1}, spread{1, 2.5, 4}},
		{[]float64{9, 1, 2, 3, 100}, spread{1, 3, 100}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("spreadOf(%v) = %v, want %v", c.values, got, c.want)
		}
	}
	values := []float64{3, 1, 2}
	spreadOf(values)
	if !slices.Equal(values, []float64{3, 1, 2}) {
		t.Error("spreadOf sorted the rounds of its caller")
	}
}

func TestRatiosAreRoundByRound(t *testing.T) {
	if got := ratios([]float64{10, 30, 7}, []float64{20, 10, 0}); !slices.Equal(got, []float64{0.5, 3}) {
		t.Errorf("ratios = %v", got)
	}
	if got := ratios([]float64{1, 2}, []float64{4}); !slices.Equal(got, []float64{0.25}) {
		t.Errorf("ratios of fewer divisors = %v", got)
	}
}

func TestPercentile(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{0: 1, 1: 2, 50: 100, 99: 198, 100: 200} {
		if got := percentile(all, p); got != want {
			t.Errorf("percentile %d = %d, want %d", p, got, want)
		}
	}
	if got := percentile(all[:1], 99); got != 1 {
		t.Errorf("percentile of one = %d", got)
	}
	if got := percentile(nil, 50); got != 0 {
		t.Errorf("percentile of none = %d", got)
	}
}
