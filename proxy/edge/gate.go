// Package edge is what lies between the network and the S3 handlers: how many
// connections and requests there may be at once, what memory they may take, and how
// slow they may be.
package edge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrBusy says that too many requests are being served.
var ErrBusy = errors.New("too many requests at once")

// Gate lets a number of requests in at once. Others wait in a queue of limited
// length and for a limited time: one of each account in turn, first come first
// served within it, and strangers in turn with accounts. Places and queue are shared
// as a Budget is, so that nobody takes the last of them from everybody else. It is
// safe for concurrent use; a nil Gate lets everybody in.
type Gate struct {
	wait    time.Duration
	refused atomic.Int64

	mu     sync.Mutex
	places shares
	queue  shares
	lines  [2]line // of accounts, of strangers
	next   int     // which of them is asked first
}

// line is who waits, by claim. Claims take turns.
type line struct {
	turns   []Claim
	waiting map[Claim][]*waiter
}

// waiter is told when it has its place.
type waiter struct{ in chan struct{} }

// NewGate returns a gate for most requests at once. As many more may wait, each
// for at most wait.
func NewGate(most int, wait time.Duration) *Gate { return NewQueue(most, most, wait) }

// NewQueue is NewGate with another length of the queue.
func NewQueue(most, queue int, wait time.Duration) *Gate {
	g := &Gate{wait: wait, places: newShares(int64(most), max(int64(most)/2, 1)), queue: newShares(int64(queue), max(int64(queue)/2, 1))}
	for i := range g.lines {
		g.lines[i].waiting = make(map[Claim][]*waiter)
	}
	return g
}

// Enter waits for a place for somebody without a name. See EnterAs.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) { return g.EnterAs(ctx, Claim{}) }

// EnterAs waits for a place for c and returns how to give it back. ErrBusy if there
// is none in time, or ctx's error.
func (g *Gate) EnterAs(ctx context.Context, c Claim) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	g.mu.Lock()
	if len(g.line(c).waiting[c]) == 0 && g.places.take(c, 1) {
		g.mu.Unlock()
		return func() { g.leave(c) }, nil
	}
	if !g.queue.take(c, 1) {
		g.mu.Unlock()
		g.refused.Add(1)
		return nil, ErrBusy
	}
	w := &waiter{in: make(chan struct{})}
	g.line(c).join(c, w)
	g.mu.Unlock()
	return g.await(ctx, c, w)
}

func (g *Gate) await(ctx context.Context, c Claim, w *waiter) (leave func(), err error) {
	_, wait := g.Limits()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	leave = func() { g.leave(c) }
	select {
	case <-w.in:
		return leave, nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	g.mu.Lock()
	waited := g.line(c).quit(c, w)
	if waited {
		g.queue.give(c, 1)
	}
	g.mu.Unlock()
	if !waited { // its place came at the same moment
		return leave, nil
	}
	if errors.Is(err, ErrBusy) {
		g.refused.Add(1)
	}
	return nil, err
}

func (g *Gate) line(c Claim) *line {
	if c.Stranger {
		return &g.lines[1]
	}
	return &g.lines[0]
}

// leave gives a place back, and all that are free to those who wait.
func (g *Gate) leave(c Claim) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.places.give(c, 1)
	g.fill()
}

// fill gives all places that are free to those who wait.
func (g *Gate) fill() {
	for g.places.free > 0 && (g.letIn(&g.lines[g.next]) || g.letIn(&g.lines[1-g.next])) {
		g.next = 1 - g.next
	}
}

// letIn gives a place to the first of l who may have one.
func (g *Gate) letIn(l *line) bool {
	for i, c := range l.turns {
		if !g.places.take(c, 1) {
			continue
		}
		g.queue.give(c, 1)
		l.turns = append(slices.Delete(l.turns, i, i+1), c)
		w := l.waiting[c][0]
		l.quit(c, w)
		close(w.in)
		return true
	}
	return false
}

func (l *line) join(c Claim, w *waiter) {
	if len(l.waiting[c]) == 0 {
		l.turns = append(l.turns, c)
	}
	l.waiting[c] = append(l.waiting[c], w)
}

// quit takes a waiter out of the line, if it is there.
func (l *line) quit(c Claim, w *waiter) bool {
	i := slices.Index(l.waiting[c], w)
	if i < 0 {
		return false
	}
	if l.waiting[c] = slices.Delete(l.waiting[c], i, i+1); len(l.waiting[c]) == 0 {
		delete(l.waiting, c)
		l.turns = slices.DeleteFunc(l.turns, func(other Claim) bool { return other == c })
	}
	return true
}

// holds says how many places are taken, and how many wait for one.
func (g *Gate) holds() (inside, waiting float64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return float64(g.places.total - g.places.free), float64(g.queue.total - g.queue.free)
}

// Register adds the gate's metrics to r.
func (g *Gate) Register(r prometheus.Registerer) {
	r.MustRegister(
		gauge("bucketseal_s3_requests_in_flight", "S3 requests that hold a place.", func() float64 { inside, _ := g.holds(); return inside }),
		gauge("bucketseal_s3_requests_limit", "S3 requests that may be served at once.", func() float64 { most, _ := g.Limits(); return float64(most) }),
		gauge("bucketseal_s3_requests_queued", "S3 requests that wait for a place.", func() float64 { _, waiting := g.holds(); return waiting }),
		counter("bucketseal_s3_requests_refused_total", "S3 requests that found no place in time.", &g.refused),
	)
}

func gauge(name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
}

func counter(name, help string, value *atomic.Int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value.Load()) })
}
