package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// outcome is what a handler saw.
type outcome struct {
	read int64
	err  error
	took time.Duration
}

// patientServer serves a handler that reads bodies of POST whole, answers GET with
// as much as is taken, and refuses PUT unread.
func patientServer(t *testing.T, stall time.Duration, http2 bool) (*httptest.Server, <-chan outcome) {
	t.Helper()
	seen := make(chan outcome, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, r, finish := Patience{Stall: stall}.Apply(w, r)
		defer finish()
		began := time.Now()
		var o outcome
		switch r.Method {
		case http.MethodPost:
			o.read, o.err = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusTeapot)
		case http.MethodGet:
			piece := make([]byte, 128<<10)
			for o.err == nil && o.read < 1<<30 {
				_, o.err = w.Write(piece)
				o.read += int64(len(piece))
			}
		default:
			w.WriteHeader(http.StatusForbidden)
			_, o.err = w.Write([]byte("no"))
		}
		o.took = time.Since(began)
		seen <- o
	}))
	s.EnableHTTP2 = http2
	if http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s, seen
}

// raw sends a request's beginning over a connection.
func raw(t *testing.T, s *httptest.Server, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestABodyThatStallsIsGivenUp(t *testing.T) {
	t.Parallel()
	const stall = 300 * time.Millisecond
	s, seen := patientServer(t, stall, false)
	conn := raw(t, s, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
	o := <-seen
	if !errors.Is(o.err, ErrStalled) || o.read != 3 || o.took < stall || o.took > 20*time.Second {
		t.Errorf("%+v", o)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusTeapot || !resp.Close {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestABodyThatDripsIsGivenUp(t *testing.T) {
	t.Parallel()
	s, seen := patientServer(t, 300*time.Millisecond, false)
	conn := raw(t, s, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	go func() {
		for {
			if _, err := conn.Write([]byte("a")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if o := <-seen; !errors.Is(o.err, ErrStalled) || o.read < 2 {
		t.Errorf("%+v", o)
	}
}

func TestABodyThatComesSlowlyButSteadilyIsRead(t *testing.T) {
	t.Parallel()
	const pieces = 20
	s, seen := patientServer(t, time.Second, false)
	conn := raw(t, s, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", pieces*progress))
	for range pieces { // all together for longer than the limit
		if _, err := conn.Write(make([]byte, progress)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(75 * time.Millisecond)
	}
	if o := <-seen; o.err != nil || o.read != pieces*progress {
		t.Errorf("%+v", o)
	}
	// The connection serves on, although deadlines were set on it.
	reader := bufio.NewReader(conn)
	for range 2 {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != http.StatusTeapot {
			t.Fatalf("%v, %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		time.Sleep(1100 * time.Millisecond)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
	}
}

// Nobody waits for a client while the handler does something else.
func TestTimeInWhichTheClientIsNotWaitedForDoesNotCount(t *testing.T) {
	t.Parallel()
	const stall = 150 * time.Millisecond
	for _, http2 := range []bool{false, true} {
		done := make(chan error, 1)
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, r, finish := Patience{Stall: stall}.Apply(w, r)
			defer finish()
			var err error
			for range 4 {
				if _, err = io.CopyN(io.Discard, r.Body, 100); err != nil {
					break
				}
				time.Sleep(2 * stall)
			}
			for range 4 {
				if err == nil || err == io.EOF {
					_, err = w.Write([]byte("x"))
				}
				time.Sleep(2 * stall)
			}
			done <- err
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		t.Cleanup(s.Close)
		resp, err := s.Client().Post(s.URL, "", strings.NewReader(strings.Repeat("a", 400)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if handler := <-done; err != nil || string(body) != "xxxx" || handler != nil {
			t.Errorf("http2 %v: %q, %v, handler %v", http2, body, err, handler)
		}
	}
}

func TestAnAnswerThatNobodyTakesIsGivenUp(t *testing.T) {
	t.Parallel()
	s, seen := patientServer(t, 300*time.Millisecond, false)
	raw(t, s, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if o := <-seen; !errors.Is(o.err, ErrStalled) {
		t.Errorf("%+v", o)
	}
}

func TestAnAnswerThatNobodyTakesIsGivenUpHTTP2(t *testing.T) {
	t.Parallel()
	s, seen := patientServer(t, 300*time.Millisecond, true)
	resp, err := s.Client().Get(s.URL)
	if err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	if o := <-seen; !errors.Is(o.err, ErrStalled) {
		t.Errorf("%+v", o)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("the client takes what it got for whole")
	}
}

func TestABodyThatStallsIsGivenUpHTTP2(t *testing.T) {
	t.Parallel()
	s, seen := patientServer(t, 300*time.Millisecond, true)
	body, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = w.Write([]byte("abc")) }()
	resp, err := s.Client().Post(s.URL, "", body)
	if err != nil || resp.StatusCode != http.StatusTeapot {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	if o := <-seen; !errors.Is(o.err, ErrStalled) || o.read != 3 {
		t.Errorf("%+v", o)
	}
}

// What is refused unread is answered soon, also if its client does not go on.
func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	const stall = 300 * time.Millisecond
	s, seen := patientServer(t, stall, false)
	for _, tc := range []struct{ name, text string }{
		{"stalls", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"},
		{"much to come", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nabc"},
		{"waits to go on", "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"},
		{"of unknown length", "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"},
	} {
		conn := raw(t, s, tc.text)
		o := <-seen
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		reader := bufio.NewReader(conn)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != http.StatusForbidden || !resp.Close || o.took > 10*time.Second {
			t.Fatalf("%s: %v, %v, after %v", tc.name, resp, err, o.took)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		began := time.Now()
		if _, err := reader.ReadByte(); err == nil || time.Since(began) > 20*time.Second {
			t.Errorf("%s: the connection stays open: %v after %v", tc.name, err, time.Since(began))
		}
	}
}

func TestALimitedConnectionStillLingers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limited := Listen(l, Connections{})
	defer limited.Close()
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			_, _ = c.Write([]byte("after"))
			_ = c.Close()
		}
	}()
	c, err := limited.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(c); err != nil || string(got) != "after" {
		t.Errorf("%q, %v", got, err)
	}
	_ = c.Close()
	_ = c.Close()
	if limited.open != 0 {
		t.Errorf("%d are counted", limited.open)
	}
	// net/http asks tls.Conn, which asks the connection below.
	if _, ok := any(tls.Server(c, nil)).(interface{ CloseWrite() error }); !ok {
		t.Error("TLS connections do not linger")
	}
}

// An error is not waited for as long as an object.
func TestAnErrorMustBeTakenWithinSeconds(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]time.Duration{http.StatusOK: time.Minute, http.StatusForbidden: refusal, http.StatusServiceUnavailable: refusal} {
		w, _, _ := Patience{Stall: time.Minute}.Apply(deadlineWriter{}, &http.Request{})
		if w.WriteHeader(status); w.(*patientWriter).stall != want {
			t.Errorf("%d: %v", status, w.(*patientWriter).stall)
		}
	}
}
