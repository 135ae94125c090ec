package intake

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
)

// Answer is the answer to a request. It remembers whether it began.
type Answer struct {
	http.ResponseWriter
	status  int
	started bool
	// document says that an XML document was begun for a client that waits.
	document bool
}

// WriteHeader begins the answer.
func (w *Answer) WriteHeader(status int) {
	if !w.started {
		w.status, w.started = status, true
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write begins the answer if it has not begun.
func (w *Answer) Write(p []byte) (int, error) {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *Answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Status returns the status that the answer began with, 0 before that.
func (w *Answer) Status() int { return w.status }

// WriteDocument answers with a whole document.
func WriteDocument(w http.ResponseWriter, status int, contentType string, body []byte) {
	if begun, ok := w.(*Answer); ok && begun.document {
		body = bytes.TrimPrefix(body, []byte(xml.Header))
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away needs no answer
}

// BeginError says of an error what stands in headers, and says whether that is all: HEAD
// answers carry the whole error there, as MinIO's do.
func (w *Answer) BeginError(r *Request, e *Error) (done bool) {
	h := w.Header()
	ForgetObject(h, e.Status)
	for name, values := range e.Header {
		h[name] = values
	}
	if e.Status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return true
	}
	if r.Method != http.MethodHead {
		return false
	}
	if e.Status != http.StatusPreconditionFailed { // of which the status says all
		h.Set("X-Minio-Error-Code", e.Code)
		h.Set("X-Minio-Error-Desc", strconv.Quote(e.Message))
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(e.Status)
	return true
}

// ForgetObject removes what a handler said of an object before it failed: a
// Content-Encoding, above all, would be believed of the error's own document. What is said of
// the connection stays: it is to end after an error, too.
func ForgetObject(h http.Header, status int) {
	for name := range h {
		switch name {
		case "Connection", "X-Amz-Request-Id", "Server", "X-Content-Type-Options", "Vary",
			"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers":
		case "Etag", "Last-Modified":
			if status != http.StatusNotModified && status != http.StatusPreconditionFailed {
				delete(h, name)
			}
		default:
			delete(h, name)
		}
	}
}
