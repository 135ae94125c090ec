package sigv4

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// upload is a signed PUT whose body can be wrong in every way.
type upload struct {
	payload  string            // x-amz-content-sha256
	header   map[string]string // more signed headers; "-" drops a default
	data     string
	chunk    int                 // chunk size, default 8
	trailer  []string            // trailer lines, without line ends
	lineEnd  string              // of trailer lines, default "\r\n"
	edit     func(string) string // of the wire body
	wrongSig string              // "chunk", "last" or "trailer" is signed wrongly
	declared int64               // r.ContentLength in place of the real one; -1 unknown
}

// request returns the request, its body encoded and signed by the letter of
// the AWS pages.
func (u upload) request() *http.Request {
	s := signing{method: "PUT", at: now(), payload: u.payload, header: map[string]string{}}
	s.defaults()
	if strings.HasPrefix(s.payload, "STREAMING-") {
		s.header["x-amz-decoded-content-length"] = strconv.Itoa(len(u.data))
	}
	for n, v := range u.header {
		if v == "-" {
			delete(s.header, n)
			continue
		}
		s.header[n] = v
	}
	r := s.inHeader()
	body := u.data
	if strings.HasPrefix(s.payload, "STREAMING-") {
		_, seed, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		body = u.encode(&s, seed)
	}
	if u.edit != nil {
		body = u.edit(body)
	}
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	if u.declared != 0 {
		r.ContentLength = u.declared
	}
	return r
}

// encode returns data as aws-chunked.
func (u upload) encode(s *signing, previous string) string {
	signed := strings.HasPrefix(s.payload, streamingSigned)
	size, lineEnd := u.chunk, u.lineEnd
	if size == 0 {
		size = 8
	}
	if lineEnd == "" {
		lineEnd = "\r\n"
	}
	sign := func(kind string, parts ...string) string {
		toSign := []string{"AWS4-HMAC-SHA256-" + kind, s.at.Format("20060102T150405Z"), s.scope, previous}
		previous = hex.EncodeToString(hmacSHA256(s.signingKey(), strings.Join(append(toSign, parts...), "\n")))
		return previous
	}
	var b strings.Builder
	for data := u.data; ; {
		n := min(size, len(data))
		fmt.Fprintf(&b, "%x", n)
		if signed {
			sig := sign("PAYLOAD", sha256Hex(""), sha256Hex(data[:n]))
			if n > 0 && u.wrongSig == "chunk" || n == 0 && u.wrongSig == "last" {
				sig = strings.Repeat("0", 64)
			}
			b.WriteString(";chunk-signature=" + sig)
		}
		b.WriteString("\r\n")
		if n == 0 {
			break
		}
		b.WriteString(data[:n] + "\r\n")
		data = data[n:]
	}
	for _, line := range u.trailer {
		b.WriteString(line + lineEnd)
	}
	if signed && len(u.trailer) > 0 {
		sig := sign("TRAILER", sha256Hex(strings.Join(u.trailer, "\n")+"\n"))
		if u.wrongSig == "trailer" {
			sig = strings.Repeat("0", 64)
		}
		b.WriteString("x-amz-trailer-signature:" + sig + "\r\n")
	}
	return b.String() + "\r\n"
}

// open verifies the request and opens its body.
func open(tb testing.TB, r *http.Request, opts BodyOptions) (*Body, error) {
	tb.Helper()
	q, err := newVerifier(tb, now()).Verify(r)
	if err != nil {
		tb.Fatal(err)
	}
	return q.Body(r, opts)
}

// readAll opens and reads the whole body.
func readAll(tb testing.TB, r *http.Request, opts BodyOptions) (string, *Body, error) {
	tb.Helper()
	b, err := open(tb, r, opts)
	if err != nil {
		return "", nil, err
	}
	data, err := io.ReadAll(b)
	return string(data), b, err
}

// mustNotLookFinished checks that an error ends a body for good and is none
// that a reader takes for a clean end.
func mustNotLookFinished(t *testing.T, b *Body, err error) {
	t.Helper()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v looks like an end of data", err)
	}
	if b == nil {
		return
	}
	for range 2 {
		if n, again := b.Read(make([]byte, 1)); n != 0 || again != err {
			t.Errorf("read on after %v: %d, %v", err, n, again)
		}
	}
	if _, ok := b.MD5(); ok || b.Checksums() != nil || b.Err() != err {
		t.Errorf("digests given out after %v", err)
	}
}

func base64Sum(alg checksum.Algorithm, data string) string {
	h := alg.New()
	h.Write([]byte(data))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// algorithms are all there are.
func algorithms() []checksum.Algorithm {
	return []checksum.Algorithm{checksum.CRC32, checksum.CRC32C, checksum.CRC64NVME, checksum.SHA1, checksum.SHA256}
}

// cut is a transport that gives data and then an error.
type cut struct {
	data *bytes.Reader
	err  error
}

func (c cut) Read(p []byte) (int, error) {
	n, err := c.data.Read(p)
	if err == io.EOF {
		err = c.err
	}
	return n, err
}

func (cut) Close() error { return nil }

// zeros is a transport of n zero bytes that come slowly and with io.EOF.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(z.n, int64(len(p)), 32<<10)
	clear(p[:n])
	z.n -= n
	if z.n == 0 {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (*zeros) Close() error { return nil }
