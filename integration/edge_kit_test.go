package integration

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// edge is a stack whose proxy has narrow limits and tells its metrics.
type edge struct {
	*stack
	metrics string // where they are served
}

// newEdge starts one. yaml is added to the proxy's configuration.
func newEdge(t *testing.T, yaml string, args ...string) *edge {
	t.Helper()
	needsSeal(t)
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, t.TempDir(), "edge.yml", []byte("metrics: {address: \""+metrics+"\"}\n"+yaml))
	s := newStack(t, stackOptions{liar: true, args: append([]string{"--config", file}, args...)})
	return &edge{s, "http://" + metrics}
}

// metric returns the value of a metric without labels.
func (e *edge) metric(t *testing.T, name string) float64 {
	t.Helper()
	return metric(t, e.metrics, name)
}

// metric returns the value of a metric without labels that is served at an address.
func metric(t *testing.T, address, name string) float64 {
	t.Helper()
	resp, err := http.Get(address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// settles checks, at the end of a test, that the proxy holds no more goroutines
// than when the test began, serves no request, and has not ended.
func (e *edge) settles(t *testing.T) {
	t.Helper()
	before := e.metric(t, "go_goroutines")
	t.Cleanup(func() {
		const slack = 12 // idle connections to MinIO have two each
		var now, busy float64
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			now, busy = e.metric(t, "go_goroutines"), e.metric(t, "bucketseal_s3_requests_active")
			if now <= before+slack && busy == 0 {
				return
			}
		}
		t.Errorf("the proxy has %v goroutines, %v before, and %v requests", now, before, busy)
	})
}

// dial connects to the proxy, from an address of this machine if that is given.
func (e *edge) dial(t *testing.T, from string) net.Conn {
	t.Helper()
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := d.Dial("tcp", e.seal.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// clientFrom speaks S3 to the proxy from an address of this machine.
func (e *edge) clientFrom(from string) *client {
	c := e.client()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, addr)
		},
		DisableCompression: true, DisableKeepAlives: true,
	}
	return c
}

// head returns the first lines of a signed request, to be sent by hand.
func (e *edge) head(t *testing.T, r request) string {
	t.Helper()
	return e.headOf(t, e.client(), r)
}

// headOf is head for another caller.
func (e *edge) headOf(t *testing.T, c *client, r request) string {
	t.Helper()
	req, err := c.build(r)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	path := req.URL.Opaque
	if req.URL.RawQuery != "" {
		path += "?" + req.URL.RawQuery
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", req.Method, path, req.URL.Host)
	for name, values := range req.Header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, values[0])
	}
	return b.String()
}

// send writes to a connection and does not mind if the other end has closed it.
func send(conn net.Conn, text string) bool {
	_, err := io.WriteString(conn, text)
	return err == nil
}

// endsWithin reads until the other end closes, and says what it sent before.
func endsWithin(t *testing.T, conn net.Conn, limit time.Duration) string {
	t.Helper()
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(limit))
	text, err := io.ReadAll(conn)
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection is open after %v; it brought %.200s", time.Since(began), text)
	}
	return string(text)
}

// processSeconds is the processor time that the proxy has used so far.
func (e *edge) processSeconds(t *testing.T) float64 { return e.metric(t, "process_cpu_seconds_total") }
