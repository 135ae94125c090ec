package upstream

import (
	"crypto/x509"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/upstream/wire"
)

// clockInterval is how often it is looked at what time upstream says it is.
const clockInterval = time.Second

// seen is what a Client has seen of upstream beside the answers to what it asked.
type seen struct {
	traffic wire.Traffic
	// expires is when the certificate of the last handshake does, in Unix seconds; 0 before
	// there was one.
	expires atomic.Int64
	// skew is by how many nanoseconds upstream's clock is ahead, by an answer that came at
	// looked, in Unix nanoseconds; 0 before there was one.
	skew, looked atomic.Int64
}

// certificate takes up what upstream shows of itself. Of a chain the first to expire counts.
func (s *seen) certificate(chain []*x509.Certificate) {
	if len(chain) == 0 {
		return
	}
	first := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	s.expires.Store(first.Unix())
}

// clock compares an answer's date with this machine's, now and then.
func (s *seen) clock(h http.Header) {
	now := time.Now()
	last := s.looked.Load()
	if d := now.UnixNano() - last; d >= 0 && d < int64(clockInterval) && last != 0 {
		return
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || !s.looked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	// The date is a whole second, cut off: on average, half a second has passed since.
	s.skew.Store(int64(date.Add(time.Second / 2).Sub(now)))
}

// Expires returns when the certificate ends that upstream showed last, the first of its
// chain; zero if it showed none.
func (c *Client) Expires() (at time.Time) {
	if unix := c.seen.expires.Load(); unix != 0 {
		at = time.Unix(unix, 0)
	}
	return at
}

// Skew returns by how much upstream's clock is ahead of this machine's, to half a second;
// ok is false before the first answer.
func (c *Client) Skew() (ahead time.Duration, ok bool) {
	return time.Duration(c.seen.skew.Load()), c.seen.looked.Load() != 0
}
