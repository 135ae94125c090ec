package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/operator/trace"
)

// Limits of what a server may answer, in bytes.
const (
	maxErrorBody = 64 << 10
	maxKeyBody   = 4 << 20  // 1 MB of plaintext or ciphertext in base64, and more
	maxListBody  = 64 << 20 // hundreds of thousands of names
)

// A request that no endpoint answered is tried on all of them again, after a
// pause of minPause to maxPause.
const (
	maxRounds = 3
	minPause  = 200 * time.Millisecond
	maxPause  = time.Second
)

// call is one API call.
type call struct {
	method, path, name string
	body               *secretBody // nil: none
	limit              int64       // of the answer, in bytes; 0 is maxErrorBody
	// once is set for calls that must not be sent again when the first may
	// have had its effect.
	once bool
}

// attempt is how one request on one endpoint went wrong.
type attempt struct {
	err error
	// next says that another endpoint may do better, again that the same may
	// after a pause, sent that the server may have acted on the request.
	next, again, sent bool
}

// do sends a call to the endpoints until one answers and returns the body of
// its 200. uncertain says that an earlier request may have had its effect.
func (c *Client) do(ctx context.Context, r call) (body []byte, uncertain bool, err error) {
	for round := 1; ; round++ {
		again := false
		endpoints := c.pool.order()
		for i, e := range endpoints {
			answer, failed := c.try(ctx, e, r)
			if failed == nil {
				c.pool.done(e, false)
				c.pool.skipped(endpoints[i+1:])
				return answer, uncertain, nil
			}
			err = failed.err
			if ctx.Err() != nil {
				c.pool.skipped(endpoints[i:])
				return nil, uncertain || failed.sent, fmt.Errorf("%s: %w", r.path, ctx.Err())
			}
			c.pool.done(e, failed.next)
			if !failed.next {
				c.pool.skipped(endpoints[i+1:])
				return nil, uncertain, err
			}
			uncertain = uncertain || failed.sent
			if uncertain && r.once {
				c.pool.skipped(endpoints[i+1:])
				return nil, true, err
			}
			again = again || failed.again
		}
		if !again || round == maxRounds {
			return nil, uncertain, err
		}
		if err := pause(ctx); err != nil {
			return nil, uncertain, fmt.Errorf("%s: %w", r.path, err)
		}
	}
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(minPause + rand.N(maxPause-minPause))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// try sends one request to one endpoint.
func (c *Client) try(ctx context.Context, e *endpoint, r call) ([]byte, *attempt) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { sent.Store(true) },
	})
	resp, err := c.send(ctx, e, r)
	if err != nil {
		return nil, &attempt{err: c.networkError(r, e, err), next: true, again: true, sent: sent.Load()}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		// An error whose text is cut off is still that error.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return nil, statusAttempt(r, e, newError(resp.StatusCode, body))
	}
	limit := r.limit
	if limit == 0 {
		limit = maxErrorBody
	}
	body, err := readAll(resp, limit)
	switch {
	case errors.Is(err, errTooLong):
		return nil, &attempt{err: fmt.Errorf("%s: %s: %w: %w", e.url, r.path, kms.ErrUnavailable, err)}
	case err != nil:
		return nil, &attempt{err: c.networkError(r, e, err), next: true, again: true, sent: true}
	}
	return body, nil
}

func (c *Client) send(ctx context.Context, e *endpoint, r call) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, e.url+r.path+url.PathEscape(r.name), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "bucketseal")
	if parent := trace.TraceParent(ctx); parent != "" {
		req.Header.Set(trace.Header, parent)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
		req.ContentLength = r.body.size()
		req.GetBody = r.body.reader
		if req.Body, err = r.body.reader(); err != nil {
			return nil, err
		}
	}
	return c.http.Do(req)
}

// networkError keeps the text only: a timeout of one attempt is not the
// caller's.
func (c *Client) networkError(r call, e *endpoint, err error) error {
	var in *url.Error
	if errors.As(err, &in) {
		err = in.Err // without the URL, which names the key
	}
	return fmt.Errorf("%s: %s: %w: %v%s", e.url, r.path, kms.ErrUnavailable, err, tlsHint(err))
}

// tlsHint says what to do about a handshake that failed, or "".
func tlsHint(err error) string {
	var unknown x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "; name the certificate of its authority, or its own: --ca, MINIO_KES_CAPATH, or kms.remote.ca of a proxy"
	case errors.As(err, &plain):
		return "; a key server speaks TLS only, what listens there does not"
	}
	return ""
}

func statusAttempt(r call, e *endpoint, answer *Error) *attempt {
	a := &attempt{err: fmt.Errorf("%s: %s: %w", e.url, r.path, answer)}
	switch answer.Status {
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		a.next, a.sent = true, true
	case http.StatusServiceUnavailable:
		a.next, a.again, a.sent = true, true, true
	}
	return a
}

// readAll reads a body of at most limit bytes, in one buffer where its length
// is known.
func readAll(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, errTooLong
	}
	if resp.ContentLength >= 0 {
		body := make([]byte, resp.ContentLength)
		_, err := io.ReadFull(resp.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(body)) > limit {
		return nil, errTooLong
	}
	return body, err
}

// get calls a GET endpoint and decodes its answer into out.
func (c *Client) get(ctx context.Context, path, name string, limit int64, out any) error {
	body, _, err := c.do(ctx, call{method: http.MethodGet, path: path, name: name, limit: limit})
	if err != nil {
		return err
	}
	return decode(path, body, out)
}

// post calls an endpoint that may be called twice and decodes its answer.
// Bodies hold plaintext and keys: they are zeroed.
func (c *Client) post(ctx context.Context, method, path, name string, in, out any) error {
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	body := newSecretBody(text)
	defer body.wipe()
	answer, _, err := c.do(ctx, call{method: method, path: path, name: name, body: body, limit: maxKeyBody})
	defer clear(answer)
	if err != nil {
		return err
	}
	return decode(path, answer, out)
}

func decode(path string, body []byte, out any) error {
	// The decoder's own error may quote the answer, which may be a key.
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s: %w: %w", path, kms.ErrUnavailable, errNotReadable)
	}
	return nil
}
