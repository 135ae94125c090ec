package certs

import "time"

// Expires returns when the first of the certificates in use ends.
func (s *Server) Expires() time.Time {
	all := s.current.Load()
	first := all.fallback.Leaf.NotAfter
	for _, pairs := range all.byName {
		for _, pair := range pairs {
			if pair.Leaf.NotAfter.Before(first) {
				first = pair.Leaf.NotAfter
			}
		}
	}
	return first
}

// Expires returns when the certificate in force ends.
func (p *Pair) Expires() time.Time { return p.current.Load().Leaf.NotAfter }

// holders are what a watcher has read that can end: at most one of each.
type holders struct {
	server *Server
	client *Pair
}

// Expires returns when the certificates end that servers, and that a client of this process
// shows; zero for what was not read. It is called when all have been.
func (w *Watcher) Expires() (server, client time.Time) {
	if w.holders.server != nil {
		server = w.holders.server.Expires()
	}
	if w.holders.client != nil {
		client = w.holders.client.Expires()
	}
	return server, client
}
