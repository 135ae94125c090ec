package proxy

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// healthTimeout bounds a readiness check.
	healthTimeout = 3 * time.Second
	// healthAge is how long its outcome is good for.
	healthAge = 250 * time.Millisecond
)

// healthAnswer is the outcome of a health check.
type healthAnswer struct {
	status int
	header http.Header
	at     time.Time
}

// probes are health checks that reach beyond the proxy. Anybody may ask for them
// as often as they like; MinIO and the key service are asked once for all who ask
// at the same time.
type probes struct {
	flight singleflight.Group
	mu     sync.Mutex
	last   map[string]healthAnswer // by a few fixed names
}

// ask returns the outcome of check, this one's or that of somebody who asked
// for the same just before.
func (p *probes) ask(ctx context.Context, name string, check func(context.Context) healthAnswer) healthAnswer {
	p.mu.Lock()
	last, ok := p.last[name]
	p.mu.Unlock()
	if ok && time.Since(last.at) < healthAge {
		return last
	}
	done := p.flight.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
		defer cancel()
		answer := check(ctx)
		answer.at = time.Now()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.last == nil {
			p.last = make(map[string]healthAnswer)
		}
		p.last[name] = answer
		return answer, nil
	})
	select {
	case outcome := <-done:
		return outcome.Val.(healthAnswer)
	case <-ctx.Done():
		return healthAnswer{status: http.StatusServiceUnavailable}
	}
}
