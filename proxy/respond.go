package proxy

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"
)

// responseWriter remembers whether an answer began.
type responseWriter struct {
	http.ResponseWriter
	status  int
	started bool
	// document says that an XML document was begun for a client that waits.
	document bool
}

// WriteHeader begins the answer.
func (w *responseWriter) WriteHeader(status int) {
	if !w.started {
		w.status, w.started = status, true
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write begins the answer if it has not begun.
func (w *responseWriter) Write(p []byte) (int, error) {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// writeXML answers with a whole XML document.
func writeXML(w http.ResponseWriter, status int, body []byte) {
	writeBytes(w, status, "application/xml", body)
}

// writeBytes answers with a whole document.
func writeBytes(w http.ResponseWriter, status int, contentType string, body []byte) {
	if begun, ok := w.(*responseWriter); ok && begun.document {
		body = bytes.TrimPrefix(body, []byte(xml.Header))
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away needs no answer
}

// writeError answers with an S3 error; HEAD answers carry it in headers, as
// MinIO's do.
func writeError(w http.ResponseWriter, r *request, e *apiError) {
	h := w.Header()
	forgetObject(h, e.status)
	for name, values := range e.header {
		h[name] = values
	}
	if e.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	if e.status == http.StatusNotModified {
		w.WriteHeader(e.status)
		return
	}
	if r.Method == http.MethodHead {
		if e.status != http.StatusPreconditionFailed { // of which the status says all
			h.Set("X-Minio-Error-Code", e.code)
			h.Set("X-Minio-Error-Desc", strconv.Quote(e.message))
		}
		h.Set("Content-Length", "0")
		w.WriteHeader(e.status)
		return
	}
	if r.scope == scopeAdmin {
		writeAdminError(w, r, e)
		return
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	element(&b, "Code", e.code)
	element(&b, "Message", e.message)
	if r.key != "" {
		element(&b, "Key", r.key)
	}
	if r.bucket != "" {
		element(&b, "BucketName", r.bucket)
	}
	element(&b, "Resource", r.URL.Path)
	element(&b, "RequestId", r.id)
	element(&b, "HostId", "")
	b.WriteString("</Error>")
	writeXML(w, e.status, b.Bytes())
}

// forgetObject removes what a handler said of an object before it failed: a
// Content-Encoding, above all, would be believed of the error's own document.
func forgetObject(h http.Header, status int) {
	for name := range h {
		switch name {
		case "X-Amz-Request-Id", "Server", "X-Content-Type-Options", "Vary",
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

func element(b *bytes.Buffer, name, value string) {
	b.WriteString("<" + name + ">")
	escapeXML(b, value)
	b.WriteString("</" + name + ">")
}

// escapeXML writes text as S3 servers do: control characters become character
// references, which XML 1.0 forbids and clients of S3 expect.
func escapeXML(b *bytes.Buffer, s string) {
	s = strings.ToValidUTF8(s, "\uFFFD")
	const special = "<>&'\"\t\n\r"
	last := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && strings.IndexByte(special, c) < 0 {
			continue
		}
		b.WriteString(s[last:i])
		last = i + 1
		switch c {
		case '<':
			b.WriteString("&lt;")
		case '>':
			b.WriteString("&gt;")
		case '&':
			b.WriteString("&amp;")
		case '\'':
			b.WriteString("&#39;")
		case '"':
			b.WriteString("&#34;")
		default:
			b.WriteString("&#x" + strings.ToUpper(strconv.FormatUint(uint64(c), 16)) + ";")
		}
	}
	b.WriteString(s[last:])
}
