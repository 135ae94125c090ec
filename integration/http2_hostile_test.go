package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a connection by HTTP/2 whose frames the test writes itself.
type frames struct {
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder

	mu       sync.Mutex
	statuses map[uint32]string // of streams
	bytes    map[uint32]int    // of bodies
	resets   map[uint32]http2.ErrCode
	gone     bool // by the server's word, or its connection's end
}

// dialFrames connects and sends settings. With deaf, it never reads.
func (e *edge) dialFrames(t *testing.T, deaf bool, settings ...http2.Setting) *frames {
	t.Helper()
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", e.seal.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Fatal("no HTTP/2")
	}
	f := &frames{
		Conn: conn, Framer: http2.NewFramer(conn, conn),
		statuses: make(map[uint32]string), bytes: make(map[uint32]int), resets: make(map[uint32]http2.ErrCode),
	}
	f.AllowIllegalWrites = true
	f.encoder = hpack.NewEncoder(&f.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	if !deaf {
		go f.listen()
	}
	return f
}

// listen notes what the server says. It returns credit for nothing.
func (f *frames) listen() {
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.ReadFrame()
		f.mu.Lock()
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			f.statuses[frame.StreamID] = frame.PseudoValue("status")
		case *http2.DataFrame:
			f.bytes[frame.StreamID] += len(frame.Data())
		case *http2.RSTStreamFrame:
			f.resets[frame.StreamID] = frame.ErrCode
		case *http2.GoAwayFrame:
			f.gone = true
		}
		if err != nil {
			var stream http2.StreamError
			if f.gone = f.gone || !errors.As(err, &stream); f.gone {
				f.mu.Unlock()
				return
			}
		}
		f.mu.Unlock()
	}
}

// outcome waits until a stream, or the connection, has an answer or an end.
func (f *frames) outcome(stream uint32) string {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		f.mu.Lock()
		status, answered := f.statuses[stream]
		code, reset := f.resets[stream]
		gone := f.gone
		f.mu.Unlock()
		switch {
		case answered:
			return status
		case reset:
			return code.String()
		case gone:
			return "gone"
		}
	}
	return "silence"
}

// fields encodes a block of header fields: pairs of names and values, in their order.
func (f *frames) fields(pairs ...string) []byte {
	f.block.Reset()
	for i := 0; i+1 < len(pairs); i += 2 {
		_ = f.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(f.block.Bytes())
}

// signed are the fields of a signed request.
func (e *edge) signed(t *testing.T, r request) []string {
	t.Helper()
	req, err := e.client().build(r)
	if err != nil {
		t.Fatal(err)
	}
	pairs := []string{":method", req.Method, ":scheme", "https", ":authority", e.seal.addr, ":path", req.URL.Opaque}
	for name, values := range req.Header {
		pairs = append(pairs, strings.ToLower(name), values[0])
	}
	return slices.Clip(pairs) // tests append to it, each for itself
}

// set returns pairs with another value of a field.
func set(pairs []string, name, value string) []string {
	pairs = slices.Clip(slices.Clone(pairs))
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] == name {
			pairs[i+1] = value
		}
	}
	return pairs
}

