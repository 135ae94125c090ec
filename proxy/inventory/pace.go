package inventory

import (
	"context"
	"sync"
	"time"
)

// Pace lets as many things begin in a second as it is told. It is safe for
// concurrent use.
type Pace struct {
	mu   sync.Mutex
	step time.Duration // 0 for no bound
	next time.Time
}

// NewPace returns a pace of so many things in a second, 0 for no bound.
func NewPace(rate float64) *Pace {
	if rate <= 0 {
		return &Pace{}
	}
	return &Pace{step: time.Duration(float64(time.Second) / rate)}
}

// Wait waits for its turn, or for the context's end, whose cause it returns.
func (p *Pace) Wait(ctx context.Context) error {
	if p.step == 0 {
		return context.Cause(ctx)
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	turn := p.next
	p.next = p.next.Add(p.step)
	p.mu.Unlock()
	timer := time.NewTimer(turn.Sub(now))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
