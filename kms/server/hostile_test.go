package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
)

// childVariable marks a process of this test binary that is only a server.
const childVariable = "BUCKETSEAL_TEST_KEY_SERVER"

// TestServerForAttacks is no test: it is the server that attackChild starts. It
// answers each line of its input with what it holds in memory.
func TestServerForAttacks(t *testing.T) {
	if os.Getenv(childVariable) == "" {
		t.Skip("started by TestMemoryOf...")
	}
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) {
		o.ErrorLog, o.AuditLog = io.Discard, io.Discard // the kit would keep them in memory
		o.Connections = server.Connections{Most: 200, Strangers: strangersAtOnce, PerAddress: 32}
	})
	fmt.Printf("server %s %s\n", strings.TrimPrefix(k.url, "https://"), k.user.Reveal())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		runtime.GC()
		runtime.GC() // what finalizers and pools let go of
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Printf("memory %d\n", m.HeapAlloc+m.StackInuse)
	}
}

// attackChild is a server in a process of its own.
type attackChild struct {
	address string
	user    identity.APIKey
	in      io.Writer
	out     *bufio.Scanner
}

func startChild(t *testing.T) *attackChild {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerForAttacks$", "-test.v") //nolint:gosec // this binary
	cmd.Env = append(os.Environ(), childVariable+"=1", "GOMEMLIMIT=64MiB")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	c := &attackChild{in: in, out: bufio.NewScanner(out)}
	fields := c.line(t, "server ")
	c.address = fields[0]
	if c.user, err = identity.ParseAPIKey(fields[1]); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *attackChild) line(t *testing.T, prefix string) []string {
	t.Helper()
	for c.out.Scan() {
		if rest, ok := strings.CutPrefix(c.out.Text(), prefix); ok {
			return strings.Fields(rest)
		}
	}
	t.Fatalf("the server ended: %v", c.out.Err())
	return nil
}

// memory returns what the server holds, in bytes.
func (c *attackChild) memory(t *testing.T) int64 {
	t.Helper()
	if _, err := io.WriteString(c.in, "?\n"); err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(c.line(t, "memory ")[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hostile is a connection by HTTP/2 that takes nothing.
type hostile struct {
	*tls.Conn
	framer *http2.Framer
	err    error
}

// dialHostile connects from an address of this machine and allows the server no
// byte of any answer's body.
func dialHostile(address, from string, cert tls.Certificate) (*hostile, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{cert}}) //nolint:gosec // see kit.as
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	h := &hostile{Conn: conn, framer: http2.NewFramer(conn, conn)}
	_, h.err = io.WriteString(conn, http2.ClientPreface)
	h.write(func() error {
		return h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	})
	return h, h.err
}

func (h *hostile) write(f func() error) {
	if h.err == nil {
		h.err = f()
	}
}

// headers returns a block whose fields count size bytes, most of them overhead:
// that is what takes most memory.
func headers(size int) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	left := uint32(size) //nolint:gosec // a test's small number
	field := func(name, value string) {
		f := hpack.HeaderField{Name: name, Value: value}
		if f.Size() <= left {
			left -= f.Size()
			_ = encoder.WriteField(f)
		}
	}
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", "x"}, {":path", "/v1/key/generate/my-key"}, {"content-length", "1000000"}} {
		field(f[0], f[1])
	}
	for i := 0; left > 64; i++ {
		field(fmt.Sprintf("%x", i), "")
	}
	return block.Bytes()
}

// fill opens streams with all the headers that fit and some of a body.
func (h *hostile) fill(streams, size int) {
	block := headers(size)
	for i := range streams {
		id := uint32(2*i + 1) //nolint:gosec // a test's small number
		h.write(func() error {
			return h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
		})
		h.write(func() error { return h.framer.WriteData(id, false, []byte(`{"context":"`)) })
	}
}

// ping makes the server queue answers that nobody takes.
func (h *hostile) ping(times int) {
	for range times {
		h.write(func() error { return h.framer.WritePing(false, [8]byte{}) })
	}
}

