package integration

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	hostileConnections = 64
	// smallMemory is what a container of 256 MiB is told to use.
	smallMemory = "GOMEMLIMIT=230MiB"
	// smallContainer is what it must not outgrow, in bytes.
	smallContainer = 256 << 20
)

// Strangers open connections and make each as expensive as they can. The server
// survives in a small container, and whoever signs is served all the while.
func TestHostileConnectionsFitIntoMemory(t *testing.T) {
	t.Parallel()
	for name, attack := range map[string]func(net.Conn){
		"handshakes that never end":           nil,
		"HTTP/1.1: short lines, no end":       h1Lines(110_000, false),
		"HTTP/1.1: a long line, no end":       h1LongLine,
		"HTTP/1.1: answers that nobody reads": h1Pipeline,
		"HTTP/1.1: requests with many lines":  h1Lines(110_000, true),
		"HTTP/2: no window, large headers":    h2Streams(100, 60_000, http2.Setting{ID: http2.SettingInitialWindowSize}),
		"HTTP/2: many short headers":          h2ShortHeaders,
		"HTTP/2: pings that nobody reads":     h2Pings,
		"HTTP/2: settings that nobody reads":  h2Settings,
		"HTTP/2: headers that go on and on":   h2Continuation,
		"HTTP/2: streams reset at once":       h2Resets,
		"HTTP/2: bodies that nobody wants":    h2Bodies,
		"HTTP/2: frames of the largest size":  h2LargeFrames,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, c, _ := newTLSEdge(t, smallMemory)
			bucket := newBucket(t, c)
			c.put(t, bucket, "k", testData(5000, 130), nil).wantStatus(t, http.StatusOK)
			before := memoryOf(t, e.seal.pid())
			var all sync.WaitGroup
			spoken := make(map[string]int)
			var mu sync.Mutex
			for range hostileConnections {
				raw := e.dial(t, "")
				all.Go(func() {
					if attack == nil {
						send(raw, "\x16\x03\x01\x40\x00"+strings.Repeat("a", 16000))
						return
					}
					conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols(name)})
					_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
					if conn.Handshake() != nil {
						return
					}
					mu.Lock()
					spoken[conn.ConnectionState().NegotiatedProtocol]++
					mu.Unlock()
					if strings.HasPrefix(name, "HTTP/2") && conn.ConnectionState().NegotiatedProtocol != "h2" {
						h1Lines(110_000, false)(conn) // the next best
						return
					}
					attack(conn)
				})
			}
			sent := make(chan struct{})
			go func() { all.Wait(); close(sent) }()
			e.servedWhile(t, c, bucket, sent)
			after := memoryOf(t, e.seal.pid())
			t.Logf("resident %d MiB before, at most %d MiB: %d KiB for each connection; by ALPN %v",
				before.rss>>20, after.peak>>20, (after.peak-before.rss)/hostileConnections>>10, spoken)
			if after.peak > smallContainer {
				t.Errorf("the server took %d MiB", after.peak>>20)
			}
		})
	}
}

func protocols(attack string) []string {
	if strings.HasPrefix(attack, "HTTP/2") {
		return []string{"h2", "http/1.1"}
	}
	return []string{"http/1.1"}
}

// servedWhile asks for an object, signed, over new connections, until all is sent
// and some seconds longer.
func (e *edge) servedWhile(t *testing.T, c *client, bucket string, sent <-chan struct{}) {
	t.Helper()
	fresh := c.as(rootUser, rootPassword)
	transport := c.http.Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	fresh.http = &http.Client{Transport: transport}
	var end <-chan time.Time
	worst := time.Duration(0)
	for {
		select {
		case <-sent:
			sent, end = nil, time.After(3*time.Second)
		case <-end:
			t.Logf("signed requests took at most %v", worst)
			return
		case <-e.seal.done:
			t.Fatal("the server has ended")
		default:
		}
		began := time.Now()
		a, err := fresh.try(request{method: http.MethodGet, bucket: bucket, key: "k"})
		if took := time.Since(began); took > worst {
			worst = took
		}
		if err != nil {
			t.Fatalf("a signed request: %v", err)
		}
		if a.status != http.StatusOK {
			t.Fatalf("a signed request: %d %.300s", a.status, a.body)
		}
		if worst > 10*time.Second {
			t.Fatalf("a signed request took %v", worst)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// h1Lines sends the shortest lines that headers can have, each of another name.
func h1Lines(size int, whole bool) func(net.Conn) {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	var b bytes.Buffer
	b.WriteString("GET /bucket/key HTTP/1.1\r\nHost: x\r\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%c%c%c:\n", letters[i%36], letters[i/36%36], letters[i/36/36%36])
	}
	if whole {
		b.WriteString("\r\n")
	}
	return func(conn net.Conn) { _, _ = conn.Write(b.Bytes()) }
}

func h1LongLine(conn net.Conn) {
	send(conn, "GET /bucket/key HTTP/1.1\r\nHost: x\r\nA: "+strings.Repeat("a", 125_000))
}

// h1Pipeline sends requests and reads no answer.
func h1Pipeline(conn net.Conn) {
	request := "GET /bucket/key HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 50_000) + "\r\n\r\n"
	for range 200 {
		if !send(conn, request) {
			return
		}
	}
}

// h2Conn begins HTTP/2 and reads nothing.
func h2Conn(conn net.Conn, settings ...http2.Setting) *http2.Framer {
	send(conn, http2.ClientPreface)
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings(settings...)
	return f
}

// h2Block encodes the headers of a request.
func h2Block(method string, more ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: method}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "x"}, {Name: ":path", Value: "/bucket/key"},
	}, more...) {
		f.Sensitive = true // it goes into no table
		_ = enc.WriteField(f)
	}
	return b.Bytes()
}

