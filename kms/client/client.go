// Package client speaks the KES API: a kms.Service on a remote key server, this
// project's or MinIO's KES, and the calls that a command line needs beside it.
package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

var _ kms.Service = (*Client)(nil)

// ErrOptions says that Options lack something or contradict themselves.
var ErrOptions = errors.New("invalid key server options")

const (
	// DefaultTimeout bounds one attempt on one endpoint. Servers give up after
	// 15 s.
	DefaultTimeout = 15 * time.Second

	dialTimeout = 5 * time.Second
	// idleTimeout is shorter than the 90 s after which servers close idle
	// connections, so that requests do not run into the closing.
	idleTimeout = 75 * time.Second
	pingAfter   = 15 * time.Second
	pingTimeout = 5 * time.Second
)

// Options configure a Client.
type Options struct {
	// Endpoints are https URLs of key servers over the same keys, or HOST:PORT.
	// At least one.
	Endpoints []string
	// APIKey ("kes:v1:...") identifies the client, or else CertFile and KeyFile
	// do, in PEM. The files are read again when they change.
	APIKey            string
	CertFile, KeyFile string
	// KeyPassword opens an encrypted KeyFile.
	KeyPassword string
	// CAPath is a file or folder of PEM certificates that sign servers' ones;
	// empty: those of the system.
	CAPath string
	// InsecureSkipVerify accepts any server certificate. For tests and for
	// looking at a server; keys must not travel that way.
	InsecureSkipVerify bool
	// Timeout of one attempt on one endpoint; 0 is DefaultTimeout.
	Timeout time.Duration
}

// String hides key and password.
func (o Options) String() string {
	return fmt.Sprintf("{Endpoints:%v CertFile:%s KeyFile:%s CAPath:%s secrets:[redacted]}", o.Endpoints, o.CertFile, o.KeyFile, o.CAPath)
}

// GoString hides key and password.
func (o Options) GoString() string { return o.String() }

// Client is a kms.Service over the KES API. It is safe for concurrent use.
// Besides what kms.Service says, its errors are *Error where a server answered.
type Client struct {
	http    *http.Client
	cert    *certSource
	shown   *shown
	pool    *pool
	timeout time.Duration
}

// New returns a client. It reads the files named in opts but does not connect.
func New(opts Options) (*Client, error) {
	urls, err := parseEndpoints(opts.Endpoints)
	if err != nil {
		return nil, err
	}
	cert, err := newCertSource(opts)
	if err != nil {
		return nil, err
	}
	roots, err := loadRoots(opts.CAPath)
	if err != nil {
		return nil, err
	}
	timeout := opts.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	seen := new(shown)
	tlsConfig := &tls.Config{
		VerifyConnection:     seen.note,
		MinVersion:           tls.VersionTLS12,
		RootCAs:              roots,
		GetClientCertificate: cert.get,
		InsecureSkipVerify:   opts.InsecureSkipVerify, //nolint:gosec // the caller asks for it by name
		ClientSessionCache:   tls.NewLRUClientSessionCache(2 * len(urls)),
	}
	return &Client{
		http: &http.Client{
			Transport:     newTransport(tlsConfig),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		cert:    cert,
		shown:   seen,
		pool:    newPool(urls),
		timeout: timeout,
	}, nil
}

func newTransport(tlsConfig *tls.Config) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Proxy:               nil, // keys go to the configured host only
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: pingAfter}).DialContext,
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     idleTimeout,
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
		DisableCompression:  true,
	}
}

// Identity returns the identity that servers see: the SHA-256 of the client
// certificate's public key, in hexadecimal.
func (c *Client) Identity() string { return c.cert.identity() }

// Close ends idle connections. Calls under way go on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

func parseEndpoints(endpoints []string) ([]string, error) {
	var urls []string
	seen := make(map[string]bool)
	for _, text := range endpoints {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "https://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("%w: endpoint %q is not https://HOST:PORT", ErrOptions, text)
		}
		base := "https://" + u.Host
		if !seen[base] {
			seen[base] = true
			urls = append(urls, base)
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("%w: no endpoint", ErrOptions)
	}
	return urls, nil
}
