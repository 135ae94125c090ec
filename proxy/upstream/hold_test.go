package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// countedConn counts what is written at once.
type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestSmallBodiesGoOutWithTheirHeaders(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(data)
	})
	var writes atomic.Int64
	client.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return countedConn{conn, &writes}, err
	}
	for _, tt := range []struct {
		length int
		one    bool
	}{{1, true}, {4096 + 32, true}, {holdUpTo, true}, {holdUpTo + 1, false}} {
		writes.Store(0)
		data := strings.Repeat("x", tt.length)
		body := &closeCount{Reader: strings.NewReader(data)}
		resp, err := client.Do(t.Context(), &Request{Method: http.MethodPut, Bucket: "b", Key: "k", Body: body, Length: int64(tt.length), Credential: testCredential})
		if err != nil {
			t.Fatal(err)
		}
		Discard(resp)
		if sent := <-got; sent != data {
			t.Errorf("%d bytes: MinIO got %d", tt.length, len(sent))
		}
		if n := writes.Load(); (n == 1) != tt.one {
			t.Errorf("%d bytes took %d writes", tt.length, n)
		}
	}
}

func TestSmallBodiesThatAreNotAsDeclaredAreNotSent(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(http.ResponseWriter, *http.Request) { t.Error("MinIO was asked") })
	own := errors.New("own error")
	for name, body := range map[string]io.Reader{
		"short": strings.NewReader("ab"), "long": strings.NewReader("abcd"),
		"failing":      io.MultiReader(strings.NewReader("ab"), errorReader{own}),
		"failing late": io.MultiReader(strings.NewReader("abc"), errorReader{own}),
		"cut":          io.MultiReader(strings.NewReader("abc"), errorReader{io.ErrUnexpectedEOF}),
	} {
		counted := &closeCount{Reader: body}
		_, err := client.Do(t.Context(), &Request{Method: http.MethodPut, Bucket: "b", Key: "k", Body: counted, Length: 3, Credential: testCredential})
		if !errors.Is(err, ErrUnreachable) || strings.HasPrefix(name, "failing") && !errors.Is(err, own) {
			t.Errorf("%s: %v", name, err)
		}
		if counted.n != 1 {
			t.Errorf("%s: closed %d times", name, counted.n)
		}
	}
}
