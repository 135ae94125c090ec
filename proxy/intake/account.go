package intake

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
)

// ErrUnaudited says that a request is refused because nobody could write it down.
var ErrUnaudited = errors.New("the audit log is required and cannot be written")

// Auditor is an audit log. *audit.Log is one.
type Auditor interface {
	audit.Recorder
	// Required says whether Record waits until a line is durable, and Ready why it would
	// not be.
	Required() bool
	Ready() error
	// Enter and Leave are called when a request comes and when its last line is written.
	Enter()
	Leave()
}

// heldAnswer is how much of an answer is held back until the lines about it are durable, if
// the log is required. What reads waits for the line that it was let in, which becomes durable
// while MinIO answers, and the rest for the line of its end.
const heldAnswer = 32 << 10

// account is the account that is given of one request.
type account struct {
	in       *Intake
	r        *Request
	trace    audit.Trace
	required bool
	read     atomic.Int64
	intended bool
	// durable waits for the line that says that a read was let in; nil if there is none.
	durable func() error
	// owed are the lines about objects besides the request's own, which its answer waits for.
	owed []func() error

	// mu is held while the answer is written: while a client is kept waiting, two do.
	mu      sync.Mutex
	w       http.ResponseWriter
	status  int
	held    *[heldAnswer]byte // nil if nothing is held back
	n       int
	sending bool // the answer has begun to leave
	wrote   int64
	failed  error // why the answer may not leave
}

// open begins the account of r, and returns what it is answered through. nil, and w, if
// there is no audit log.
func (in *Intake) open(r *Request, w http.ResponseWriter) (*account, http.ResponseWriter) {
	if in.o.Audit == nil {
		return nil, w
	}
	a := &account{in: in, r: r, w: w, required: in.o.Audit.Required()}
	a.trace.RequestID = r.ID
	r.account = a
	in.o.Audit.Enter()
	r.Request = r.WithContext(audit.WithTrace(r.Context(), &a.trace))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &countedBody{r.Body, &a.read}
	}
	return a, a
}

// countedBody counts what is read.
type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

// Read reads.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// intend is called when it is known who asks for what, and before it is done. Of a required
// log it returns when the line about a request that changes something is durable, or
// ErrUnaudited. The line about a request that reads is on its way then.
func (r *Request) intend() error {
	a := r.account
	if a == nil || a.intended {
		return nil
	}
	a.intended = true
	a.trace.About(r.Caller.AccessKey, r.Bucket, r.Key)
	if !a.required {
		return nil
	}
	if a.in.o.Audit.Ready() != nil {
		return ErrUnaudited
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		e := a.event(audit.Begin)
		e.Outcome = audit.Allowed
		a.durable = a.in.o.Audit.Start(e)
		return nil
	}
	e := a.event(audit.Intent)
	e.Outcome = audit.Allowed
	return a.record(e)
}

// Touched is an object that a request is about, and that its own line does not name.
type Touched struct {
	// Bucket is "" for the request's.
	Bucket, Key, Version string
	// Code is the error of this object, "" for none. Refused says that the caller may not do
	// what it asked for.
	Code    string
	Refused bool
}

// Audited says whether an account is given of the request.
func (r *Request) Audited() bool { return r.account != nil }

// Restate is called when the body of a request has told its Key or its Target, which its address
// does not. Of a required log it returns when a line with them is durable, or ErrUnaudited.
func (r *Request) Restate() error {
	a := r.account
	if a == nil {
		return nil
	}
	a.trace.About(r.Caller.AccessKey, r.Bucket, r.Key)
	if !a.required {
		return nil
	}
	e := a.event(audit.Intent)
	e.Outcome = audit.Allowed
	return a.record(e)
}

// Aims adds to the Target what the body names: names and their values, of which empty ones are
// left out.
func (r *Request) Aims(names map[string][]string) {
	target, err := url.ParseQuery(r.Target)
	if err != nil {
		target = make(url.Values)
	}
	for name, values := range names {
		if values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "" }); len(values) > 0 {
			target[name] = values
		}
	}
	r.Target = target.Encode()
}

