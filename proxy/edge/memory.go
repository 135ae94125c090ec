package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What clients can make the server keep, in bytes of memory, measured with room to
// spare. All of it is there before anybody knows who asks.
const (
	// wireByte is what a byte on the wire may come to while headers arrive: net/http
	// keeps a line of five bytes as an entry of a map.
	wireByte = 16
	// headerEntry is what a line of a header takes beside its name and value.
	headerEntry = 128
	// requestBase is a request without headers: its goroutine's stack, its buffers.
	requestBase = 16 << 10
	// refusal is how long a client may take to take an answer that refuses it.
	refusal = 5 * time.Second
)

const (
	// Allowance is what each connection has for headers: enough for any request of
	// a usual client, so that nobody else can take it away.
	Allowance = 128 << 10
	// HTTP2Streams is how many requests a connection by HTTP/2 has at once.
	HTTP2Streams = 32
	// HTTP2Allowance is the allowance of a connection by HTTP/2: for so many usual requests.
	HTTP2Allowance = HTTP2Streams * 24 << 10
)

// errMemory ends a connection as if the client had: net/http writes no answer,
// and no line of the log.
var errMemory = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("headers take the memory that is set aside for them")}

// budget is memory that connections share beyond what each has for itself.
type budget struct {
	limited bool
	left    atomic.Int64
	refused atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.limited && b.left.Add(-n) < 0 {
		b.left.Add(n)
		b.refused.Add(1)
		return false
	}
	return true
}

func (b *budget) give(n int64) {
	if b.limited {
		b.left.Add(n)
	}
}

// account is what one connection makes the server keep.
type account struct {
	shared *budget

	mu       sync.Mutex
	http2    bool
	closed   bool
	used     int64 // bytes of memory
	drawn    int64 // of them, from what is shared
	arriving int64 // of them, for headers that are not whole yet
	serving  int   // requests that handlers have
}

// set makes what is used another number, if there is memory for it. The caller
// holds the lock.
func (a *account) set(used int64) bool {
	allowance := int64(Allowance)
	if a.http2 {
		allowance = HTTP2Allowance
	}
	need := max(0, used-allowance)
	switch {
	case need > a.drawn && !a.shared.take(need-a.drawn):
		return false
	case need < a.drawn:
		a.shared.give(a.drawn - need)
	}
	a.used, a.drawn = used, need
	return true
}

// arrived counts bytes of headers. Those of bodies are in buffers of a fixed size,
// and so is all that HTTP/2 reads: its frames are bounded, and their headers
// are counted with their requests.
func (a *account) arrived(n int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.http2 || a.serving > 0 {
		return true
	}
	more := int64(n) * wireByte
	if !a.set(a.used + more) {
		return false
	}
	a.arriving += more
	return true
}

// begin counts a request whose headers have arrived.
func (a *account) begin(cost int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	// A connection that is closed has given back what it took; its requests end by themselves.
	if a.closed {
		return false
	}
	if !a.set(a.used - a.arriving + cost) {
		return false
	}
	a.arriving = 0
	a.serving++
	return true
}

// end counts a request out.
func (a *account) end(cost int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serving--
	a.set(a.used - cost)
}

// close gives back what headers took that will never be whole.
func (a *account) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.set(a.used - a.arriving)
	a.arriving = 0
}

// requestMemory is what the server keeps of r until it is served.
func requestMemory(r *http.Request) int64 {
	size := int64(len(r.Method)+len(r.RequestURI)+len(r.Host)) + requestBase
	for name, values := range r.Header {
		size += int64(len(name)) + headerEntry
		for _, v := range values {
			size += int64(len(v)) + headerLine
		}
	}
	return size
}

type connKey struct{}

// ConnContext is for http.Server: requests know their connection by it.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if limited := limitedOf(c); limited != nil {
		return context.WithValue(ctx, connKey{}, limited)
	}
	return ctx
}

func limitedOf(c net.Conn) *limitedConn {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	limited, _ := c.(*limitedConn)
	return limited
}

// Handler serves requests by next while there is memory for their headers, and
// answers 503 to the others: what a connection may always have is its allowance,
// so that only those who keep more are refused. That needs ConnContext. The connection ends
// after a request whose end is in doubt; one of several lengths is answered with 400.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if doubtful(r) {
			w.Header().Set("Connection", "close")
		}
		if severalLengths(r) {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c, _ := r.Context().Value(connKey{}).(*limitedConn)
		if c == nil {
			next.ServeHTTP(w, r)
			return
		}
		a := &c.account
		cost := requestMemory(r)
		if !a.begin(cost) {
			refuse(w, r)
			return
		}
		defer a.end(cost)
		c.parking.serves(r)
		next.ServeHTTP(w, r)
	})
}

// refuse answers without a body, which no window of HTTP/2 can hold up, and keeps
// nothing of the request while the answer is on its way.
func refuse(w http.ResponseWriter, r *http.Request) {
	r.Header = make(http.Header)
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(refusal)) // a connection that is gone needs none
	h := w.Header()
	h.Set("Retry-After", "1")
	h.Set("Content-Length", "0")
	h.Set("Connection", "close") // by HTTP/2, net/http finishes the streams that run
	if r.ProtoMajor == 1 {
		_ = control.SetReadDeadline(time.Now().Add(refusal))
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

// TLS returns c for a server behind this listener: when as many connections by
// HTTP/2 are open as may be, others get HTTP/1.1, which every client speaks and
// which costs less. c must offer both.
func (l *Listener) TLS(c *tls.Config) *tls.Config {
	inner := c.GetConfigForClient
	outer := c.Clone()
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		var chosen *tls.Config
		var err error
		if inner != nil {
			if chosen, err = inner(hello); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(hello.SupportedProtos, "h2") || l.takeHTTP2(hello.Conn) {
			return chosen, nil
		}
		if chosen == nil {
			chosen = c
		}
		plain := chosen.Clone()
		plain.NextProtos = []string{"http/1.1"}
		return plain, nil
	}
	return outer
}

// takeHTTP2 counts a connection as one by HTTP/2 until it is closed, if there is
// room for one more.
func (l *Listener) takeHTTP2(c net.Conn) bool {
	conn := limitedOf(c)
	if conn == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	conn.account.mu.Lock()
	defer conn.account.mu.Unlock()
	if conn.account.http2 {
		return true
	}
	if conn.account.closed || l.limits.HTTP2 > 0 && l.http2 >= l.limits.HTTP2 {
		return false
	}
	l.http2++
	conn.account.http2 = true
	return true
}
