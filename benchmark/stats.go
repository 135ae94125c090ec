package main

import (
	"slices"
	"time"
)

// spread is what a figure was over the rounds.
type spread struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
}

// spreadOf is the spread of values, zero for none.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return spread{sorted[0], medianOf(sorted), sorted[len(sorted)-1]}
}

// medianOf is the middle of sorted values, the mean of both middles if there are two.
func medianOf(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// ratios divides round by round: what disturbs the machine meets both alike. Rounds
// without a divisor are left out.
func ratios(values, divisors []float64) []float64 {
	var all []float64
	for i := range min(len(values), len(divisors)) {
		if divisors[i] > 0 {
			all = append(all, values[i]/divisors[i])
		}
	}
	return all
}

// percentile is the smallest of the sorted values that p of 100 are not above, 0
// for none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