// Touches says which objects a request is about besides its own, before anything is done. Of a
// required log it returns when lines about them are durable, or ErrUnaudited.
func (r *Request) Touches(objects []Touched) error {
	a := r.account
	if a == nil || !a.required || len(objects) == 0 {
		return nil
	}
	lines := make([]func() error, len(objects))
	for i := range objects {
		lines[i] = a.in.o.Audit.Start(a.touched(audit.Intent, &objects[i], audit.Allowed))
	}
	return durable(lines)
}

// durable waits for lines. ErrUnaudited.
func durable(lines []func() error) error {
	for _, wait := range lines {
		if wait() != nil {
			return ErrUnaudited
		}
	}
	return nil
}

// HasTouched says what became of those objects. Of a required log the answer waits for the lines.
func (r *Request) HasTouched(objects []Touched) {
	a := r.account
	if a == nil {
		return
	}
	for i := range objects {
		o := &objects[i]
		outcome := audit.OK
		switch {
		case o.Refused:
			outcome = audit.Refused
		case o.Code != "":
			outcome = audit.Failed
		}
		e := a.touched(audit.Object, o, outcome)
		e.Code = o.Code
		a.owed = append(a.owed, a.in.o.Audit.Start(e))
	}
}

// touched is an event about an object besides the request's own.
func (a *account) touched(kind audit.Kind, o *Touched, outcome string) *audit.Event {
	e := a.event(kind)
	if o.Bucket != "" {
		e.Bucket = o.Bucket
	}
	e.Object, e.Version, e.Outcome = o.Key, o.Version, outcome
	e.BytesIn, e.SSE, e.KMSKey, e.KMSVersion = 0, "", "", 0 // of the request
	return e
}

// record writes an event down. ErrUnaudited.
func (a *account) record(e *audit.Event) error {
	if err := a.in.o.Audit.Record(a.r.Context(), e); err != nil {
		return ErrUnaudited
	}
	return nil
}

// Header implements http.ResponseWriter.
func (a *account) Header() http.Header { return a.w.Header() }

// Unwrap lets http.ResponseController reach the connection.
func (a *account) Unwrap() http.ResponseWriter { return a.w }

// WriteHeader begins the answer, or holds that back.
func (a *account) WriteHeader(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = status
	if !a.required {
		a.sending = true
		a.w.WriteHeader(status)
	}
}

// Write writes, or holds back. ErrUnaudited.
func (a *account) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return 0, a.failed
	}
	if a.required && !a.sending {
		if a.n+len(p) <= heldAnswer {
			if a.held == nil {
				a.held = a.in.held.Get().(*[heldAnswer]byte)
			}
			a.n += copy(a.held[a.n:], p)
			return len(p), nil
		}
		if err := a.begin(); err != nil {
			return 0, err
		}
	}
	n, err := a.w.Write(p)
	a.wrote += int64(n)
	return n, err
}

// FlushError sends what was written. ErrUnaudited.
func (a *account) FlushError() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed != nil {
		return a.failed
	}
	if a.required && !a.sending {
		if err := a.begin(); err != nil {
			return err
		}
	}
	return http.NewResponseController(a.w).Flush()
}

// begin lets the answer go, once a line says that it may have been given. ErrUnaudited.
func (a *account) begin() error {
	if a.durable != nil {
		a.failed = a.await()
	} else {
		e := a.event(audit.Begin)
		e.Status, e.Outcome = a.status, audit.Allowed
		a.failed = a.record(e)
	}
	if a.failed != nil {
		return a.failed
	}
	return a.send()
}

// await waits for the line that says that a read was let in. ErrUnaudited.
func (a *account) await() error {
	if a.durable() != nil {
		return ErrUnaudited
	}
	return nil
}

// end writes down how the request ended. ErrUnaudited: its answer may not leave.
func (a *account) end(e *audit.Event) error {
	if a.durable == nil {
		if err := a.record(e); err != nil {
			return err
		}
		return durable(a.owed)
	}
	a.in.o.Audit.Note(e)
	if a.sending {
		return nil
	}
	return a.await()
}

// send sends what is held back.
func (a *account) send() error {
	a.sending = true
	if a.status != 0 {
		a.w.WriteHeader(a.status)
	}
	var err error
	if a.n > 0 {
		var n int
		n, err = a.w.Write(a.held[:a.n])
		a.wrote += int64(n)
	}
	a.forget()
	return err
}

