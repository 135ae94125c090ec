package proxy

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestHealthChecksOfManyAskOnce(t *testing.T) {
	t.Parallel()
	var p probes
	var asked atomic.Int64
	check := func(context.Context) healthAnswer {
		asked.Add(1)
		time.Sleep(20 * time.Millisecond)
		return healthAnswer{status: http.StatusTeapot}
	}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if a := p.ask(context.Background(), "x", check); a.status != http.StatusTeapot {
				t.Errorf("status %d", a.status)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n < 1 || n > 3 {
		t.Errorf("asked %d times", n)
	}
	time.Sleep(healthAge)
	before := asked.Load()
	p.ask(context.Background(), "x", check)
	if asked.Load() != before+1 {
		t.Error("an old outcome was given")
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if a := p.ask(gone, "y", check); a.status != http.StatusServiceUnavailable && a.status != http.StatusTeapot {
		t.Errorf("status %d", a.status)
	}
}
