package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/trace"
)

// How much longer than a request's timeout the rest of its body may take to
// come, and its answer to be written: so a slow store or client ends in an
// error and not in silence.
const (
	readMargin  = time.Second
	writeMargin = 3 * time.Second
)

// What is left to do for a request that is turned away: so long it is waited for
// what still comes of its body, which net/http does before it writes the answer,
// and so long the answer may take to be written, or there is none.
const (
	refusalRead  = time.Second
	refusalWrite = 3 * time.Second
)

// maxLoggedPath bounds what a path may put into the log, in bytes.
const maxLoggedPath = 512

// request is an HTTP request and what became known of it.
type request struct {
	*http.Request
	state *state
	route *route
	// name is what follows the route's path.
	name string
	// caller is empty without a certificate, and policy for the admin and for
	// whom no policy names.
	caller identity.Identity
	policy string
	ip     string
	// until is when the certificates end that say who calls; zero without tls.auth.
	until time.Time
	// leaveLarge gives back the place of a large body; nil for others. What was made
	// of the body is as large, so it is kept until the answer is written.
	leaveLarge func()
	// encContext is the encryption context, whose hash goes to the audit log.
	encContext []byte
	// span is nil where the request is not traced.
	span *trace.Span
}

// recorder knows what was answered.
type recorder struct {
	http.ResponseWriter
	code int
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(code int) {
	if w.code == 0 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP is the one adapter around all handlers: it answers errors, logs
// once, audits and counts.
func (s *Server) ServeHTTP(writer http.ResponseWriter, hr *http.Request) {
	start := s.opts.Now()
	s.metrics.active.Inc()
	defer s.metrics.active.Dec()

	w := &recorder{ResponseWriter: writer}
	r := &request{Request: hr, state: s.state.Load(), ip: remoteIP(hr.RemoteAddr)}
	refuseSoon(w)
	if doubtful(hr) {
		w.Header().Set("Connection", "close")
	}
	err := s.guarded(w, r)

	code := http.StatusOK
	if err != nil {
		var message string
		code, message = answer(err)
		if w.code == 0 {
			refuseSoon(w)
			writeError(w, r, err, code, message)
		}
	} else if w.code == 0 {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
	}
	if w.code != 0 {
		code = w.code
	}
	elapsed := s.opts.Now().Sub(start)
	s.metrics.count(code, elapsed, r.route != nil && r.route.timeout > 0)
	s.logFailure(r, code, err)
	s.audit(r, code, elapsed, err)
	s.account(r, code, elapsed, err)
	r.endTrace(code)
}

// guarded turns a panic into an error.
func (s *Server) guarded(w *recorder, r *request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
				panic(p)
			}
			err = fmt.Errorf("%w: panic: %v\n%s", errInternal, p, debug.Stack())
		}
	}()
	return s.dispatch(w, r)
}

// setDeadlines bounds the reading of the body, as net/http reads what a handler
// left of it, and the writing of the answer. Not every writer knows deadlines;
// those of net/http do.
func setDeadlines(w http.ResponseWriter, read, write time.Time) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(read)
	_ = controller.SetWriteDeadline(write)
}

func refuseSoon(w http.ResponseWriter) {
	now := time.Now()
	setDeadlines(w, now.Add(refusalRead), now.Add(refusalWrite))
}

// dispatch does nothing for a caller, and reads nothing of its body, before it is
// known that it may do what it asks for.
func (s *Server) dispatch(w *recorder, r *request) error {
	nobody := r.state.authenticate(w, r)
	found, name, slash := find(r.state.routes, r.URL.Path)
	if slash {
		target := *r.URL
		target.Path += "/"
		target.RawPath = ""
		http.Redirect(w, r.Request, target.RequestURI(), http.StatusTemporaryRedirect)
		return nil
	}
	if found == nil {
		return errNotFound
	}
	r.route, r.name = found, name
	if !found.accepts(r.Method) {
		return &methodError{got: r.Method, want: found.method}
	}
	if nobody != nil && found.access != open {
		return nobody
	}
	err := r.state.authorize(r)
	s.trace(r)
	if err != nil {
		return err
	}
	if err := s.intend(r); err != nil {
		return err
	}
	if found.timeout == 0 { // a stream, which sees to its own deadlines and places
		setDeadlines(w, time.Time{}, time.Time{})
		return found.handle(s, w, r)
	}
	ctx, cancel := context.WithTimeout(r.Context(), found.timeout)
	defer cancel()
	r.Request = r.WithContext(ctx)
	end := time.Now().Add(found.timeout)
	setDeadlines(w, end.Add(readMargin), end.Add(writeMargin))
	leave, err := s.places.enter(ctx, r.placeholder())
	if err != nil {
		return err
	}
	defer leave()
	defer func() {
		if r.leaveLarge != nil {
			r.leaveLarge()
		}
	}()
	return found.handle(s, w, r)
}

