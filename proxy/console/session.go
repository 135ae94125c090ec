package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

const (
	// idle is how long a session lasts in which nothing is done.
	idle = 10 * time.Minute
	// maxSessions bounds the sessions; the one that rested longest makes room.
	maxSessions = 1000
)

// Credential is who has logged in. It prints without its secret.
type Credential struct{ AccessKey, SecretKey string }

// Format prints the access key, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.AccessKey, ":[redacted]") }

// session is a login. It is of one address, so that a cookie that was stolen is of no use
// elsewhere; each request that is made in it is signed with its credential and judged anew.
type session struct {
	who   Credential
	from  netip.Addr
	until time.Time
	key   [32]byte // of its forms' tokens

	used time.Time // guarded by sessions.mu
}

// token is what a form of the session carries that sends to action.
func (s *session) token(action string) string {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(action))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *session) validToken(action, token string) bool {
	return hmac.Equal([]byte(s.token(action)), []byte(token))
}

// sessions are kept in memory, under a hash of their cookies' values: a look at them opens
// none.
type sessions struct {
	now  func() time.Time
	life time.Duration

	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

func newSessions(now func() time.Time, life time.Duration) *sessions {
	return &sessions{now: now, life: life, all: make(map[[sha256.Size]byte]*session)}
}

// begin begins a session and returns its cookie's value.
func (s *sessions) begin(who Credential, from netip.Addr) string {
	var id [32]byte
	_, _ = rand.Read(id[:])
	value := base64.RawURLEncoding.EncodeToString(id[:])
	now := s.now()
	one := &session{who: who, from: from, until: now.Add(s.life), used: now}
	_, _ = rand.Read(one.key[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	var oldest [sha256.Size]byte
	for at, other := range s.all {
		if s.ended(other, now) {
			delete(s.all, at)
		} else if o := s.all[oldest]; o == nil || other.used.Before(o.used) {
			oldest = at
		}
	}
	if len(s.all) >= maxSessions {
		delete(s.all, oldest)
	}
	s.all[sha256.Sum256([]byte(value))] = one
	return value
}

func (s *sessions) ended(one *session, now time.Time) bool {
	return !now.Before(one.until) || now.Sub(one.used) >= idle
}

// get returns the session of a cookie's value, nil if there is none any more. stolen says that
// it came from another address; it has ended then.
func (s *sessions) get(value string, from netip.Addr) (one *session, stolen *session) {
	at := sha256.Sum256([]byte(value))
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	one = s.all[at]
	switch {
	case one == nil:
		return nil, nil
	case s.ended(one, now):
		delete(s.all, at)
		return nil, nil
	case one.from != from:
		delete(s.all, at)
		return nil, one
	}
	one.used = now
	return one, nil
}

// end ends a session.
func (s *sessions) end(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, other := range s.all {
		if other == one {
			delete(s.all, at)
		}
	}
}

// cookieName has a prefix with which browsers take it from this host by TLS only.
func (c *Console) cookieName() string {
	if c.o.Secure {
		return "__Host-bucketseal-console"
	}
	return "bucketseal-console"
}

func (c *Console) cookie(value string, seconds int) *http.Cookie {
	return &http.Cookie{
		Name: c.cookieName(), Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: c.o.Secure, SameSite: http.SameSiteStrictMode,
	}
}

// session returns the session of a request. errNoSession.
func (c *Console) session(v *visit) (*session, error) {
	cookie, err := v.Cookie(c.cookieName())
	if err != nil {
		return nil, errNoSession
	}
	s, stolen := c.sessions.get(cookie.Value, v.from)
	if stolen != nil {
		c.log.Warn("a session of the console was used from another address, and is ended: was its cookie stolen?",
			"access_key", stolen.who.AccessKey, "client", v.from.String(), "login_from", stolen.from.String())
	}
	if s == nil {
		return nil, errNoSession
	}
	return s, nil
}

// forget has the browser forget its session.
func (c *Console) forget(v *visit) { http.SetCookie(v.ResponseWriter, c.cookie("", -1)) }

const (
	// failuresFor is how long failed logins count, and failuresOfAddress and failuresOfKey
	// how many an address and an access key have.
	failuresFor       = 5 * time.Minute
	failuresOfAddress = 10
	failuresOfKey     = 30
	maxCounted        = 10_000
)

// limiter counts failed logins.
type limiter struct {
	now func() time.Time

	mu  sync.Mutex
	all map[string]*failed
}

type failed struct {
	count int
	since time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, all: make(map[string]*failed)}
}

// nameOfAddress is what the limiter counts as one address: of IPv6, a /64, which is what one client
// is given.
func nameOfAddress(from netip.Addr) string {
	if p, err := from.Prefix(64); err == nil && from.Is6() {
		from = p.Addr()
	}
	return "address " + from.String()
}

// nameOfKey names an access key of any length.
func nameOfKey(accessKey string) string {
	sum := sha256.Sum256([]byte(accessKey))
	return "key " + string(sum[:])
}

// take counts a login as a failed one before it is tried, so that many at once are not
// more than allowed. It returns false if there were too many.
func (l *limiter) take(name string, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	f := l.all[name]
	if f == nil || now.Sub(f.since) >= failuresFor {
		if f == nil && len(l.all) >= maxCounted {
			l.clean(now)
		}
		f = &failed{since: now}
		l.all[name] = f
	}
	if f.count >= most {
		return false
	}
	f.count++
	return true
}

// clean makes room: what counts no more goes, and everything if that is nothing.
func (l *limiter) clean(now time.Time) {
	for name, f := range l.all {
		if now.Sub(f.since) >= failuresFor {
			delete(l.all, name)
		}
	}
	if len(l.all) >= maxCounted {
		clear(l.all)
	}
}

// give takes one back: the login did not fail.
func (l *limiter) give(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.all[name]; f != nil && f.count > 0 {
		f.count--
	}
}
