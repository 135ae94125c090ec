package link

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

// echo is a server that says each line back.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func front(t *testing.T, links ...*Link) *Front {
	t.Helper()
	f, err := Listen("127.0.0.1:0", links...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// line sends a line and returns what comes back within the time.
func line(c net.Conn, within time.Duration) (string, error) {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, "hello\n"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func dial(t *testing.T, f *Front) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestLinkInOrderCarriesBothWays(t *testing.T) {
	t.Parallel()
	c := dial(t, front(t, New("a>b", echo(t), 1)))
	if got, err := line(c, 5*time.Second); got != "hello\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_ = c.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(c); len(rest) > 0 || err != nil {
		t.Errorf("after the end of one direction: %q, %v", rest, err)
	}
}

func TestFaultsStopWhatIsCarriedAndHealingBringsItBack(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Fault{
		"up": {StallUp: true}, "down": {StallDown: true}, "both": {StallUp: true, StallDown: true}, "slow": {Rate: 1}, "late": {Delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := New("a>b", echo(t), 1)
			c := dial(t, front(t, l))
			if _, err := line(c, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			l.Set(f)
			if got, err := line(c, 200*time.Millisecond); !isTimeout(err) {
				t.Fatalf("got %q, %v in spite of the fault", got, err)
			}
			l.Set(Fault{})
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			if got, err := bufio.NewReader(c).ReadString('\n'); got != "hello\n" || err != nil {
				t.Errorf("healed, it gives %q, %v", got, err)
			}
		})
	}
}

func TestRefusedLinkEndsConnectionsThatAreOpenToo(t *testing.T) {
	t.Parallel()
	l := New("a>b", echo(t), 1)
	f := front(t, l)
	c := dial(t, f)
	if _, err := line(c, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	l.Set(Fault{Refuse: true})
	if got, err := line(c, 5*time.Second); err == nil || isTimeout(err) {
		t.Errorf("an open connection gives %q, %v", got, err)
	}
	if c, err := net.Dial("tcp", f.Address()); err == nil { // it may be reset before it is there
		if got, err := line(c, 5*time.Second); err == nil || isTimeout(err) {
			t.Errorf("a new connection gives %q, %v", got, err)
		}
		_ = c.Close()
	}
	l.Set(Fault{})
	if _, err := line(dial(t, f), 5*time.Second); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func TestBreakingLinkBreaksOffSometimes(t *testing.T) {
	t.Parallel()
	l := New("a>b", echo(t), 1)
	f := front(t, l)
	l.Set(Fault{Break: 0.3})
	broken := 0
	for range 50 {
		if _, err := line(dial(t, f), 5*time.Second); err != nil {
			broken++
		}
	}
	if broken == 0 || broken == 50 {
		t.Errorf("%d of 50 connections broke off", broken)
	}
}

func TestFrontPassesOverServersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	var links []*Link
	for i := range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
		t.Cleanup(s.Close)
		links = append(links, New("a>b", strings.TrimPrefix(s.URL, "http://"), 1))
	}
	f := front(t, links...)
	client := &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func() string {
		answer, err := client.Get("http://" + f.Address())
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		return string(body)
	}
	seen := map[string]bool{}
	for range 12 {
		seen[ask()] = true
	}
	if len(seen) != 3 {
		t.Errorf("all in order, %v answer", seen)
	}
	links[0].Set(Fault{Refuse: true})
	links[1].Set(Fault{StallUp: true, StallDown: true})
	time.Sleep(healthPace + healthLimit + healthPace)
	for range 12 {
		if got := ask(); got != "2" {
			t.Fatalf("with one server that lives: %s", got)
		}
	}
}

// TestAFrontOfSecureServersKnowsThemAlive has a front ask two servers that speak TLS, one of which is
// not ready.
func TestAFrontOfSecureServersKnowsThemAlive(t *testing.T) {
	t.Parallel()
	var links []*Link
	asked := make([]chan struct{}, 2)
	for i, status := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		asked[i] = make(chan struct{}, 100)
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != healthPath {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			w.WriteHeader(status)
			asked[i] <- struct{}{}
		}))
		t.Cleanup(s.Close)
		l := New("client>server", s.Listener.Addr().String(), 1)
		l.Secure = true
		links = append(links, l)
	}
	f := front(t, links...)
	for i := range asked {
		for range 2 { // the answer to the first has been taken up when the second is asked for
			select {
			case <-asked[i]:
			case <-time.After(20 * time.Second):
				t.Fatalf("server %d was not asked", i)
			}
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for range 4 {
		answer, err := client.Get("https://" + f.Address() + healthPath)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("status %d is that of the server that is not ready", answer.StatusCode)
		}
	}
}
