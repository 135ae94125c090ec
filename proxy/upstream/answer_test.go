package upstream

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// trackedBody remembers that it was closed, and how much was read.
type trackedBody struct {
	io.Reader
	read   int
	closed bool
}

func (b *trackedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.read += n
	return n, err
}

func (b *trackedBody) Close() error {
	b.closed = true
	return nil
}

func TestReadError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, body    string
		header        http.Header
		code, message string
	}{
		{"S3 error", `<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>Gone &amp; lost</Message></Error>`, nil, "NoSuchKey", "Gone & lost"},
		{"of a HEAD", "", http.Header{"X-Minio-Error-Code": {"AccessDenied"}, "X-Minio-Error-Desc": {`"Access Denied."`}}, "AccessDenied", "Access Denied."},
		{"of a HEAD, unquoted", "", http.Header{"X-Minio-Error-Code": {"A"}, "X-Minio-Error-Desc": {`x"`}}, "A", `x"`},
		{"nothing", "", nil, "", ""},
		{"a web page", "<html><body>Bad Gateway</body></html>", nil, "", ""},
		{"JSON", `{"Code":"x"}`, nil, "", ""},
		{"no end in sight", "<Error><Message>" + strings.Repeat("x", maxErrorBody), nil, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body := &trackedBody{Reader: strings.NewReader(tt.body)}
			if tt.header == nil {
				tt.header = http.Header{}
			}
			e := ReadError(&http.Response{StatusCode: 418, Header: tt.header, Body: body})
			if e.Status != 418 || e.Code != tt.code || tt.code != "" && e.Message != tt.message {
				t.Errorf("got %v", e)
			}
			if !body.closed {
				t.Error("the answer is left open")
			}
			if body.read > maxErrorBody {
				t.Errorf("%d bytes were read", body.read)
			}
		})
	}
}

func TestDiscardReadsALittleAndCloses(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 10, 10 << 20} {
		body := &trackedBody{Reader: strings.NewReader(strings.Repeat("x", size))}
		Discard(&http.Response{Body: body})
		if !body.closed || body.read > 64<<10 || body.read < min(size, 64<<10) {
			t.Errorf("%d bytes: %d read, closed %v", size, body.read, body.closed)
		}
	}
}

func FuzzReadError(f *testing.F) {
	f.Add(`<Error><Code>NoSuchKey</Code><Message>x</Message></Error>`)
	f.Add(`<Error><Status>200</Status><Header>x</Header></Error>`)
	f.Fuzz(func(t *testing.T, text string) {
		e := ReadError(&http.Response{StatusCode: 404, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))})
		if e.Status != 404 || len(e.Header) != 0 {
			t.Fatalf("%q changes the status or headers: %v", text, e)
		}
	})
}
