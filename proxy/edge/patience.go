package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// ErrStalled says that a client neither sent nor took anything for too long.
var ErrStalled = errors.New("the client stalled")

const (
	// progress is how many bytes of a body begin a client's time anew: one that
	// sends a byte now and then does not stay for ever.
	progress = 16 << 10
	// linger is how long, and lingerBytes how much, of a body that nobody wants is
	// read all the same, so that its client gets to read the answer.
	linger      = 5 * time.Second
	lingerBytes = 256 << 10
)

// Patience bounds how slow clients may be.
type Patience struct {
	// Stall is how long a client may take to send 16 KiB of a body, or to take one
	// piece of an answer; for an error it has five seconds. Time in which it is not waited for does not count. 0 means
	// any time.
	Stall time.Duration
}

// Apply returns what to serve w and r with, and what to call when r is served,
// also if serving panics.
func (p Patience) Apply(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request, func()) {
	if p.Stall <= 0 {
		return w, r, func() {}
	}
	out := &patientWriter{ResponseWriter: w, stall: p.Stall, limits: deadlines{control: http.NewResponseController(w)}, request: r}
	if r.Body != nil && r.Body != http.NoBody {
		out.body = &patientBody{body: r.Body, stall: p.Stall, left: p.Stall, limits: &out.limits}
		// A copy: net/http looks at the body of its own request.
		copied := *r
		copied.Body = out.body
		r = &copied
	}
	return out, r, out.finish
}

// deadlines are those of a request's connection while it is served. net/http's writers must not
// be touched once their handler has returned: the one of HTTP/2 ends the process then, and the
// one of HTTP/1 would cut the next request. Timers and readers of a body may come later than that.
type deadlines struct {
	control *http.ResponseController
	mu      sync.Mutex
	over    bool
}

// read sets when reads end, write when writes do; a connection that is gone needs neither.
func (d *deadlines) read(at time.Time) { d.set(d.control.SetReadDeadline, at) }

func (d *deadlines) write(at time.Time) { d.set(d.control.SetWriteDeadline, at) }

func (d *deadlines) set(to func(time.Time) error, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		_ = to(at)
	}
}

// end says that the request is served.
func (d *deadlines) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
}

// watchdog ends a connection's read or write that takes too long.
type watchdog struct {
	timer *time.Timer
	fired atomic.Bool
}

// watch starts to wait. end says what to do when the time is over.
func (d *watchdog) watch(limit time.Duration, end func(time.Time)) {
	if d.timer != nil {
		d.timer.Reset(limit)
		return
	}
	d.timer = time.AfterFunc(limit, func() {
		d.fired.Store(true)
		end(time.Unix(1, 0))
	})
}

// patientBody is a request's body whose client must not stall.
type patientBody struct {
	body   io.ReadCloser
	stall  time.Duration
	limits *deadlines

	mu    sync.Mutex // upstream may still read while an early answer is given
	dog   watchdog
	left  time.Duration // of the client's time for the next progress bytes
	got   int           // of them
	read  atomic.Int64  // bytes
	begun atomic.Bool
	ended atomic.Bool
}

// Read reads. ErrStalled if the client takes too long.
func (b *patientBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun.Store(true)
	began := time.Now()
	b.dog.watch(b.left, b.limits.read)
	n, err := b.body.Read(p)
	b.dog.timer.Stop()
	b.left = max(b.left-time.Since(began), time.Millisecond)
	b.read.Add(int64(n))
	if b.got += n; b.got >= progress {
		b.got, b.left = 0, b.stall
	}
	if err == io.EOF {
		b.ended.Store(true)
	} else if err != nil && b.dog.fired.Load() {
		err = fmt.Errorf("%w (%w)", ErrStalled, err)
	}
	return n, err
}

// Close closes the body.
func (b *patientBody) Close() error { return b.body.Close() }

// discard reads a little of what nobody wanted.
func (b *patientBody) discard() {
	enough := time.AfterFunc(min(linger, b.stall), func() { b.limits.read(time.Unix(1, 0)) })
	defer enough.Stop()
	_, _ = io.CopyN(io.Discard, b, lingerBytes)
}

// patientWriter writes an answer whose client must not stall.
type patientWriter struct {
	http.ResponseWriter
	stall   time.Duration
	limits  deadlines
	request *http.Request
	body    *patientBody // nil if there is none
	dog     watchdog
	began   bool
	wrote   bool // a part of the body
}

// WriteHeader begins the answer. net/http then reads what is left of a short
// body, for however long that takes; so it is read here first.
func (w *patientWriter) WriteHeader(status int) {
	if status >= 200 && !w.began {
		w.began = true
		if status >= http.StatusBadRequest {
			w.stall = min(w.stall, refusal)
		}
		w.settleBody()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *patientWriter) settleBody() {
	if w.body == nil || w.request.ProtoMajor != 1 {
		return
	}
	// Who waits to be told to go on has sent nothing.
	waits := !w.body.begun.Load() && w.request.Header.Get("Expect") != ""
	if !w.body.ended.Load() && !waits && w.request.ContentLength-w.body.read.Load() <= lingerBytes {
		w.body.discard()
	}
	if !w.body.ended.Load() {
		w.Header().Set("Connection", "close")
	}
}

// Write writes. ErrStalled if the client takes nothing for too long.
func (w *patientWriter) Write(p []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	w.dog.watch(w.stall, w.limits.write)
	n, err := w.write(p)
	w.dog.timer.Stop()
	return n, w.stalled(err)
}

func (w *patientWriter) write(p []byte) (int, error) {
	if w.wholeBody(p) {
		if c := connectionOf(w.request); c != nil {
			w.wrote = true
			return w.writeTogether(c, p)
		}
	}
	w.wrote = true
	return w.ResponseWriter.Write(p)
}

// FlushError sends what is buffered. ErrStalled if the client takes too long.
func (w *patientWriter) FlushError() error {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	w.dog.watch(w.stall, w.limits.write)
	err := w.limits.control.Flush()
	w.dog.timer.Stop()
	return w.stalled(err)
}

func (w *patientWriter) stalled(err error) error {
	if err != nil && w.dog.fired.Load() {
		return fmt.Errorf("%w (%w)", ErrStalled, err)
	}
	return err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// finish bounds what net/http does when the handler has returned: it sends what
// is buffered and reads what is left of a body. It ends both deadlines itself.
func (w *patientWriter) finish() {
	now := time.Now()
	w.limits.write(now.Add(w.stall))
	if w.body != nil && !w.body.ended.Load() && w.request.ProtoMajor == 1 {
		w.limits.read(now.Add(min(linger, w.stall)))
	}
	w.limits.end()
}
