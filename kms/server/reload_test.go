package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/kms/server"
)

// open opens a log stream and returns its lines; it fails if headers do not
// come at once.
func (k *kit) open(path string) *bufio.Reader {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	k.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", k.url+path, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	client := k.asKey(k.admin)
	client.Timeout = 0
	timer := time.AfterFunc(5*time.Second, cancel)
	resp, err := client.Do(req)
	if err != nil {
		k.t.Fatalf("no headers: %v", err)
	}
	timer.Stop()
	k.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		k.t.Fatalf("%d %s", resp.StatusCode, resp.Header)
	}
	return bufio.NewReader(resp.Body)
}

func TestAuditStream(t *testing.T) {
	t.Parallel()
	k := start(t)
	lines := k.open("/v1/log/audit")
	k.do(k.asKey(k.user), "POST", "/v1/key/create/k", "")
	k.do(k.asKey(k.stranger), "POST", "/v1/key/generate/k", `{"context":"e30="}`)
	k.do(k.asKey(k.admin), "POST", "/v1/key/generate/k", `{"context":"e30="}`)
	type event struct {
		Time    time.Time
		Request struct{ IP, Path, Identity string }
		// Clients read the time as nanoseconds.
		Response struct {
			Code int
			Time time.Duration
		}
		Policy, Reason string
		Context        string `json:"context_sha256"`
	}
	next := func() (e event) {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil || json.Unmarshal([]byte(line), &e) != nil {
			t.Fatalf("%q, %v", line, err)
		}
		return e
	}
	e := next()
	if time.Since(e.Time) > time.Minute || e.Request.IP != "127.0.0.1" || e.Request.Path != "/v1/key/create/k" ||
		e.Request.Identity != k.user.Identity().String() || e.Response.Code != 200 || e.Response.Time <= 0 || e.Policy != "minio" {
		t.Errorf("%+v", e)
	}
	if e = next(); e.Response.Code != 403 || e.Reason != "no policy names this identity" {
		t.Errorf("%+v", e)
	}
	// SHA-256 of "{}"
	if e = next(); e.Response.Code != 200 || e.Context != "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" {
		t.Errorf("%+v", e)
	}
	k.audits.line(t, "created key 'k'", "req.path=/v1/key/create/k", "req.identity="+k.user.Identity().String(), "res.code=200")
	if strings.Contains(k.audits.String(), "generate/k") != true || strings.Contains(k.audits.String(), "request served") {
		t.Errorf("the process's audit log has refusals and changes of keys only:\n%s", k.audits)
	}
}

func TestErrorStream(t *testing.T) {
	t.Parallel()
	k := start(t)
	lines := k.open("/v1/log/error")
	k.do(k.asKey(k.stranger), "GET", "/v1/status", "")
	line, err := lines.ReadString('\n')
	var e struct{ Message string }
	if err != nil || json.Unmarshal([]byte(line), &e) != nil || !strings.Contains(e.Message, `level=WARN msg="request refused"`) || strings.Contains(e.Message, "\n") {
		t.Errorf("%q, %v", line, err)
	}
}

func TestShutdownEndsStreamsAndLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	k := start(t)
	lines := k.open("/v1/log/audit")
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/k", "")
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	admin := k.asKey(k.admin)
	k.do(admin, "GET", "/v1/key/describe/k", "") // its connection is there
	release := k.service.holds()
	slow := make(chan answer, 1)
	go func() { a, _ := k.try(admin, "GET", "/v1/key/describe/k", ""); slow <- a }()
	k.service.held(t, 1)
	time.AfterFunc(200*time.Millisecond, release)
	begin := time.Now()
	if err := k.stop(); err != nil {
		t.Fatal(err)
	}
	if a := <-slow; a.Response == nil || a.StatusCode != 200 {
		t.Errorf("the request under way was cut off: %+v", a)
	}
	if time.Since(begin) > 4*time.Second {
		t.Errorf("shutdown took %v", time.Since(begin))
	}
	for {
		if _, err := lines.ReadString('\n'); err != nil {
			break // the stream ended
		}
	}
}

