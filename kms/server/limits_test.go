package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
)

// dial opens a connection that says nothing.
func (k *kit) dial() net.Conn {
	k.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(k.url, "https://"))
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { conn.Close() })
	return conn
}

// ended says whether the server closes a connection within a time.
func ended(conn net.Conn, within time.Duration) bool {
	_ = conn.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, conn)
	var late net.Error
	return !errors.As(err, &late) || !late.Timeout()
}

func TestStrangersMakePlaceForWhoeverComes(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) {
		o.Connections = server.Connections{Most: 20, Strangers: 10, PerAddress: 5}
	})
	idle := make([]net.Conn, 8)
	for i := range idle {
		idle[i] = k.dial()
	}
	for i := range 3 {
		if !ended(idle[i], 3*time.Second) {
			t.Errorf("connection %d of one address stayed, though there are later ones", i)
		}
	}
	if ended(idle[7], 100*time.Millisecond) {
		t.Error("the last connection was closed")
	}
	k.errors.line(t, "too many of those without rights")
	if a := k.do(k.asKey(k.admin), "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestOneIdentityDoesNotHaveAllConnections(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) {
		o.Connections = server.Connections{Most: 10, PerIdentity: 4}
	})
	for range 4 {
		if a := k.do(k.asKey(k.user), "GET", "/v1/status", ""); a.StatusCode != 200 { // and stays
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	if a, err := k.try(k.asKey(k.user), "GET", "/v1/status", ""); err == nil {
		t.Errorf("a fifth connection: %d", a.StatusCode)
	}
	k.errors.line(t, "refused: its identity "+k.user.Identity().String()+" has too many")
	if a := k.do(k.asKey(k.admin), "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestHandshakeThatTakesTooLong(t *testing.T) {
	t.Parallel()
	k := start(t)
	silent, slow := k.dial(), k.dial()
	go func() {
		for _, b := range []byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3} {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}()
	if !ended(silent, 7*time.Second) || !ended(slow, 2*time.Second) {
		t.Error("still open")
	}
}

func TestStrangersConnectionEndsWithItsAnswer(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, body := range []string{"Expect: 100-continue\r\n", ""} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(k.url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{certOf(t, k.stranger)}}) //nolint:gosec // see kit.as
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Of the body nothing is asked for, and nothing waited for.
		if _, err := io.WriteString(conn, "POST /v1/key/generate/k HTTP/1.1\r\nHost: x\r\n"+body+"Content-Length: 1000\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(4 * time.Second))
		all, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 403 ") {
			t.Errorf("%q: %q, %v", body, all, err)
		}
	}
}

func TestPlacesAreNotAllOneCallers(t *testing.T) {
	t.Parallel()
	const long = 5 * time.Minute // all must be there at once, on a busy machine too
	k := start(t, func(_ *kit, c *config.Config, o *server.Options) {
		o.Connections = server.Connections{Most: 2000, Strangers: 1000, PerAddress: 500} // which are not what is tested
		c.API = map[string]config.Endpoint{"/v1/key/encrypt/": {Timeout: long}}
	})
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/my-key", "")
	user, admin := k.asKey(k.user), k.asKey(k.admin)
	k.do(user, "GET", "/v1/status", "")
	user.Timeout = long
	release := sync.OnceFunc(k.service.holds())
	defer release()
	var wait sync.WaitGroup
	for range 256 {
		wait.Go(func() {
			for range 20 { // on a busy machine a handshake may take longer than the server waits
				if _, err := k.try(user, "POST", "/v1/key/encrypt/my-key", `{"plaintext":""}`); err == nil {
					return
				}
			}
		})
	}
	for began := time.Now(); ; {
		if time.Since(began) > long {
			t.Fatal("they never were there at once")
		}
		if a, err := k.try(admin, "GET", "/v1/metrics", ""); err == nil && strings.Contains(a.body, "kes_http_request_active 257") { // and this
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	a := k.do(user, "POST", "/v1/key/encrypt/my-key", `{"plaintext":""}`)
	k.expect(a, 503, "too many requests at once")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if a := k.do(admin, "GET", "/version", ""); a.StatusCode != 200 {
		t.Errorf("the admin: %d %s", a.StatusCode, a.body)
	}
	release()
	wait.Wait()
	if a := k.do(user, "POST", "/v1/key/encrypt/my-key", `{"plaintext":""}`); a.StatusCode != 200 {
		t.Errorf("afterwards: %d %s", a.StatusCode, a.body)
	}
}

func TestLogStreamsAreCounted(t *testing.T) {
	t.Parallel()
	other := identity.New()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.Policies["logs"] = config.Policy{Allow: []string{"/v1/log/*"}, Identities: []identity.Identity{other.Identity()}}
	})
	client := k.asKey(k.admin)
	follow := func(client *http.Client) *http.Response {
		resp, err := client.Get(k.url + "/v1/log/audit")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	var first *http.Response
	for i := range 8 {
		resp := follow(client)
		if resp.StatusCode != 200 {
			t.Fatalf("stream %d: %s", i, resp.Status)
		}
		if first == nil {
			first = resp
		}
	}
	k.expect(k.do(client, "GET", "/v1/log/error", ""), 429, "too many clients follow the logs")
	if resp := follow(k.asKey(other)); resp.StatusCode != 200 {
		t.Errorf("somebody else: %s", resp.Status)
	}
	first.Body.Close()
	for range 50 { // that it is over, the server hears later
		time.Sleep(20 * time.Millisecond)
		if follow(client).StatusCode == 200 {
			return
		}
	}
	t.Error("a stream that ended keeps its place")
}

func TestFailedHandshakesAreAFewLines(t *testing.T) {
	t.Parallel()
	k := start(t)
	for range 60 {
		conn := k.dial()
		_, _ = io.WriteString(conn, strings.Repeat("not TLS ", 100))
		if !ended(conn, 5*time.Second) {
			t.Fatal("still open")
		}
	}
	k.errors.line(t, "TLS handshake error from 127.0.0.1:")
	if err := k.stop(); err != nil {
		t.Fatal(err)
	}
	k.errors.line(t, "40 more connections failed or were refused")
	if n := strings.Count(k.errors.String(), "TLS handshake error"); n > 20 {
		t.Errorf("%d lines", n)
	}
}

func TestPlainRequestIsToldToUseTLS(t *testing.T) {
	t.Parallel()
	k := start(t)
	conn := k.dial()
	fmt.Fprint(conn, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if all, _ := io.ReadAll(conn); !strings.Contains(string(all), "HTTP request to an HTTPS server") {
		t.Errorf("%q", all)
	}
}
