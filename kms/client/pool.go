package client

import (
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"time"
)

// asideFor is how long an endpoint that failed is left alone.
const asideFor = 30 * time.Second

// pool orders endpoints for each request and remembers which of them failed.
type pool struct {
	mu        sync.Mutex
	endpoints []*endpoint // those on this machine first
	local     int         // how many are on this machine
	now       func() time.Time
	rand      func(n int) int
}

type endpoint struct {
	url string
	// asideUntil is zero for an endpoint in order. When it has passed, one
	// request probes the endpoint while others still leave it alone.
	asideUntil time.Time
	probing    bool
}

func newPool(urls []string) *pool {
	p := &pool{now: time.Now, rand: rand.IntN}
	var remote []*endpoint
	for _, u := range urls {
		if isLocal(u) {
			p.endpoints = append(p.endpoints, &endpoint{url: u})
		} else {
			remote = append(remote, &endpoint{url: u})
		}
	}
	p.local = len(p.endpoints)
	p.endpoints = append(p.endpoints, remote...)
	return p
}

func isLocal(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback())
}

// order returns the endpoints to try, best first: local ones, then the others
// from a random one on, without those set aside; and at least one, should all
// be set aside. One whose time is over comes first and is being probed: every
// endpoint returned must be given to done or to skipped.
func (p *pool) order() []*endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	var good, probes, aside []*endpoint
	now := p.now()
	for _, e := range p.rotated() {
		switch {
		case e.asideUntil.IsZero():
			good = append(good, e)
		case now.Before(e.asideUntil) || e.probing:
			aside = append(aside, e)
		case len(probes) == 0:
			e.probing = true
			probes = append(probes, e)
		default:
			aside = append(aside, e)
		}
	}
	switch {
	case len(probes) > 0:
		// The probe goes first: last, it would never be tried while another
		// endpoint works, and the endpoint would stay aside for ever.
		return append(probes, good...)
	case len(good) > 0:
		return good
	}
	return aside
}

func (p *pool) rotated() []*endpoint {
	remote := p.endpoints[p.local:]
	if len(remote) < 2 {
		return p.endpoints
	}
	start := p.rand(len(remote))
	all := append([]*endpoint(nil), p.endpoints[:p.local]...)
	all = append(all, remote[start:]...)
	return append(all, remote[:start]...)
}

// done notes how a request to an endpoint went.
func (p *pool) done(e *endpoint, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e.probing = false
	e.asideUntil = time.Time{}
	if failed && len(p.endpoints) > 1 {
		e.asideUntil = p.now().Add(asideFor)
	}
}

// skipped takes back endpoints that order returned and nobody tried.
func (p *pool) skipped(endpoints []*endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range endpoints {
		e.probing = false
	}
}