// forget gives back what is held.
func (a *account) forget() {
	if a.held != nil {
		clear(a.held[:a.n]) // plaintext
		a.in.held.Put(a.held)
		a.held, a.n = nil, 0
	}
}

// close ends the account: it writes the line about the whole request, and sends what is held
// back. ErrUnaudited if it is not durable; then nothing was sent, and the answer is to be
// given anew.
func (a *account) close(cut bool, err error, answer *Error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer a.forget()
	if a.failed != nil && !a.sending {
		return a.failed
	}
	e := a.event(audit.Request)
	e.BytesOut = a.wrote
	if !cut {
		e.BytesOut += int64(a.n)
	}
	e.Status, e.Took = a.status, time.Since(a.r.began)
	e.Outcome = audit.OK
	if err != nil {
		e.Outcome, e.Code, e.Reason = outcome(answer, cut), answer.Code, err.Error()
		if failure := a.in.failure(err); failure != PlainObject {
			e.Damage = string(failure)
		}
	}
	switch failed := a.end(e); {
	case failed != nil && !a.sending:
		return failed
	case a.required && !a.sending && !cut:
		_ = a.send() // a client that went away needs no answer
	}
	return nil
}

// outcome says how a request ended that failed.
func outcome(answer *Error, cut bool) string {
	switch {
	case cut:
		return audit.Cut
	case answer.Status == http.StatusForbidden, answer.Status == http.StatusUnauthorized:
		return audit.Refused
	}
	return audit.Failed
}

// event says what is known of the request.
func (a *account) event(kind audit.Kind) *audit.Event {
	r := a.r
	e := &audit.Event{
		Kind: kind, RequestID: r.ID, Operation: r.Op(), Bucket: r.Bucket, Object: r.Key, BytesIn: a.read.Load(), Took: -1,
		AccessKey: r.Caller.AccessKey, Address: r.Origin.Addr.String(), Version: r.Query.Get("versionId"),
	}
	if id := r.Caller.Identity; id != nil {
		e.Identity, e.Source = string(id.Kind), string(id.Source)
		for _, v := range id.Vouchers() {
			e.Via = append(e.Via, audit.Voucher{AccessKey: v.AccessKey, Kind: string(v.Kind), Source: string(v.Source)})
		}
	}
	if e.AccessKey == "" {
		if e.Claims = r.Claimed; e.Claims == "" {
			e.Claims = sigv4.ClaimedAccessKey(r.Request)
		}
	}
	if r.Origin.Addr.IsValid() && r.Origin.Addr.Unmap() != r.Origin.Peer.Unmap() {
		e.Peer = r.RemoteAddr
	}
	e.KMSKey, e.KMSVersion = a.trace.Key()
	e.Target = r.Target
	h := a.w.Header()
	if v := h.Get("X-Amz-Version-Id"); v != "" {
		e.Version = v
	}
	e.SSE = modeOf(h)
	if e.SSE == "" {
		e.SSE = modeOf(r.Header)
	}
	return e
}

// modeOf says which encryption headers name, of an answer or of a request.
func modeOf(h http.Header) string {
	switch mode := h.Get("X-Amz-Server-Side-Encryption"); {
	case mode == "AES256":
		return "SSE-S3"
	case mode == "aws:kms", mode == "aws:kms:dsse":
		return "SSE-KMS"
	case h.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "":
		return "SSE-C"
	}
	return ""
}

// settle ends the account of a request, if there is one, and answers anew if that cannot be
// written down. It returns what became of the request.
func (in *Intake) settle(a *account, r *Request, w http.ResponseWriter, h Handler, out *Answer, cut bool, err error, answer *Error) (*Answer, bool, *Error, error) {
	if a == nil {
		return out, cut, answer, err
	}
	defer in.o.Audit.Leave()
	if failed := a.close(cut, err, answer); failed != nil {
		if err != nil && !errors.Is(err, ErrClientGone) {
			failed = errors.Join(failed, err)
		}
		out, answer = &Answer{ResponseWriter: w}, h.Describe(ErrUnaudited)
		ForgetObject(w.Header(), answer.Status)
		h.WriteError(out, r, answer)
		return out, false, answer, failed
	}
	return out, cut, answer, err
}
