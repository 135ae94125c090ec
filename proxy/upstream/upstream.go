// Package upstream talks to MinIO: the only package of the proxy that does. It
// knows requests, signatures and answers, and nothing of the S3 handlers'
// logic.
package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/operator/trace"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream/wire"
)

// HopHeader is on every request to MinIO that a client caused. A bucketseal that
// gets it is somebody's upstream, perhaps its own, or somebody sends it what was
// seen on the way to MinIO: it is signed, and what has it is refused.
const HopHeader = "X-Bucketseal-Hop"

// ownServer is what the Server header of a bucketseal says.
const ownServer = "bucketseal"

// UnsignedPayload is the payload hash of requests whose body DARE
// authenticates already.
const UnsignedPayload = "UNSIGNED-PAYLOAD"

// Options configure a Client.
type Options struct {
	// Endpoint is MinIO's URL: scheme and host, nothing else.
	Endpoint *url.URL
	// Region is signed into requests; "" means us-east-1.
	Region string
	// TLS makes the configuration of each connection to an https endpoint, so that
	// certificates can be exchanged; nil means the system's defaults.
	TLS func() *tls.Config
	// HeaderTimeout bounds the wait for the answer's headers once the request is
	// sent; 0 means two minutes.
	HeaderTimeout time.Duration
	// SlowTimeout is the same for requests that are Slow; 0 means twelve hours.
	SlowTimeout time.Duration
}

// Client sends requests to one MinIO. It is safe for concurrent use.
type Client struct {
	endpoint  *url.URL
	region    string
	signer    sigv4.Signer
	transport *wire.Transport
	// slow is for requests that MinIO answers only when it has moved their data.
	slow *wire.Transport

	epoch atomic.Uint64
	// program is what the last answer said of who gave it.
	program atomic.Pointer[string]

	encrypted encrypted
	kms       ownKMS
	seen      seen
	// metrics is nil while nobody wants them.
	metrics *metrics
}

// New returns a client; it makes no request.
func New(o Options) (*Client, error) {
	if o.Endpoint == nil || o.Endpoint.Host == "" || o.Endpoint.Scheme != "http" && o.Endpoint.Scheme != "https" {
		return nil, fmt.Errorf("upstream endpoint %q is not http(s)://HOST[:PORT]", o.Endpoint)
	}
	if strings.Trim(o.Endpoint.Path, "/") != "" || o.Endpoint.RawQuery != "" || o.Endpoint.User != nil {
		return nil, fmt.Errorf("upstream endpoint %q has more than a scheme and a host", o.Endpoint.Redacted())
	}
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.HeaderTimeout == 0 {
		o.HeaderTimeout = 2 * time.Minute
	}
	if o.SlowTimeout == 0 {
		o.SlowTimeout = 12 * time.Hour
	}
	if o.TLS == nil {
		o.TLS = func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12} }
	}
	c := &Client{endpoint: o.Endpoint, region: o.Region}
	c.transport = c.newTransport(o.TLS, o.HeaderTimeout)
	c.slow = c.newTransport(o.TLS, o.SlowTimeout)
	return c, nil
}

// Epoch changes whenever what answers may be another program than before: after a
// request without an answer, and with the Server header.
func (c *Client) Epoch() uint64 { return c.epoch.Load() + 1 }

// noteProgram begins a new epoch if an answer comes from another program.
func (c *Client) noteProgram(h http.Header) {
	server := h.Get("Server")
	if last := c.program.Load(); last != nil && *last == server {
		return
	}
	if c.program.Swap(&server) != nil {
		c.epoch.Add(1)
	}
}

func (c *Client) newTransport(config func() *tls.Config, headerTimeout time.Duration) *wire.Transport {
	return wire.New(wire.Options{
		Dial:      dial,
		Handshake: c.seen.handshake(config),
		MaxIdle:   1024,
		// MinIO closes idle connections after 30 s; a request that is sent on one
		// that is being closed cannot always be repeated.
		IdleTimeout:   20 * time.Second,
		HeaderTimeout: headerTimeout,
		// MinIO refuses a large body before it is sent; a server that never
		// answers the expectation gets the body after this time.
		ContinueTimeout: 2 * time.Second,
		StallTimeout:    stallTimeout,
		Traffic:         &c.seen.traffic,
	})
}

// Secure says that what is sent cannot be read or changed on the way: TLS, or
// the same machine.
func (c *Client) Secure() bool {
	if c.endpoint.Scheme == "https" {
		return true
	}
	host := c.endpoint.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// TLS says that MinIO sees a connection by TLS.
func (c *Client) TLS() bool { return c.endpoint.Scheme == "https" }

// Close drops idle connections.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
	c.slow.CloseIdleConnections()
}