// placeholder is whose places the request takes: all strangers are one caller.
func (r *request) placeholder() identity.Identity {
	if r.state.knows(r.caller) {
		return r.caller
	}
	return ""
}

// read decodes the body into v and forgets its bytes: they may be keys. An
// empty body is an error unless it is optional. errBody.
func (s *Server) read(w http.ResponseWriter, r *request, v any, optional bool) error {
	limit := r.route.maxBody
	if r.ContentLength > limit {
		return fmt.Errorf("%d bytes: %w", r.ContentLength, errBody)
	}
	controller := http.NewResponseController(w)
	start := time.Now()
	_ = controller.SetReadDeadline(start.Add(r.route.timeout))
	body, err := s.readAll(r, limit)
	defer clear(body)
	if err == nil {
		_ = controller.SetReadDeadline(start.Add(r.route.timeout + readMargin))
	}
	switch {
	case errors.Is(err, errBusy):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		// net/http cancels the context then, but the client is still there.
		return fmt.Errorf("%w: it did not come in time", errBody)
	case err != nil && errors.Is(r.Context().Err(), context.Canceled):
		return r.Context().Err()
	case err != nil:
		return fmt.Errorf("%w: %v", errBody, err)
	case int64(len(body)) > limit:
		return fmt.Errorf("more than %d bytes: %w", limit, errBody)
	case len(body) == 0 && optional:
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		// The decoder's own error may quote the body.
		return fmt.Errorf("not the expected JSON: %w", errBody)
	}
	return nil
}

// readAll reads up to a byte more than limit, in memory that grows with what has
// come and not with what was announced. Large bodies take one of a few places.
// errBusy.
func (s *Server) readAll(r *request, limit int64) ([]byte, error) {
	from := io.LimitReader(r.Body, limit+1)
	body := make([]byte, 0, 4<<10)
	for {
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case errors.Is(err, io.EOF):
			return body, nil
		case err != nil:
			return body, err
		case len(body) < cap(body):
			continue
		case len(body) == smallBody:
			if r.leaveLarge, err = s.enterLarge(r.Context()); err != nil {
				return body, err
			}
		}
		grown := append(make([]byte, 0, 4*cap(body)), body...)
		clear(body)
		body = grown
	}
}

func (s *Server) enterLarge(ctx context.Context) (leave func(), err error) {
	wait := time.NewTimer(placeWait)
	defer wait.Stop()
	select {
	case s.largeBodies <- struct{}{}:
		return func() { <-s.largeBodies }, nil
	case <-wait.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// write answers with JSON and forgets its bytes: they may be keys.
func write(w http.ResponseWriter, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	b = append(b, '\n')
	defer clear(b)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // a client that is gone is nobody to tell
	return nil
}

func writeError(w http.ResponseWriter, r *request, err error, code int, message string) {
	if code == statusClientGone {
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, errNotFound) {
		http.NotFound(w, r.Request)
		return
	}
	if errors.Is(err, errBusy) {
		w.Header().Set("Retry-After", "1")
	}
	var method *methodError
	if errors.As(err, &method) {
		w.Header().Set("Accept", method.want) // as KES does
		w.Header().Set("Allow", method.want)  // as RFC 9110 wants
	}
	b, err := json.Marshal(struct {
		Message string `json:"message"`
	}{message})
	if err != nil {
		panic(err) // a string can always be encoded
	}
	b = append(b, '\n')
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(code)
	_, _ = w.Write(b)
}