func TestShutdownIsBoundedByGrace(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) { o.Grace = 50 * time.Millisecond })
	k.service.slow(time.Minute)
	go func() { _, _ = k.try(k.asKey(k.admin), "GET", "/v1/key/describe/k", "") }()
	time.Sleep(100 * time.Millisecond)
	begin := time.Now()
	if err := k.stop(); err != nil || time.Since(begin) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestReloadSaysWhatWaitsForARestart(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"address":      func(c *config.Config) { c.Address = "127.0.0.1:1" },
		"cache":        func(c *config.Config) { c.Cache.Any += time.Second },
		"rotate_after": func(c *config.Config) { c.RotateAfter = []config.RotateAfter{{Pattern: "*", After: 240 * time.Hour}} },
		"audit file":   func(c *config.Config) { c.Log.AuditFile.Path = "elsewhere" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var next *config.Config
			k := start(t, func(_ *kit, _ *config.Config, o *server.Options) {
				o.Load = func() (*config.Config, error) { return next, nil }
			})
			changed := *k.cfg
			change(&changed)
			next = &changed
			if err := k.server.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			k.errors.line(t, "take effect when the server is started again", "rotate_after")
		})
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	var next *config.Config
	var broken error
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) {
		o.Load = func() (*config.Config, error) { return next, broken }
	})
	stranger := k.asKey(k.stranger)
	k.expect(k.do(stranger, "GET", "/v1/status", ""), 403, forbidden)

	changed := *k.cfg
	changed.Admin = k.stranger.Identity()
	changed.Policies = nil
	changed.Keys = []string{"new"}
	changed.Address = "127.0.0.1:1"
	changed.Log.Audit = config.LevelOff
	changed.Warnings = []config.Warning{{Line: 7, Text: "old shape"}}
	next = &changed
	if err := k.server.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := k.do(stranger, "GET", "/v1/key/describe/new", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	k.expect(k.do(k.asKey(k.user), "GET", "/v1/status", ""), 403, forbidden)
	k.errors.line(t, "configuration reloaded")
	k.errors.line(t, "take effect when the server is started again")
	k.errors.line(t, "old shape", "line=7")
	before := k.audits.String()
	k.do(stranger, "POST", "/v1/key/create/another", "")
	if k.audits.String() != before {
		t.Error("the audit log is off, but was written")
	}

	// What cannot be used changes nothing.
	bad := changed
	bad.Admin, bad.TLS.Cert = "", filepath.Join(k.dir, "missing")
	next = &bad
	if err := k.server.Reload(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err = %v", err)
	}
	next, broken = nil, config.ErrInvalid
	if err := k.server.Reload(t.Context()); !errors.Is(err, config.ErrInvalid) {
		t.Errorf("err = %v", err)
	}
	if a := k.do(stranger, "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestStreamEndsWhenItsReaderLosesTheRight(t *testing.T) {
	t.Parallel()
	k := start(t)
	lines := k.open("/v1/log/audit")
	changed := *k.cfg
	changed.Admin = k.stranger.Identity()
	if err := k.server.Update(t.Context(), &changed); err != nil {
		t.Fatal(err)
	}
	k.do(k.asKey(k.stranger), "POST", "/v1/key/create/secret-name", "")
	if line, err := lines.ReadString('\n'); err == nil {
		t.Errorf("the former admin still reads %s", line)
	}
}

func serial(t *testing.T, k *kit) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(k.url, "https://"), &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{certOf(t, k.admin)}}) //nolint:gosec // the certificate is what is looked at
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestCertificateFilesAreWatched(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) { o.WatchInterval = 20 * time.Millisecond })
	before := serial(t, k)
	time.Sleep(50 * time.Millisecond)
	if err := os.WriteFile(k.cfg.TLS.Cert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.errors.line(t, "level=ERROR", "cannot be used")
	if serial(t, k) != before {
		t.Error("a broken file is in force")
	}
	k.writeServerCert()
	for deadline := time.Now().Add(5 * time.Second); serial(t, k) == before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not used")
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	dir := t.TempDir()
	noSAN := template("server", false)
	noSAN.IPAddresses = nil
	nameless, namelessKey := newCert(t, noSAN, nil)
	good, goodKey := newCert(t, template("server", false), nil)
	path := func(name string) string { return filepath.Join(dir, name) }
	writePEM(t, path("nameless.crt"), "CERTIFICATE", nameless.Certificate[0])
	writePEM(t, path("nameless.key"), "PRIVATE KEY", namelessKey)
	writePEM(t, path("good.crt"), "CERTIFICATE", good.Certificate[0])
	writePEM(t, path("good.key"), "PRIVATE KEY", goodKey)
	down := &faulty{Service: local, err: kms.ErrUnavailable}
	for _, test := range []struct {
		name    string
		cfg     config.Config
		service kms.Service
		want    string
	}{
		{"no file", config.Config{TLS: config.TLS{Cert: path("x"), Key: path("good.key")}}, local, "tls.cert"},
		{"another's key", config.Config{TLS: config.TLS{Cert: path("good.crt"), Key: path("nameless.key")}}, local, "do not make a certificate"},
		{"no SAN", config.Config{TLS: config.TLS{Cert: path("nameless.crt"), Key: path("nameless.key")}}, local, "subject alternative name"},
		{"no CA", config.Config{TLS: config.TLS{Cert: path("good.crt"), Key: path("good.key"), Auth: true, CA: path("good.key")}}, local, "holds no certificate"},
		{"keys cannot be created", config.Config{TLS: config.TLS{Cert: path("good.crt"), Key: path("good.key")}, Keys: []string{"k"}}, down, `create key "k"`},
		{"no service", config.Config{}, nil, "required"},
	} {
		if _, err := server.New(t.Context(), server.Options{Config: &test.cfg, Service: test.service, ErrorLog: &syncBuffer{}}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestEncryptedServerKeys(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	for name, command := range map[string]string{
		"PKCS8 by default": "openssl pkcs8 -topk8 -in in.key -out out.key -passout pass:hunter2",
		"PKCS8 AES-128":    "openssl pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1 -in in.key -out out.key -passout pass:hunter2",
		"PKCS8 SHA-512":    "openssl pkcs8 -topk8 -v2 aes-192-cbc -v2prf hmacWithSHA512 -in in.key -out out.key -passout pass:hunter2",
		"PEM itself":       "openssl ec -aes256 -in in.key -out out.key -passout pass:hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, func(k *kit, c *config.Config, _ *server.Options) {
				c.TLS.Key, c.TLS.Password = filepath.Join(k.dir, "out.key"), "hunter2"
				cmd := exec.Command("sh", "-c", "cp server.key in.key && "+command)
				cmd.Dir = k.dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			})
			if a := k.do(k.asKey(k.admin), "GET", "/version", ""); a.StatusCode != 200 {
				t.Error(a.body)
			}
			for password, want := range map[config.Secret]string{"": "set tls.password", "wrong": "does not open the key"} {
				bad := *k.cfg
				bad.TLS.Password = password
				err := k.server.Update(t.Context(), &bad)
				// In 1 of 256 cases PEM's own encryption takes a wrong password for the right
				// one, and what comes out is no key.
				noKey := err != nil && name == "PEM itself" && strings.Contains(err.Error(), "failed to parse private key")
				if err == nil || !strings.Contains(err.Error(), want) && !noKey || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("password %q: %v", password.Reveal(), err)
				}
			}
		})
	}
}

