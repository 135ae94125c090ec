package serve

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	// pacedHeap is up to which size in bytes a heap may grow between two collections,
	// where what is in use is less than half of it.
	pacedHeap = 64 << 20
	// leastGrowth is Go's own default of GOGC, mostGrowth the most that a small heap gets.
	leastGrowth, mostGrowth = 100, 400
)

// paceGC has garbage of a small heap collected less often: a proxy of small requests has
// few MiB in use, and would collect them many times a second. A heap of half of pacedHeap
// and more is collected as Go does by itself, so that its peak stays what it was. GOGC,
// where an operator set it, wins.
func paceGC(log *slog.Logger) {
	if _, set := os.LookupEnv("GOGC"); set {
		return
	}
	debug.SetGCPercent(mostGrowth)
	p := &gcPace{percent: mostGrowth, wake: make(chan struct{}, 1)}
	go p.run()
	runtime.SetFinalizer(&gcMark{pace: p}, (*gcMark).collected)
	log.Debug("garbage is collected by the heap's size", "heap", pacedHeap, "most", mostGrowth)
}

// gcPace adapts GOGC to the heap after each collection.
type gcPace struct {
	percent int
	wake    chan struct{}
}

// gcMark is garbage, which every collection finds.
type gcMark struct{ pace *gcPace }

// collected wakes the pace, and is garbage again.
func (m *gcMark) collected() {
	select {
	case m.pace.wake <- struct{}{}:
	default:
	}
	runtime.SetFinalizer(m, (*gcMark).collected)
}

func (p *gcPace) run() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for range p.wake {
		metrics.Read(live)
		if live[0].Value.Kind() != metrics.KindUint64 {
			return
		}
		if percent := growthOf(live[0].Value.Uint64()); percent != p.percent {
			p.percent = percent
			debug.SetGCPercent(percent)
		}
	}
}

// growthOf is GOGC for a heap of which so many bytes are in use, in steps: each change
// stops the world for a moment.
func growthOf(live uint64) int {
	const step = 50
	growth := mostGrowth
	if live > 0 {
		growth = int(min(pacedHeap*100/live, 100+mostGrowth)) - 100 //nolint:gosec // at most 500
	}
	return min(max(growth/step*step, leastGrowth), mostGrowth)
}
