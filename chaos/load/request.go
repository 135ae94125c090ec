// Package load is what stands beside the clients of a run under load: connections that carry nothing, clients that
// are slow, a bucket of many objects; and what says whether a proxy that bears them grows.
package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/bucketseal/bucketseal/chaos/workload"
)

// Bucket is where the neighbours' objects lie.
const Bucket = "chaos-load"

// unsigned says in a signature that the body is not part of it.
const unsigned = "UNSIGNED-PAYLOAD"

// signed makes a signed request. length is the body's, which whoever sends it appends.
func signed(ctx context.Context, t workload.Target, method, path, query string, length int64, header http.Header) (*http.Request, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawQuery = path, query
	r, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.ContentLength = length
	r.Header.Set("X-Amz-Content-Sha256", unsigned)
	sign := signer.NewSigner(func(o *signer.SignerOptions) { o.DisableURIPathEscaping = true })
	return r, sign.SignHTTP(ctx, aws.Credentials{AccessKeyID: t.AccessKey, SecretAccessKey: t.SecretKey}, r, unsigned, "s3", t.Region, time.Now())
}

// head is a request's line and headers as they are sent.
func head(r *http.Request) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.URL.Host)
	if r.Method == http.MethodPut || r.Method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", r.ContentLength)
	}
	_ = r.Header.Write(&b) // a buffer takes everything
	b.WriteString("\r\n")
	return b.Bytes()
}

// Do sends a request with a body and returns the answer's status, header and body.
func Do(ctx context.Context, client *http.Client, t workload.Target, method, path, query string, body []byte, header http.Header) (int, http.Header, []byte, error) {
	r, err := signed(ctx, t, method, path, query, int64(len(body)), header)
	if err != nil {
		return 0, nil, nil, err
	}
	if len(body) > 0 {
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	answer, err := client.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, text, err
}

// Prepare makes the bucket.
func Prepare(ctx context.Context, t workload.Target) error {
	status, _, text, err := Do(ctx, http.DefaultClient, t, http.MethodPut, "/"+Bucket, "", nil, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("bucket %s: status %d %s", Bucket, status, text)
	}
	return err
}

// dial opens a connection whose receive buffer has so many bytes, 0 for the usual ones.
func dial(ctx context.Context, t workload.Target, buffer int) (net.Conn, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	if buffer > 0 {
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var set error
			err := c.Control(func(fd uintptr) {
				set = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
			})
			if err == nil {
				err = set
			}
			return err
		}
	}
	return d.DialContext(ctx, "tcp", u.Host)
}

// exchange sends a request without a body on a connection and reads the answer.
func exchange(c net.Conn, r *http.Request, limit time.Duration) (int, error) {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return 0, err
	}
	if _, err := c.Write(head(r)); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 2048), r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// FileLimit raises the limit of open files as far as it can be, and says how many may be open.
func FileLimit(wanted uint64) (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, err
	}
	more := syscall.Rlimit{Cur: max(wanted, l.Cur), Max: max(wanted, l.Max)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) != nil { // only root raises the hard one
		more = syscall.Rlimit{Cur: l.Max, Max: l.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more); err != nil {
			return l.Cur, err
		}
	}
	return more.Cur, nil
}