// What HTTP/2 could carry that means something else in HTTP/1.1 never reaches MinIO.
func TestNoRequestIsSmuggledByHTTP2(t *testing.T) {
	t.Parallel()
	e, c, _ := newTLSEdge(t)
	bucket := newBucket(t, c)
	e.settles(t)
	put := e.signed(t, request{method: http.MethodPut, bucket: bucket, key: "outer"})
	inner := strings.ReplaceAll(e.head(t, request{method: http.MethodPut, bucket: bucket, key: "inner"}), "\r\n\r\n", "\r\n") + "Content-Length: 0\r\n\r\n"
	for _, tc := range []struct {
		name, data string
		fields     []string
		stored     bool
	}{
		{"as it should be", "abc", append(put, "content-length", "3"), true},
		{"no length", "abc", put, false}, // S3 wants it
		{"a length that is less", "abc", append(put, "content-length", "2"), false},
		{"a length of nothing", inner, append(put, "content-length", "0"), false},
		{"a length that is more", "abc", append(put, "content-length", "4"), false},
		{"two lengths", "abc", append(put, "content-length", "3", "content-length", "4"), false},
		{"a length with a sign", "abc", append(put, "content-length", "+3"), false},
		{"a length that is none", "abc", append(put, "content-length", "x"), false},
		{"a coding", "0\r\n\r\n" + inner, append(put, "transfer-encoding", "chunked"), false},
		{"a connection", "abc", append(put, "content-length", "3", "connection", "content-length"), false},
		{"an upgrade", "abc", append(put, "content-length", "3", "upgrade", "h2c"), false},
		{"a name with a capital", "abc", append(put, "content-length", "3", "Transfer-Encoding", "chunked"), false},
		{"a name with a colon", "abc", append(put, "content-length", "3", "x: y\r\nz", "a"), false},
		{"a name with a blank", "abc", append(put, "content-length", "3", "transfer-encoding ", "chunked"), false},
		{"a value with line ends", "abc", append(put, "content-length", "3", "x", "y\r\n\r\n"+inner), false},
		{"a value with NUL", "abc", append(put, "content-length", "3", "x", "y\x00"), false},
		{"a path with line ends", "abc", append(set(put, ":path", "/"+bucket+"/outer HTTP/1.1\r\nHost: x\r\n\r\n"+inner), "content-length", "3"), false},
		{"a method with line ends", "abc", append(set(put, ":method", "PUT /"+bucket+"/inner HTTP/1.1\r\nX: y"), "content-length", "3"), false},
		{"an authority with line ends", "abc", append(set(put, ":authority", "x\r\nX: y"), "content-length", "3"), false},
		{"two paths", "abc", append(append([]string{":path", "/" + bucket + "/inner"}, put...), "content-length", "3"), false},
		{"a pseudo field at the end", "abc", append(put, "content-length", "3", ":path", "/"+bucket+"/inner"), false},
		{"a pseudo field that is none", "abc", append([]string{":x", "y"}, put...), false},
		{"no path", "abc", append(put[:6:6], put[8:]...), false},
		{"an extended CONNECT", "abc", append([]string{":protocol", "websocket"}, set(put, ":method", "CONNECT")...), false},
	} {
		mark := e.liar.mark()
		f := e.dialFrames(t, false)
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.fields(tc.fields...), EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
		_ = f.WriteData(1, true, []byte(tc.data)) // the connection may have ended
		got := f.outcome(1)
		f.Close()
		if (got == "200") != tc.stored || got == "silence" {
			t.Errorf("%s: %s", tc.name, got)
		}
		for _, r := range e.liar.since(mark, "/"+bucket+"/") {
			if r.method == http.MethodPut && !tc.stored || strings.Contains(r.path, "inner") || r.header.Get("X") != "" {
				t.Errorf("%s: MinIO was asked %v", tc.name, r)
			}
		}
		wantStatus := http.StatusNotFound
		if tc.stored {
			wantStatus = http.StatusOK
		}
		c.do(t, request{method: http.MethodGet, bucket: bucket, key: "outer"}).wantStatus(t, wantStatus)
		c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "outer"})
	}
}

