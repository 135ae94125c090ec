package integration

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// readCloser is a body over a reader, without the length tricks of net/http.
type readCloser struct{ io.Reader }

func (readCloser) Close() error { return nil }

// sendCut sends the head of a request and the bytes given, which are fewer than
// its Content-Length promises, and then closes the connection.
func (c *client) sendCut(req *http.Request, sent []byte) (answer, error) {
	conn, err := net.DialTimeout("tcp", req.URL.Host, 5*time.Second)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	req.Body = readCloser{io.MultiReader(bytes.NewReader(sent), errReader{})}
	// net/http hides the body's error behind a type without Unwrap.
	var wire bytes.Buffer
	if err := req.Write(&wire); err == nil || !strings.HasSuffix(err.Error(), errShort.Error()) {
		return answer{}, fmt.Errorf("write the cut request: %w", err)
	}
	if _, err := conn.Write(wire.Bytes()); err != nil {
		return answer{}, err
	}
	// The server must have read what there is before the connection goes away,
	// or it would only ever see an empty body.
	time.Sleep(50 * time.Millisecond)
	return answer{}, errShort
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errShort }

// wantNothingStored waits until the server has noticed that the client is gone,
// and checks that neither it nor MinIO behind it has such an object.
func wantNothingStored(t *testing.T, s *stack, bucket, key string) {
	t.Helper()
	// Nothing to wait for can be observed: an object that appears does so when the
	// upstream request ends, which is at once when it is aborted.
	time.Sleep(150 * time.Millisecond)
	for name, c := range map[string]*client{"bucketseal": s.client(), "MinIO": s.raw()} {
		if a := c.head(t, bucket, key, nil); a.status != http.StatusNotFound {
			t.Errorf("%s has an object %s/%s (status %d, %s bytes)", name, bucket, key, a.status, a.header.Get("Content-Length"))
		}
	}
}