const (
	strangersAtOnce     = 64
	boundPerStranger    = server.StrangerMemory
	boundPerKnownClient = server.ConnectionMemory
)

func TestMemoryOfHostileStrangersIsBounded(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("needs the addresses 127.0.0.0/8")
	}
	child := startChild(t)
	stranger := certOf(t, identity.New())
	before := child.memory(t)
	attack := func(kind string, do func(h *hostile)) {
		var last int64
		open := make([]*hostile, 0, 2*strangersAtOnce)
		for i := range 2 * strangersAtOnce { // twice as many as may be
			h, err := dialHostile(child.address, fmt.Sprintf("127.0.1.%d", 1+i/16), stranger)
			if err != nil {
				t.Fatalf("%s: connection %d: %v", kind, i, err)
			}
			do(h)
			open = append(open, h)
		}
		last = child.memory(t) - before
		t.Logf("%s: %d connections hold %d KiB, %d KiB for each of the %d that may be open", kind, len(open), last>>10, last/strangersAtOnce>>10, strangersAtOnce)
		if last > strangersAtOnce*boundPerStranger {
			t.Errorf("%s: %d bytes, want at most %d", kind, last, strangersAtOnce*boundPerStranger)
		}
		for _, h := range open {
			_ = h.Close()
		}
	}
	attack("streams", func(h *hostile) { h.fill(250, 4<<10) })
	attack("streams with long headers", func(h *hostile) { h.fill(250, 60<<10) })
	attack("pings", func(h *hostile) { h.ping(4000) })
	attack("idle", func(*hostile) {})
	attack("resets", func(h *hostile) {
		for i := range 200 {
			id := uint32(2*i + 1) //nolint:gosec // a test's small number
			h.write(func() error {
				return h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: headers(4 << 10), EndHeaders: true})
			})
			h.write(func() error { return h.framer.WriteRSTStream(id, http2.ErrCodeCancel) })
		}
	})
	attack("continuations", func(h *hostile) {
		h.write(func() error {
			return h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(2 << 10)})
		})
		for range 500 {
			h.write(func() error { return h.framer.WriteContinuation(1, false, headers(1<<10)) })
		}
	})
	unfinishedHandshakes(t, child, before)
	// Meanwhile somebody with rights is served.
	k := &kit{t: t, url: "https://" + child.address}
	if a := k.do(k.asKey(child.user), "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// unfinishedHandshakes sends of each handshake as much as fits.
func unfinishedHandshakes(t *testing.T, child *attackChild, before int64) {
	t.Helper()
	hello := make([]byte, 5+16<<10) // a record of a longer ClientHello
	for i := range 2 * strangersAtOnce {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fmt.Sprintf("127.0.3.%d", 1+i/16))}}
		conn, err := dialer.Dial("tcp", child.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		copy(hello, []byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0})
		for n := range 3 {
			if n > 0 {
				copy(hello[5:], make([]byte, 4))
			}
			if _, err := conn.Write(hello); err != nil {
				break
			}
		}
	}
	held := child.memory(t) - before
	t.Logf("unfinished handshakes: %d KiB, %d KiB for each that may be open", held>>10, held/strangersAtOnce>>10)
	if held > strangersAtOnce*boundPerStranger {
		t.Errorf("unfinished handshakes: %d bytes", held)
	}
}

func TestMemoryOfAHostileClientWithRightsIsBounded(t *testing.T) {
	t.Parallel()
	child := startChild(t)
	user := certOf(t, child.user)
	before := child.memory(t)
	const connections = 20
	for i := range connections {
		h, err := dialHostile(child.address, "127.0.0.1", user)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer h.Close()
		h.fill(32, 4<<10)
	}
	time.Sleep(500 * time.Millisecond)
	held := child.memory(t) - before
	t.Logf("%d connections hold %d KiB, %d KiB each", connections, held>>10, held/connections>>10)
	if held > connections*boundPerKnownClient {
		t.Errorf("%d bytes, want at most %d", held, connections*boundPerKnownClient)
	}
}
