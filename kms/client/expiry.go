package client

import (
	"crypto/tls"
	"sync/atomic"
	"time"
)

// shown is what servers show of themselves.
type shown struct {
	// expires is when the certificate of the last handshake does, in Unix seconds; 0 before
	// there was one.
	expires atomic.Int64
}

// note is a tls.Config.VerifyConnection that only looks. Of a chain the first to expire counts.
func (s *shown) note(state tls.ConnectionState) error {
	first := time.Time{}
	for _, c := range state.PeerCertificates {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	if !first.IsZero() {
		s.expires.Store(first.Unix())
	}
	return nil
}

// Expires returns when the certificates end that a key server showed last, and that this
// client shows; zero for what is not known. What was made of an API key is made anew in time.
func (c *Client) Expires() (server, own time.Time) {
	if unix := c.shown.expires.Load(); unix != 0 {
		server = time.Unix(unix, 0)
	}
	if c.cert.opts.APIKey != "" {
		return server, own
	}
	if pair, err := c.cert.current(); err == nil && pair.Leaf != nil {
		own = pair.Leaf.NotAfter
	}
	return server, own
}