// hostileFrames are what a connection by HTTP/2 can be made to cost. Each does its worst, and
// returns when the server has ended the connection or after so many frames.
func (e *edge) hostileFrames(t *testing.T, bucket string) map[string]func() *frames {
	get := e.signed(t, request{method: http.MethodGet, bucket: bucket, key: "large"})
	live := []string{":method", "GET", ":scheme", "https", ":authority", "x", ":path", "/minio/health/live"}
	const many = 100_000
	flood := func(f *frames, write func(i int) error) *frames {
		for i := range many {
			_ = f.SetWriteDeadline(time.Now().Add(2 * time.Second))
			if write(i) != nil {
				break
			}
		}
		return f
	}
	stream := func(i int) uint32 { return uint32(2*i + 1) } //nolint:gosec // a small number
	open := func(f *frames, id uint32, end bool, pairs []string) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.fields(pairs...), EndHeaders: true, EndStream: end})
	}
	return map[string]func() *frames{
		"rapid reset": func() *frames {
			f := e.dialFrames(t, false)
			return flood(f, func(i int) error {
				return errors.Join(open(f, stream(i), true, get), f.WriteRSTStream(stream(i), http2.ErrCodeCancel))
			})
		},
		"resets that the server makes": func() *frames { // by a window that overflows
			f := e.dialFrames(t, false)
			return flood(f, func(i int) error {
				return errors.Join(open(f, stream(i), true, get), f.WriteWindowUpdate(stream(i), 1<<31-1))
			})
		},
		"settings to somebody deaf": func() *frames {
			f := e.dialFrames(t, true)
			return flood(f, func(int) error { return f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}) })
		},
		"pings to somebody deaf": func() *frames {
			f := e.dialFrames(t, true)
			return flood(f, func(int) error { return f.WritePing(false, [8]byte{1}) })
		},
		"header tables that change": func() *frames {
			f := e.dialFrames(t, true)
			return flood(f, func(i int) error {
				return f.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(i%2) << 16}) //nolint:gosec // 0 or 64 KiB
			})
		},
		"continuations": func() *frames {
			f := e.dialFrames(t, false)
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.fields(live...)})
			return flood(f, func(i int) error { return f.WriteContinuation(1, false, f.fields(fmt.Sprintf("x-%d", i), "y")) })
		},
		"empty continuations": func() *frames {
			f := e.dialFrames(t, false)
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.fields(live...)})
			return flood(f, func(int) error { return f.WriteContinuation(1, false, nil) })
		},
		"a header bomb": func() *frames { // one entry of the table, named again and again by one byte
			f := e.dialFrames(t, false)
			bomb := append(f.fields(append(live, "x", strings.Repeat("a", 4000))...), bytes.Repeat([]byte{0x80 | 62}, 15_000)...)
			for i := range 64 {
				_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream(i), BlockFragment: bomb, EndHeaders: true, EndStream: true})
			}
			return f
		},
		"half-open streams": func() *frames {
			f := e.dialFrames(t, false)
			pairs := e.signed(t, request{method: http.MethodPut, bucket: bucket, key: "never"})
			for i := range 64 {
				_ = open(f, stream(i), false, append(pairs, "content-length", "1000000"))
				_ = f.WriteData(stream(i), false, []byte("abc"))
			}
			return f
		},
		"a window that never opens": func() *frames {
			f := e.dialFrames(t, false, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			for i := range 32 {
				_ = open(f, stream(i), true, get)
			}
			return f
		},
		"a window that opens by a byte": func() *frames {
			f := e.dialFrames(t, false, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
			for i := range 32 {
				_ = open(f, stream(i), true, get)
			}
			return flood(f, func(i int) error { return f.WriteWindowUpdate(stream(i%32), 1) })
		},
		"frames without data": func() *frames {
			f := e.dialFrames(t, false)
			_ = open(f, 1, false, append(e.signed(t, request{method: http.MethodPut, bucket: bucket, key: "never"}), "content-length", "10"))
			return flood(f, func(int) error { return f.WriteData(1, false, nil) })
		},
		"data that is padding": func() *frames {
			f := e.dialFrames(t, false)
			_ = open(f, 1, false, append(e.signed(t, request{method: http.MethodPut, bucket: bucket, key: "never"}), "content-length", "10"))
			pad := make([]byte, 255)
			return flood(f, func(int) error { return f.WriteDataPadded(1, false, nil, pad) })
		},
		"priorities": func() *frames {
			f := e.dialFrames(t, false)
			return flood(f, func(i int) error { return f.WritePriority(stream(i), http2.PriorityParam{StreamDep: stream(i + 1)}) })
		},
		"frames of an unknown kind": func() *frames {
			f := e.dialFrames(t, false)
			return flood(f, func(int) error { return f.WriteRawFrame(0xee, 0, 0, []byte("nothing")) })
		},
		"a frame that is too large": func() *frames {
			f := e.dialFrames(t, false)
			head := make([]byte, 9)
			binary.BigEndian.PutUint32(head, 1<<24-1<<8)
			_, _ = f.Write(head)
			return f
		},
	}
}

// One connection by HTTP/2, whatever it does, holds memory and goroutines within bounds, gives
// them back, and keeps nobody else from being served.
func TestHostileHTTP2IsBounded(t *testing.T) {
	t.Parallel()
	e, c, _ := newTLSEdge(t, "BUCKETSEAL_CONFIG="+writeFile(t, t.TempDir(), "stall.yml", []byte("limits: {stall: 3s, idle: 3s, read_header: 3s}\n")))
	bucket := newBucket(t, c)
	c.put(t, bucket, "large", testData(8<<20, 5), nil).wantStatus(t, http.StatusOK)
	e.settles(t)
	e.servedMeanwhileBy(t, c)
	before, cpu := memoryOf(t, e.seal.pid()), e.processSeconds(t)
	for name, attack := range e.hostileFrames(t, bucket) {
		began, streams := time.Now(), e.metric(t, "go_goroutines")
		f := attack()
		most := e.metric(t, "go_goroutines")
		f.mu.Lock()
		t.Logf("%s: %v, %.1f s of processor time, %v goroutines more, gone %v, %d answers, %d resets", name, time.Since(began).Round(time.Millisecond),
			e.processSeconds(t)-cpu, most-streams, f.gone, len(f.statuses), len(f.resets))
		f.mu.Unlock()
		cpu = e.processSeconds(t)
		if most > streams+400 {
			t.Errorf("%s: %v goroutines, %v before", name, most, streams)
		}
		if strings.HasPrefix(name, "half-open") || strings.HasPrefix(name, "a window") {
			waitUntil(t, "what stalls has ended", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") < 8 })
		}
		f.Close()
	}
	if after := memoryOf(t, e.seal.pid()); after.rss > before.rss+(96<<20) {
		t.Errorf("memory grew from %d to %d MiB", before.rss>>20, after.rss>>20)
	}
	c.get(t, bucket, "large", nil).wantStatus(t, http.StatusOK).wantBody(t, testData(8<<20, 5))
	c.head(t, bucket, "never", nil).wantStatus(t, http.StatusNotFound)
	e.raw().head(t, bucket, "never", nil).wantStatus(t, http.StatusNotFound)
}
