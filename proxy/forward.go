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

	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// forwardedHeaders go upstream with every forwarded request.
var forwardedHeaders = []string{"Content-Type", "Content-Md5", "X-Amz-Sdk-Checksum-Algorithm"}

// withheldHeaders of upstream's answers are said by the proxy, or concern only
// the connection between the two.
var withheldHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"X-Amz-Request-Id", "X-Amz-Id-2", "Server", "Date", "Set-Cookie", "X-Content-Type-Options",
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
	up := r.upstreamRequest(r.Method)
	up.Query = r.query
	for _, name := range slices.Concat(forwardedHeaders, r.route.headers) {
		if v := r.Header.Values(name); len(v) > 0 {
			up.Header[name] = v
		}
	}
	for name, values := range r.Header {
		if isChecksumHeader(name) {
			up.Header[name] = values
		}
	}
	setDocument(up, body, r.auth.Payload == sigv4.PayloadStreamingSignedTrailer || r.auth.Payload == sigv4.PayloadStreamingUnsignedTrailer)
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
	body, err := r.auth.Body(r.Request, o)
	if err != nil {
		return nil, err
	}
	if body.Size() > r.route.body {
		return nil, errBodyTooLarge
	}
	data, err := io.ReadAll(io.LimitReader(body, r.route.body+1))
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	if int64(len(data)) > r.route.body {
		return nil, errBodyTooLarge
	}
	return data, nil
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
	h := w.Header()
	for name, values := range resp.Header {
		if !slices.Contains(withheldHeaders, name) && !isReservedMeta(name) {
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