func TestRivalReloadsAndRequests(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/my-key", "")
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := *k.cfg
			if i%2 == 0 {
				next.API = map[string]config.Endpoint{"/version": {SkipAuth: true}}
			}
			if err := k.server.Update(context.Background(), &next); err != nil {
				t.Error(err)
			}
		}
	}()
	client := k.asKey(k.user)
	for range 50 {
		if a := k.do(client, "POST", "/v1/key/generate/my-key", `{"context":"e30="}`); a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.body)
		}
	}
	close(stop)
	<-done
}

func TestPlainTCPAndOldTLSAreRefused(t *testing.T) {
	t.Parallel()
	k := start(t)
	address := strings.TrimPrefix(k.url, "https://")
	if _, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{certOf(t, identity.New())}}); err == nil { //nolint:gosec // that is the test
		t.Error("TLS 1.1 was accepted")
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = conn.Write([]byte("GET /version HTTP/1.1\r\nHost: x\r\n\r\n"))
	if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "400") {
		t.Errorf("plain HTTP got %q", line)
	}
	k.errors.line(t, "TLS handshake error")
}

// An identity loses its rights, and a certificate is renewed, also while the key store is
// down. What the configuration lists beside that is made once it answers.
func TestReloadTakesRightsAwayWhileTheKeyStoreIsDown(t *testing.T) {
	t.Parallel()
	for name, hangs := range map[string]bool{"fails": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t, func(_ *kit, c *config.Config, _ *server.Options) { c.Keys = []string{"my-key"} })
			user := k.asKey(k.user)
			if a := k.do(user, "POST", "/v1/key/generate/my-key", ""); a.StatusCode != 200 {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			before := serial(t, k)
			back := func() { k.service.fail(nil) }
			if hangs {
				back = k.service.holds()
			} else {
				k.service.fail(kms.ErrUnavailable)
			}
			k.writeServerCert()
			next := *k.cfg
			next.Policies, next.Keys = nil, []string{"my-key", "other"}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := k.server.Update(ctx, &next); err != nil {
				t.Fatal(err)
			}
			k.expect(k.do(user, "POST", "/v1/key/generate/my-key", ""), 403, forbidden)
			if serial(t, k) == before {
				t.Error("the former certificate is in force")
			}
			k.errors.line(t, "level=ERROR", "could not be created", `\"other\"`)
			back()
			again := next
			if err := k.server.Update(t.Context(), &again); err != nil {
				t.Errorf("err = %v", err)
			}
			if a := k.do(k.asKey(k.admin), "GET", "/v1/key/describe/other", ""); a.StatusCode != 200 {
				t.Errorf("the key that was missed: %d %s", a.StatusCode, a.body)
			}
		})
	}
}

