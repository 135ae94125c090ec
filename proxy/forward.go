package proxy

import (
	"bytes"
	"crypto/md5" //nolint:gosec // Content-MD5 of forwarded documents
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// forwardedHeaders go upstream with every forwarded request.
var forwardedHeaders = []string{"Content-Type", "Content-Md5", "X-Amz-Sdk-Checksum-Algorithm"}

// isForwardedAnswer says whether a header of upstream's answer reaches the client:
// what S3 defines, and nothing that would steer a client elsewhere.
func isForwardedAnswer(name, value string) bool {
	switch name {
	case "Content-Type", "Content-Length", "Etag", "Last-Modified", "Accept-Ranges", "Cache-Control":
		return true
	case "Location": // of a new bucket
		return strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//")
	case "X-Amz-Request-Id", "X-Amz-Id-2":
		return false // the proxy says them
	}
	return strings.HasPrefix(name, "X-Amz-") && !isReservedMeta(name) || strings.HasPrefix(name, "X-Minio-")
}

// forward passes a request on, signed anew as its caller, and the answer back.
func (s *Server) forward(w http.ResponseWriter, r *request) error {
	resp, err := s.forwardRequest(r)
	if err != nil {
		return err
	}
	return s.forwardAnswer(w, resp)
}

func (s *Server) forwardRequest(r *request) (*http.Response, error) {
	body, err := s.document(r)
	if err != nil {
		return nil, err
	}
	return s.forwardDocument(r, body)
}

// forwardDocument sends a request on whose body was read already.
func (s *Server) forwardDocument(r *request, body []byte) (*http.Response, error) {
	up := r.upstreamRequest(r.Method)
	up.Query = r.query
	for _, name := range slices.Concat(forwardedHeaders, r.route.headers) {
		if v := r.Header.Values(name); len(v) > 0 {
			up.Header[name] = v
		}
	}
	if algorithm, ok := checksum.Parse(up.Header.Get("X-Amz-Sdk-Checksum-Algorithm")); ok && !checksumOf(sealedChecksum(algorithm)).upstream {
		delete(up.Header, "X-Amz-Sdk-Checksum-Algorithm") // verified here
	}
	for name, values := range r.Header {
		if isChecksumHeader(name) && upstreamKeeps(name) {
			up.Header[name] = values
		}
	}
	setDocument(up, body, r.auth.Payload == sigv4.PayloadStreamingSignedTrailer || r.auth.Payload == sigv4.PayloadStreamingUnsignedTrailer)
	tellPayload(up, r.Header)
	return s.opts.Upstream.Do(r.Context(), up)
}

// document reads the body of a request that carries a small one, and checks it.
func (s *Server) document(r *request) ([]byte, error) {
	return s.documentWith(r, sigv4.BodyOptions{})
}

func (s *Server) documentWith(r *request, o sigv4.BodyOptions) ([]byte, error) {
	if r.route.body == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > 0 && r.Header.Get("X-Amz-Decoded-Content-Length") == "" && r.ContentLength > r.route.body {
		return nil, errBodyTooLarge
	}
	size := r.route.body
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	done, err := s.awaitBody(r, size)
	if err != nil {
		return nil, err
	}
	body, err := r.auth.Body(r.Request, o)
	var data []byte
	if err == nil {
		data, err = s.readWhole(r, body)
	}
	done()
	if err != nil {
		return nil, err
	}
	if err := s.enter(r); err != nil {
		return nil, err
	}
	if r.scope != scopeAdmin { // whose documents are JSON, or sealed, and may look like anything
		err = checkXML(data)
	}
	return data, err
}

// readWhole reads a body of at most the route's limit. Its memory comes from the
// budget of documents as the body does, until r ends, or it is errBusy.
func (s *Server) readWhole(r *request, body *sigv4.Body) ([]byte, error) {
	if body.Size() > r.route.body {
		return nil, errBodyTooLarge
	}
	n := 0
	var beyond [1]byte
	for {
		into := beyond[:]
		if n == len(r.held) && int64(n) < r.route.body {
			if err := s.growDocument(r, n); err != nil {
				return nil, err
			}
		}
		if n < len(r.held) {
			into = r.held[n:]
		}
		m, err := body.Read(into)
		n += m
		switch {
		case int64(n) > r.route.body:
			return nil, errBodyTooLarge
		case err == io.EOF:
			return r.held[:n], nil
		case err != nil:
			return nil, fmt.Errorf("read document: %w", err)
		}
	}
}

// growDocument doubles the memory of r's document, of which n bytes have come.
func (s *Server) growDocument(r *request, n int) error {
	const first = 16 << 10
	next := s.documents.take(r.claim(), max(2*int64(n), first))
	if next == nil {
		return errBusy
	}
	copy(next, r.held)
	if r.held != nil {
		s.documents.give(r.claim(), r.held, true)
	}
	r.held = next
	return nil
}

// setDocument gives a request a body that is signed whole. withMD5 adds the
// Content-MD5 that some operations insist on.
func setDocument(up *upstream.Request, body []byte, withMD5 bool) {
	hash := sha256.Sum256(body)
	up.PayloadHash = hex.EncodeToString(hash[:])
	if len(body) == 0 {
		return
	}
	if withMD5 {
		sum := md5.Sum(body) //nolint:gosec // see above
		up.Header.Set("Content-Md5", base64Std(sum[:]))
	}
	up.Body, up.Length = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// forwardAnswer passes an answer back.
func (s *Server) forwardAnswer(w http.ResponseWriter, resp *http.Response) error {
	if resp.StatusCode >= 400 {
		return upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("upstream answered %d: %w", resp.StatusCode, storage.ErrUnreachable)
	}
	h := w.Header()
	for name, values := range resp.Header {
		if isForwardedAnswer(name, values[0]) {
			h[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	if resp.Request.Method == http.MethodHead {
		return nil
	}
	buffer := s.buffers.copies.Get().(*[copyBufferSize]byte)
	defer s.buffers.copies.Put(buffer)
	if err := s.buffers.copy(w, resp.Body, buffer[:], 0); err != nil {
		return readError(err)
	}
	return nil
}
