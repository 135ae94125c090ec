package serve

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/edge"
)

// newcomerTime is how long connections that were taken before the end may take until
// their first request is there. Longer ones are spares that clients keep.
const newcomerTime = time.Second

// newcomers are connections whose first request is not read yet. net/http's Shutdown
// drops a request that is read after it began, so the end waits for them. Safe for
// concurrent use.
type newcomers struct {
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// connState is for http.Server.
func (n *newcomers) connState(conn net.Conn, state http.ConnState) {
	n.mu.Lock()
	if state == http.StateNew {
		if n.open == nil {
			n.open = make(map[net.Conn]struct{})
		}
		n.open[conn] = struct{}{}
	} else {
		delete(n.open, conn)
	}
	n.mu.Unlock()
	edge.ConnState(conn, state)
}

func (n *newcomers) none() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.open) == 0
}

// wait returns once there are none, or after limit.
func (n *newcomers) wait(ctx context.Context, limit time.Duration) {
	// net/http looks for the end a moment after it has said that a connection is none.
	const moment = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for quiet := 0; quiet < 2; quiet++ {
		if !n.none() {
			quiet = -1
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(moment):
		}
	}
}
