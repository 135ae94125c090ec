package upstream

import (
	"bytes"
	"cmp"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// packages is a body that writes pieces of one size, and fails at its end if it is to.
type packages struct {
	data  []byte
	piece int
	err   error
}

func (p *packages) Read(b []byte) (int, error) {
	n := copy(b, p.data)
	p.data = p.data[n:]
	if n == 0 {
		return 0, cmp.Or(p.err, io.EOF)
	}
	return n, nil
}

func (p *packages) WriteTo(w io.Writer) (written int64, err error) {
	for len(p.data) > 0 {
		n, err := w.Write(p.data[:min(p.piece, len(p.data))])
		written += int64(n)
		p.data = p.data[n:]
		if err != nil {
			return written, err
		}
	}
	return written, p.err
}

// sizesConn notes the longest write.
type sizesConn struct {
	net.Conn
	longest *int
}

func (c sizesConn) Write(p []byte) (int, error) {
	*c.longest = max(*c.longest, len(p))
	return c.Conn.Write(p)
}

func TestBodyIsHandedOnInWholePieces(t *testing.T) {
	t.Parallel()
	got := make(chan []byte, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		all, err := io.ReadAll(r.Body)
		if err != nil {
			all = nil
		}
		got <- all
	}))
	defer server.Close()
	where, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	const piece = 65_568
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	for name, test := range map[string]struct {
		length int64
		err    error
		fails  bool
	}{
		"whole":    {length: int64(len(body))},
		"too long": {length: int64(len(body)) - 1, fails: true},
		"short":    {length: int64(len(body)) + 1, fails: true},
		"broken":   {length: int64(len(body)) + 1, err: errTooLong, fails: true},
	} {
		longest := 0
		transport := &http.Transport{WriteBufferSize: 64 << 10, Dial: func(network, address string) (net.Conn, error) { //nolint:staticcheck // needs no context
			conn, err := net.Dial(network, address)
			return &boundedConn{sizesConn{conn, &longest}}, err
		}}
		req := &http.Request{
			Method: http.MethodPut, URL: where, Header: make(http.Header), ContentLength: test.length,
			Body: io.NopCloser(&packages{data: body, piece: piece, err: test.err}),
		}
		sent := newMeter(req)
		resp, err := transport.RoundTrip(req)
		if (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
		if sent.failed.Load() != (test.err != nil) {
			t.Errorf("%s: taken for the body's fault: %v", name, sent.failed.Load())
		}
		all := <-got
		if err == nil {
			_ = resp.Body.Close()
			if !bytes.Equal(all, body) || sent.missing() {
				t.Errorf("%s: %d of %d bytes came, %d are missing", name, len(all), len(body), sent.left.Load())
			}
			if longest != piece {
				t.Errorf("%s: the longest write has %d bytes", name, longest)
			}
		} else if all != nil {
			t.Errorf("%s: upstream takes %d bytes for the whole", name, len(all))
		}
		transport.CloseIdleConnections()
	}
}
