package main

import (
	"slices"
	"time"
)

// row is a work with what each target made of it, in the targets' order.
type row struct {
	Name  string  `json:"name"`
	Title string  `json:"title"`
	Cells []*cell `json:"targets"`
	work  work
}

// cell is what one target did with one work, in all rounds.
type cell struct {
	Target string   `json:"target"`
	Rounds []sample `json:"rounds"`
	// Rate is operations per second.
	Rate spread `json:"rate"`
	// P50 and P99 are of all operations of all rounds, in milliseconds.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// CPU is processor seconds of the server that was asked for 1,000 requests,
	// Back those of MinIO behind it; PerGiB and BackPerGiB the same for a GiB of
	// objects, 0 where the work is not about bytes or objects are tiny.
	CPU        float64 `json:"cpu_seconds_per_1000"`
	Back       float64 `json:"back_cpu_seconds_per_1000"`
	PerGiB     float64 `json:"cpu_seconds_per_gib"`
	BackPerGiB float64 `json:"back_cpu_seconds_per_gib"`
	// Peak is resident memory at most, in bytes; Allocs those of a request, less
	// than 0 if not known.
	Peak   int64   `json:"peak_bytes"`
	Allocs float64 `json:"allocations_per_request"`
	// Ratios compare rates, round by round, with other targets, by their names.
	Ratios map[string]spread `json:"rate_ratios"`
	// CPURatios and P50Ratios do the same with processor time for a request and
	// with the median latency.
	CPURatios map[string]spread `json:"cpu_ratios"`
	P50Ratios map[string]spread `json:"p50_ratios"`
	// Upstream is what a request costs behind the server; nil if it was not counted.
	Upstream *upstreamCost `json:"upstream,omitempty"`
}

// upstreamCost is what goes between a proxy and MinIO for each request of a client.
type upstreamCost struct {
	Requests float64 `json:"requests_per_request"`
	// Bytes are those of both directions for each byte between client and proxy.
	Bytes float64 `json:"bytes_per_byte"`
}

// newRow puts the samples of all targets together. samples has the rounds of each
// target.
func newRow(w work, targets []*target, samples [][]sample) *row {
	r := &row{Name: w.name(), Title: w.title(), work: w}
	for i, t := range targets {
		r.Cells = append(r.Cells, newCell(w, t, samples[i]))
	}
	for i, c := range r.Cells {
		c.Ratios, c.CPURatios, c.P50Ratios = map[string]spread{}, map[string]spread{}, map[string]spread{}
		for j, other := range r.Cells {
			if i == j {
				continue
			}
			c.Ratios[other.Target] = spreadOf(ratios(rates(samples[i]), rates(samples[j])))
			if targets[i].back != nil && targets[j].back != nil { // hops: MinIO does other things
				c.CPURatios[other.Target] = spreadOf(ratios(costs(samples[i]), costs(samples[j])))
			}
			c.P50Ratios[other.Target] = spreadOf(ratios(medians(samples[i]), medians(samples[j])))
		}
	}
	return r
}

func newCell(w work, t *target, samples []sample) *cell {
	c := &cell{Target: t.name, Rounds: samples, Rate: spreadOf(rates(samples))}
	var ops int
	var front, back, allocs float64
	var latencies []time.Duration
	for _, s := range samples {
		ops += s.Ops
		front, back, allocs = front+s.FrontCPU, back+s.BackCPU, allocs+s.Allocs
		c.Peak = max(c.Peak, s.Peak)
		latencies = append(latencies, s.latencies...)
	}
	slices.Sort(latencies)
	c.P50, c.P99 = milliseconds(percentile(latencies, 50)), milliseconds(percentile(latencies, 99))
	if ops > 0 {
		c.CPU, c.Back = front/float64(ops)*1000, back/float64(ops)*1000
		c.Allocs = allocs / float64(ops)
		if n := w.payload(); n >= 64*kib {
			perGiB := gib / (float64(n) * float64(ops))
			c.PerGiB, c.BackPerGiB = front*perGiB, back*perGiB
		}
	}
	return c
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func rates(samples []sample) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, s.rate())
	}
	return all
}

// costs are processor seconds for an operation of the server that was asked.
func costs(samples []sample) []float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, s.FrontCPU/float64(max(1, s.Ops)))
	}
	return all
}

func medians(samples []sample) []float64 {
	var all []float64
	for _, s := range samples {
		sorted := slices.Sorted(slices.Values(s.latencies))
		all = append(all, milliseconds(percentile(sorted, 50)))
	}
	return all
}
