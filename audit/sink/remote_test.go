package sink_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
)

var syslogForm = regexp.MustCompile(`^<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ bucketseal \d+ audit - \{"seq":\d+,`)

func TestSyslogOverDatagrams(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	socket := filepath.Join(t.TempDir(), "log")
	unix, err := net.ListenPacket("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	for address, conn := range map[string]net.PacketConn{"udp://" + udp.LocalAddr().String(): udp, "unix://" + socket: unix} {
		s, err := sink.Syslog(sink.SyslogOptions{Address: address})
		if err != nil {
			t.Fatal(err)
		}
		k := newKit(t, sink.FileOptions{})
		k.open(false, s)
		k.record(2)
		buffer := make([]byte, 64<<10)
		for range 4 {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			n, _, err := conn.ReadFrom(buffer)
			if err != nil || !syslogForm.Match(buffer[:n]) {
				t.Errorf("%s: %v, %s", address, err, buffer[:n])
			}
		}
		_ = k.log.Close()
	}
}

// A server that goes away and comes back gets all lines, counted octets before each.
func TestSyslogOverAStream(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	read := func(l net.Listener, count int) (lines []string) {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return nil
		}
		defer conn.Close()
		r := bufio.NewReader(conn)
		for len(lines) < count {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			length, err := r.ReadString(' ')
			if err != nil {
				return lines
			}
			n, _ := strconv.Atoi(strings.TrimSpace(length))
			message := make([]byte, n)
			if _, err := io.ReadFull(r, message); err != nil || !syslogForm.Match(message) {
				t.Errorf("%v: %s", err, message)
				return lines
			}
			lines = append(lines, string(message))
		}
		return lines
	}
	s, err := sink.Syslog(sink.SyslogOptions{Address: "tcp://" + address})
	if err != nil {
		t.Fatal(err)
	}
	k := newKit(t, sink.FileOptions{})
	k.open(false, s)
	k.record(3)
	k.log.Flush()
	if lines := read(listener, 5); len(lines) != 5 {
		t.Errorf("%d lines came", len(lines))
	}
	listener.Close()
	k.record(20) // into a connection that is gone, and then none
	time.Sleep(300 * time.Millisecond)
	k.record(20)
	k.log.Flush()
	if listener, err = net.Listen("tcp", address); err != nil {
		t.Skip("the port was taken meanwhile:", err)
	}
	defer listener.Close()
	if lines := read(listener, 20); len(lines) != 20 {
		t.Errorf("%d lines came after the server was back", len(lines))
	}
}

func TestSyslogAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"udp://h": "udp h:514", "tcp://h": "tcp h:601", "tls://h:1": "tls h:1", "unix:///dev/log": "unix /dev/log", "tls://[::1]": "tls [::1]:6514",
		"http://h": "", "h:514": "", "udp://": "", "udp://h/x": "", "unix://h/x": "",
	} {
		network, at, err := sink.ParseSyslog(address)
		if got := network + " " + at; (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
}

// collector is a webhook that fails until it is told not to.
type collector struct {
	mu    sync.Mutex
	fails atomic.Bool
	asked atomic.Int64
	lines []string
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	if c.fails.Load() || err != nil || r.Header.Get("Content-Type") != "application/x-ndjson" {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range strings.Lines(string(body)) {
		c.lines = append(c.lines, strings.TrimSuffix(line, "\n"))
	}
}

func (c *collector) got() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.lines...)
}

// wait waits until so many lines came.
func (c *collector) wait(t *testing.T, lines int) []string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(c.got()) < lines; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d lines came of %d", len(c.got()), lines)
		}
	}
	return c.got()
}

// A webhook that is down for long: lines wait on the disk, over a restart too, up to the
// queue's size; then a gap says which are missing; what comes, comes in order.
func TestAWebhookThatIsDownForLong(t *testing.T) {
	t.Parallel()
	c := &collector{}
	c.fails.Store(true)
	server := httptest.NewServer(c)
	defer server.Close()
	queue := filepath.Join(t.TempDir(), "queue")
	open := func() *sink.Webhook {
		w, err := sink.NewWebhook(sink.WebhookOptions{
			URL: server.URL, Queue: queue, QueueSize: 40 << 10, Retry: 5 * time.Millisecond, RetryMost: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	k := newKit(t, sink.FileOptions{})
	w := open()
	k.open(false, w)
	k.record(20)
	_ = k.log.Close()
	if w.Waiting() == 0 || c.asked.Load() < 2 {
		t.Errorf("%d bytes wait after %d tries", w.Waiting(), c.asked.Load())
	}
	w = open()
	k.open(false, w)
	for range 40 { // more than fits; batches of their own, as over an hour
		k.record(5)
		k.log.Flush()
	}
	if w.Waiting() > 40<<10 {
		t.Errorf("%d bytes wait, more than the queue may have", w.Waiting())
	}
	if k.log.Counts().Missed == 0 {
		t.Error("nothing counts what the queue did not take")
	}
	c.fails.Store(false)
	for end := time.Now().Add(10 * time.Second); w.Waiting() > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	k.record(1)
	k.log.Flush()
	k.record(1)
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	k.fine()
	lines := c.wait(t, 50)
	var before uint64
	gap := false
	for _, text := range lines {
		l, err := trail.Parse([]byte(text))
		if err != nil || l.Seq <= before {
			t.Fatalf("line %d follows line %d: %v", l.Seq, before, err)
		}
		before = l.Seq
		gap = gap || l.Kind == "gap" && l.Sink == "webhook"
	}
	if !gap {
		t.Error("no line says what the webhook did not get")
	}
	name := filepath.Join(t.TempDir(), "webhook")
	k.path = name
	k.write(append(lines[:len(lines)-1], lines[len(lines)-1]))
	text := strings.Join(lines, "\n") + "\n"
	k.write([]string{text})
	if r := k.fine(); !strings.Contains(fmt.Sprint(r.Notes), "webhook did not take the lines") {
		t.Errorf("%v", r.Notes)
	}
}

func TestAWebhookAloneCanBeRequired(t *testing.T) {
	t.Parallel()
	c := &collector{}
	c.fails.Store(true)
	server := httptest.NewServer(c)
	defer server.Close()
	w, err := sink.NewWebhook(sink.WebhookOptions{URL: server.URL, Queue: filepath.Join(t.TempDir(), "q"), QueueSize: 20 << 10, Retry: 5 * time.Millisecond, RetryMost: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.New(audit.Options{Sinks: []audit.Sink{w}, Required: true, HeadEvery: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	refused, ready := false, true
	for end := time.Now().Add(20 * time.Second); (!refused || ready) && time.Now().Before(end); { // short lines fit in longer
		refused = refused || log.Record(t.Context(), &audit.Event{Kind: audit.Request, Object: strings.Repeat("x", 500)}) != nil
		ready = log.Ready() == nil
	}
	if !refused || ready {
		t.Errorf("the queue is full: refused %t, ready %t", refused, ready)
	}
	c.fails.Store(false)
	for end := time.Now().Add(20 * time.Second); (log.Ready() != nil || w.Waiting() > 4<<10) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if err := log.Record(t.Context(), &audit.Event{Kind: audit.Request}); err != nil {
		t.Error(err)
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
