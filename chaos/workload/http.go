package workload

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// request is one S3 request, before it is signed.
type request struct {
	method      string
	bucket, key string
	query       url.Values
	header      http.Header
	body        []byte
	session     *session // signs with a session's credentials instead of the target's
	presigned   bool
	chunked     bool // aws-chunked with a checksum behind the data
	limit       time.Duration
	service     string // that the signature names; s3 where empty
}

// answer is what came back.
type answer struct {
	outcome history.Outcome
	status  int
	code    string
	header  http.Header
	body    []byte
	cut     bool // the connection broke inside the body
}

// way is a target with its connections.
type way struct {
	Target
	client *http.Client
	signer *signer.Signer
}

func newWay(t Target) *way {
	tr := &http.Transport{MaxIdleConnsPerHost: 128, DisableCompression: true, DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}
	if t.CA != nil {
		tr.TLSClientConfig = &tls.Config{RootCAs: t.CA, MinVersion: tls.VersionTLS12}
	}
	sign := signer.NewSigner(func(o *signer.SignerOptions) { o.DisableURIPathEscaping = true })
	return &way{Target: t, client: &http.Client{Transport: tr}, signer: sign}
}

// maxAhead bounds what is made ready for a body whose length is told.
const maxAhead = 64 << 20

// readBody is io.ReadAll, without copying what is read again and again.
func readBody(resp *http.Response) ([]byte, error) {
	var b bytes.Buffer
	if resp.ContentLength > 0 && resp.Request.Method != http.MethodHead {
		b.Grow(int(min(resp.ContentLength, maxAhead)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(resp.Body)
	return b.Bytes(), err
}

// do sends a request and sorts what came of it. net/http sends what is not GET or HEAD a second time only
// where not a byte of it had left.
func (w *way) do(ctx context.Context, q request) answer {
	ctx, cancel := context.WithTimeout(ctx, q.limit)
	defer cancel()
	req, err := w.build(ctx, q)
	if err != nil {
		return answer{outcome: history.Failed, code: "client: " + err.Error()}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return answer{outcome: history.Failed, code: "client: not connected"}
		}
		return answer{outcome: history.Unknown, code: "client: no answer"}
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = readBody(resp)
	a.cut = err != nil
	a.sort(q.method)
	return a
}

func (a *answer) sort(method string) {
	switch {
	case a.status >= 200 && a.status < 300:
		a.outcome = history.OK
	case a.status == 408 || a.status == 429 || a.status == 499 || a.status >= 500:
		a.outcome = history.Unknown
	default:
		a.outcome = history.Failed
	}
	var fault struct {
		XMLName xml.Name
		Code    string
	}
	if method != http.MethodHead && len(a.body) > 0 && (a.outcome != history.OK || bytes.Contains(a.body[:min(len(a.body), 200)], []byte("<Error>"))) {
		if xml.Unmarshal(a.body, &fault) == nil && fault.XMLName.Local == "Error" {
			a.code = fault.Code
			if a.outcome == history.OK {
				a.outcome = history.Unknown // the status had left before the failure
			}
		}
	}
	if a.cut {
		a.outcome, a.code = history.Unknown, "client: cut off"
	}
}

func (w *way) build(ctx context.Context, q request) (*http.Request, error) {
	u, err := url.Parse(w.URL)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + q.bucket
	if q.key != "" {
		u.Path += "/" + q.key
	}
	u.RawQuery = q.query.Encode()
	body, hash := q.body, "UNSIGNED-PAYLOAD"
	header := http.Header{}
	for k, v := range q.header {
		header[k] = v
	}
	switch {
	case q.chunked:
		body, hash = chunks(q.body), "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
		header.Set("Content-Encoding", "aws-chunked")
		header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
		header.Set("X-Amz-Decoded-Content-Length", strconv.Itoa(len(q.body)))
	case len(body) <= 1<<16:
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	service := cmp.Or(q.service, "s3")
	creds := aws.Credentials{AccessKeyID: w.AccessKey, SecretAccessKey: w.SecretKey}
	if q.session != nil {
		creds = q.session.credentials
	}
	if !q.presigned {
		req.Header.Set("X-Amz-Content-Sha256", hash)
		return req, w.signer.SignHTTP(ctx, creds, req, hash, service, w.Region, time.Now())
	}
	values := req.URL.Query()
	values.Set("X-Amz-Expires", "600")
	req.URL.RawQuery = values.Encode()
	link, signed, err := w.signer.PresignHTTP(ctx, creds, req, "UNSIGNED-PAYLOAD", service, w.Region, time.Now())
	if err != nil {
		return nil, err
	}
	again, err := http.NewRequestWithContext(ctx, q.method, link, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range signed {
		if k != "Host" {
			again.Header[k] = v
		}
	}
	for k, v := range header {
		// Others of these are in the link: as a header, which is not signed, they would be refused.
		if !strings.HasPrefix(k, "X-Amz-") {
			again.Header[k] = v
		}
	}
	return again, nil
}

// chunks frames data as aws-chunked without signatures, its CRC32C behind it.
func chunks(data []byte) []byte {
	var b bytes.Buffer
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 64<<10)
		fmt.Fprintf(&b, "%x\r\n", n)
		b.Write(rest[:n])
		b.WriteString("\r\n")
		rest = rest[n:]
	}
	fmt.Fprintf(&b, "0\r\nx-amz-checksum-crc32c:%s\r\n\r\n", crc32c(data))
	return b.Bytes()
}

func crc32c(data []byte) string {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}
