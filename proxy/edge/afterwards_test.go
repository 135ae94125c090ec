package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// servedWriter is a response writer that must not be touched once its request is served, as
// net/http's for HTTP/2.
type servedWriter struct {
	*httptest.ResponseRecorder
	over, touched atomic.Bool
}

// SetReadDeadline is found by http.ResponseController.
func (w *servedWriter) SetReadDeadline(time.Time) error { return w.touch() }

// SetWriteDeadline is found by http.ResponseController.
func (w *servedWriter) SetWriteDeadline(time.Time) error { return w.touch() }

func (w *servedWriter) touch() error {
	if w.over.Load() {
		w.touched.Store(true)
	}
	return nil
}

// held is a body that nothing comes of.
type held struct{ end chan struct{} }

// Read implements io.Reader.
func (h held) Read([]byte) (int, error) { <-h.end; return 0, io.ErrUnexpectedEOF }

// Close implements io.Closer.
func (held) Close() error { return nil }

// A timer that is due when the request has just been served leaves its writer alone: with HTTP/2 it
// would end the process. Who reads the body for MinIO may still read then.
func TestNothingTouchesTheWriterOfAServedRequest(t *testing.T) {
	t.Parallel()
	const stall = 30 * time.Millisecond
	for name, serve := range map[string]func(w http.ResponseWriter, r *http.Request) (finish func()){
		"patience": func(w http.ResponseWriter, r *http.Request) func() {
			_, r, finish := Patience{Stall: stall}.Apply(w, r)
			go func() { _, _ = r.Body.Read(make([]byte, 1)) }()
			return finish
		},
		"a read that begins afterwards": func(w http.ResponseWriter, r *http.Request) func() {
			_, r, finish := Patience{Stall: stall}.Apply(w, r)
			return func() {
				finish()
				go func() { _, _ = r.Body.Read(make([]byte, 1)) }()
			}
		},
		"hurry": func(w http.ResponseWriter, r *http.Request) func() {
			done := Hurry(w, r, stall)
			go func() { _, _ = r.Body.Read(make([]byte, 1)) }()
			return done
		},
	} {
		w := &servedWriter{ResponseRecorder: httptest.NewRecorder()}
		body := held{make(chan struct{})}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/b/k", http.NoBody)
		r.Body, r.ProtoMajor = body, 2
		finish := serve(w, r)
		time.Sleep(stall / 3)
		finish()
		w.over.Store(true)
		time.Sleep(3 * stall)
		close(body.end)
		if w.touched.Load() {
			t.Errorf("%s: a deadline was set after the request", name)
		}
	}
}