func TestListedKeysThatNobodyCanHaveChangeNothing(t *testing.T) {
	t.Parallel()
	k := start(t)
	next := *k.cfg
	next.Policies, next.Keys = nil, []string{"no/key"}
	if err := k.server.Update(t.Context(), &next); !errors.Is(err, kms.ErrInvalidKeyName) {
		t.Errorf("err = %v", err)
	}
	if a := k.do(k.asKey(k.user), "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// SIGHUP and the watcher of files may come at once: what is read last counts, and a
// revocation is not undone by who read before it.
func TestRivalReloadsEndWithWhatWasReadLast(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	reads, first, slow := 0, make(chan struct{}), make(chan struct{})
	k := start(t, func(_ *kit, c *config.Config, o *server.Options) {
		o.Load = func() (*config.Config, error) {
			mu.Lock()
			reads++
			n := reads
			mu.Unlock()
			next := *c
			if n == 1 {
				close(first)
				<-slow
				return &next, nil
			}
			next.Policies = nil
			return &next, nil
		}
	})
	var both sync.WaitGroup
	reload := func() {
		if err := k.server.Reload(t.Context()); err != nil {
			t.Error(err)
		}
	}
	both.Go(reload)
	<-first
	second := make(chan struct{})
	both.Go(func() { defer close(second); reload() })
	select {
	case <-second:
	case <-time.After(100 * time.Millisecond):
	}
	close(slow)
	both.Wait()
	k.expect(k.do(k.asKey(k.user), "GET", "/v1/status", ""), 403, forbidden)
}