// Request is one upstream request.
type Request struct {
	Method string
	// Bucket and Key are raw names; Key needs Bucket, both empty is the service.
	Bucket, Key string
	Query       url.Values
	// Told is added to the query for the conditions of MinIO's policies alone; the
	// Security Token Service, which takes no query, is not told. Do leaves it as it is.
	Told url.Values
	// Header is sent as it is, besides what signing adds. Do takes it over.
	Header http.Header
	// Body may be nil. Do closes it.
	Body io.ReadCloser
	// GetBody, if not nil, gives the same body again, for a connection that was
	// closed before anything was sent on it.
	GetBody func() (io.ReadCloser, error)
	// Length is the exact length of Body in bytes.
	Length int64
	// PayloadHash is the hex SHA-256 of Body, or "" for UNSIGNED-PAYLOAD.
	PayloadHash string
	// SignBody signs Body chunk by chunk instead, for bodies that nothing else
	// protects on a connection without TLS.
	SignBody bool
	// Trailer follows a body that SignBody signs, if that is not empty. Its values
	// may change until Body ends, but not their lengths.
	Trailer http.Header
	// Credential signs; nil sends the request anonymously.
	Credential *storage.Credential
	// STS signs for the Security Token Service, which takes no session token.
	// PayloadHash is needed then.
	STS bool
	// Slow says that MinIO moves data before it answers, as in a copy: the answer
	// may take hours.
	Slow bool
}

// Do sends the request and returns MinIO's answer, whatever its status. The
// caller closes the answer's body. storage.ErrUnreachable, or the body's own error if
// reading it failed, or the context's cause. Reading the answer's body has the
// same errors.
func (c *Client) Do(ctx context.Context, r *Request) (*http.Response, error) {
	ctx, span := trace.Start(ctx, "upstream")
	began := c.metrics.begin()
	resp, err := c.roundTrip(ctx, r)
	status := 0
	if err == nil {
		status = resp.StatusCode
	}
	c.metrics.end(r.Method, status, began)
	endSpan(span, r, status, err)
	return resp, err
}

func (c *Client) roundTrip(ctx context.Context, r *Request) (*http.Response, error) {
	req := c.build(ctx, r)
	sent := newMeter(req)
	req.Header.Set(HopHeader, "1") // signed, so that nobody can send the request to a bucketseal without it
	if r.Credential != nil {
		req = c.sign(req, r)
	}
	if parent := trace.TraceParent(ctx); parent != "" {
		req.Header.Set(trace.Header, parent)
	}
	transport := c.transport
	if r.Slow {
		transport = c.slow
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !sent.failed.Load() { // else it is the body's fault
			c.epoch.Add(1)
			c.metrics.failed(err)
		}
		return nil, fmt.Errorf("%s to upstream: %w (%w)", r.Method, storage.ErrUnreachable, err)
	}
	c.noteProgram(resp.Header)
	c.seen.clock(resp.Header)
	if resp.Header.Get("Server") == ownServer {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: the upstream is no MinIO, but a bucketseal, perhaps this one: upstream.endpoint must lead to MinIO itself", ErrUnfit)
	}
	c.noteEncrypted(r, resp)
	if resp.Body != http.NoBody {
		resp.Body = &answerBody{resp.Body, ctx}
	}
	if resp.StatusCode < 300 && sent.missing() {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s to upstream: it answered %d without having taken the body: %w", r.Method, resp.StatusCode, storage.ErrUnreachable)
	}
	return resp, nil
}

// Alive asks MinIO whether it runs. storage.ErrUnreachable.
func (c *Client) Alive(ctx context.Context) error {
	resp, err := c.Do(ctx, &Request{Method: http.MethodGet, Bucket: "minio", Key: "health/live"})
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusBadRequest {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		if speaksTLS(resp.StatusCode, body) {
			_ = resp.Body.Close()
			return fmt.Errorf("%w: %w", errSpeaksTLS, storage.ErrUnreachable)
		}
	}
	Discard(resp)
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("MinIO's health check answers %d: %w", resp.StatusCode, storage.ErrUnreachable)
	}
	return nil
}

// Clock returns upstream's time, as its answers tell it. storage.ErrUnreachable.
func (c *Client) Clock(ctx context.Context) (time.Time, error) {
	resp, err := c.Do(ctx, &Request{Method: http.MethodGet, Bucket: "minio", Key: "health/live"})
	if err != nil {
		return time.Time{}, err
	}
	Discard(resp)
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("upstream's clock: %w (%w)", storage.ErrUnreachable, err)
	}
	return now, nil
}
