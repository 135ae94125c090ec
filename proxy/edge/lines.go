package edge

import (
	"net/netip"
	"sync"
	"time"
)

const (
	linesWindow    = time.Minute
	linesPerClient = 60
	linesForAll    = 600
)

// Lines bounds how many lines of the log callers get who could not say who they
// are: in a minute 60 for an address (of IPv6, a /64), 600 for all of them. What is
// left out is reported once when the minute is over. It is safe for concurrent use.
type Lines struct {
	// report is told how many lines were left out, and the address with the most.
	report func(left int, most netip.Addr)
	after  func(time.Duration, func()) // time.AfterFunc, but in tests

	mu      sync.Mutex
	began   time.Time
	written int
	left    int
	clients map[netip.Addr]int // lines asked for
}

// NewLines returns Lines that say by report what they left out.
func NewLines(report func(left int, most netip.Addr)) *Lines {
	return &Lines{report: report, after: func(d time.Duration, f func()) { time.AfterFunc(d, f) }}
}

// Allow says whether there is a line for a client.
func (l *Lines) Allow(from netip.Addr) bool { return l.allow(clientOf(from), time.Now()) }

func (l *Lines) allow(client netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left == 0 && now.Sub(l.began) >= linesWindow {
		l.began, l.written, l.clients = now, 0, make(map[netip.Addr]int)
	}
	// More addresses than lines are not remembered: they get none.
	if _, known := l.clients[client]; known || len(l.clients) < linesForAll {
		l.clients[client]++
	}
	if l.written < linesForAll && l.clients[client] <= linesPerClient {
		l.written++
		return true
	}
	if l.left++; l.left == 1 {
		l.after(max(0, linesWindow-now.Sub(l.began)), l.end)
	}
	return false
}

// end says what was left out, and begins anew.
func (l *Lines) end() {
	l.mu.Lock()
	left, clients := l.left, l.clients
	l.left, l.began, l.clients = 0, time.Time{}, nil
	l.mu.Unlock()
	var most netip.Addr
	for client, n := range clients {
		if n > clients[most] {
			most = client
		}
	}
	l.report(left, most)
}