func h2Headers(f *http2.Framer, stream uint32, block []byte, end bool) error {
	const piece = 16 << 10
	first := block[:min(piece, len(block))]
	block = block[len(first):]
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: end, EndHeaders: len(block) == 0})
	for err == nil && len(block) > 0 {
		next := block[:min(piece, len(block))]
		block = block[len(next):]
		err = f.WriteContinuation(stream, len(block) == 0, next)
	}
	return err
}

// h2Streams opens streams with large headers whose answers find no window.
func h2Streams(streams, size int, settings ...http2.Setting) func(net.Conn) {
	return func(conn net.Conn) {
		f := h2Conn(conn, settings...)
		block := h2Block("GET", hpack.HeaderField{Name: "a", Value: strings.Repeat("|", size)})
		for i := range streams {
			if h2Headers(f, uint32(2*i+1), block, true) != nil {
				return
			}
		}
	}
}

func h2ShortHeaders(conn net.Conn) {
	f := h2Conn(conn, http2.Setting{ID: http2.SettingInitialWindowSize})
	var fields []hpack.HeaderField
	for i := range 3000 {
		fields = append(fields, hpack.HeaderField{Name: fmt.Sprintf("%x", i)})
	}
	block := h2Block("GET", fields...)
	for i := range 100 {
		if h2Headers(f, uint32(2*i+1), block, true) != nil {
			return
		}
	}
}

func h2Pings(conn net.Conn) {
	f := h2Conn(conn)
	for range 2_000_000 {
		if f.WritePing(false, [8]byte{}) != nil {
			return
		}
	}
}

func h2Settings(conn net.Conn) {
	f := h2Conn(conn)
	for range 1_000_000 {
		if f.WriteSettings() != nil {
			return
		}
	}
}

func h2Continuation(conn net.Conn) {
	f := h2Conn(conn)
	block := h2Block("GET")
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
	piece := h2Block("GET", hpack.HeaderField{Name: "a", Value: strings.Repeat("|", 10_000)})[len(block):]
	for range 10_000 {
		if f.WriteContinuation(1, false, piece) != nil {
			return
		}
	}
}

func h2Resets(conn net.Conn) {
	f := h2Conn(conn, http2.Setting{ID: http2.SettingInitialWindowSize})
	block := h2Block("GET", hpack.HeaderField{Name: "a", Value: strings.Repeat("|", 60_000)})
	for i := range 2000 {
		id := uint32(2*i + 1)
		if h2Headers(f, id, block, true) != nil || f.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			return
		}
	}
}

// h2Bodies sends as much of bodies as the server's windows let it.
func h2Bodies(conn net.Conn) {
	f := h2Conn(conn, http2.Setting{ID: http2.SettingInitialWindowSize})
	block := h2Block("PUT", hpack.HeaderField{Name: "expect", Value: "100-continue"})
	for i := range 32 {
		if h2Headers(f, uint32(2*i+1), block, false) != nil {
			return
		}
	}
	for i := range 64 {
		if f.WriteData(uint32(2*(i%32)+1), false, make([]byte, 16<<10)) != nil {
			return
		}
	}
}

func h2LargeFrames(conn net.Conn) {
	f := h2Conn(conn)
	for range 4 {
		if f.WriteRawFrame(0x77, 0, 0, make([]byte, 1<<20-1)) != nil {
			return
		}
	}
}
