package server_test

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
)

const (
	wantsOne   = "tls: client certificate is required"
	wantsOnly  = "tls: received more than one client certificate"
	unverified = "tls: the client certificate cannot be read or verified"
)

// signedBy makes a certificate that names issuer; CAs may sign others.
func signedBy(t *testing.T, name string, isCA bool, issuer *tls.Certificate) tls.Certificate {
	t.Helper()
	c, _ := newCert(t, template(name, isCA), issuer)
	return c
}

// sends is a client that has the first certificate's key and sends all.
func sends(first tls.Certificate, others ...tls.Certificate) tls.Certificate {
	first.Certificate = slices.Clone(first.Certificate[:1])
	for _, c := range others {
		first.Certificate = append(first.Certificate, c.Certificate[0])
	}
	return first
}

// again makes another certificate of the same key.
func again(t *testing.T, of tls.Certificate, issuer tls.Certificate) tls.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template("again", false), issuer.Leaf, of.Leaf.PublicKey, issuer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: of.PrivateKey, Leaf: leaf}
}

// chains are what clients may send. message is empty for those that are whom their
// first certificate names; trusted says that the handshake succeeds with tls.auth.
type chain struct {
	name    string
	cert    tls.Certificate
	message string
	trusted bool
}

func chains(t *testing.T, ca, victim tls.Certificate) []chain {
	t.Helper()
	middle := signedBy(t, "middle", true, &ca)
	own := signedBy(t, "own CA", true, nil)
	namesake := signedBy(t, "ca", true, nil) // the name of ca, and another key
	mine, deep, self := signedBy(t, "mine", false, &ca), signedBy(t, "deep", false, &middle), signedBy(t, "self", false, nil)
	ownLeaf := signedBy(t, "own leaf", false, &own)
	plain := template("no basic constraints", false)
	plain.BasicConstraintsValid, plain.KeyUsage = false, x509.KeyUsageDigitalSignature
	bare, _ := newCert(t, plain, &ca)
	stolen := sends(victim)
	stolen.PrivateKey = mine.PrivateKey
	long := []tls.Certificate{ca}
	for range 12 {
		long = append(long, ca)
	}
	return []chain{
		{"itself", sends(mine), "", true},
		{"itself, its CA", sends(mine, ca), "", true},
		{"itself, its CA, the CA's", sends(deep, middle, ca), "", true},
		{"itself, the nearer of its CAs", sends(deep, middle), "", true},
		{"no basic constraints", sends(bare), "", true},
		{"another certificate of its key", again(t, mine, ca), "", true},
		{"self-signed", sends(self), "", false},
		{"signed by a CA of its own", sends(ownLeaf, own), "", false},

		{"own CA, victim", sends(own, victim), wantsOne, false},
		{"trusted CA, victim", sends(middle, victim), wantsOne, true},
		{"trusted CA, its CA, victim", sends(middle, ca, victim), wantsOne, true},
		{"CA only", sends(own), wantsOne, false},
		{"itself, victim", sends(mine, victim), wantsOnly, true},
		{"itself, its CA, victim", sends(mine, ca, victim), wantsOnly, true},
		{"itself, victim, its CA", sends(mine, victim, ca), wantsOnly, true},
		{"self-signed, victim", sends(self, victim), wantsOnly, false},
		{"itself twice", sends(mine, mine), wantsOnly, true},
		{"two of one key", sends(mine, again(t, mine, ca)), wantsOnly, true},
		{"itself, one without basic constraints", sends(mine, bare), wantsOnly, true},
		{"itself, a stray CA", sends(mine, own), unverified, true},
		{"itself, its CA, a stray CA", sends(mine, ca, own), unverified, true},
		{"itself, a CA of its CA's name", sends(mine, namesake), unverified, true},
		{"CAs in the wrong order", sends(deep, ca, middle), unverified, true},
		{"a CA left out", sends(deep, ca), unverified, false},
		{"self-signed, a CA", sends(self, ca), unverified, false},
		{"too many CAs", sends(mine, long...), unverified, true},
		{"victim, without its key", stolen, "handshake", false},
		{"victim, without its key, and itself", sends(stolen, mine), "handshake", false},
	}
}

func TestIdentityIsTheLeafThatSignedTheHandshake(t *testing.T) {
	t.Parallel()
	ca := signedBy(t, "ca", true, nil)
	victim := signedBy(t, "victim", false, &ca)
	all := chains(t, ca, victim)
	for _, auth := range []bool{false, true} {
		k := start(t, func(k *kit, c *config.Config, o *server.Options) {
			c.Admin = identity.Of(victim.Leaf)
			if auth {
				withCA(t, ca)(k, c, o)
			}
		})
		for version, name := range map[uint16]string{tls.VersionTLS12: "TLS 1.2", tls.VersionTLS13: "TLS 1.3"} {
			if a := k.do(k.resuming(version, victim), "GET", "/v1/status", ""); a.StatusCode != 200 {
				t.Fatalf("%s: the admin itself: %d %s", name, a.StatusCode, a.body)
			}
			for _, test := range all {
				k.asks(t, test, name, version, auth)
			}
		}
	}
}

// resuming returns a client that makes a connection for each request and tries to
// resume its session.
func (k *kit) resuming(version uint16, cert tls.Certificate) *http.Client {
	client := k.as(cert)
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		k.t.Fatal("no transport")
	}
	transport.DisableKeepAlives = true
	transport.TLSClientConfig.MaxVersion = version
	transport.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	return client
}

func (k *kit) asks(t *testing.T, test chain, name string, version uint16, auth bool) {
	t.Helper()
	client := k.resuming(version, test.cert)
	for range 2 {
		a, err := k.try(client, "GET", "/v1/identity/self/describe", "")
		handshake := test.message == "handshake" || (auth && !test.trusted)
		if (err != nil) != handshake {
			t.Errorf("%s, %s, auth %t: %v", test.name, name, auth, err)
		}
		if err != nil {
			continue
		}
		if a.TLS.DidResume || a.TLS.Version != version {
			t.Errorf("%s, %s: resumed %t, version %x", test.name, name, a.TLS.DidResume, a.TLS.Version)
		}
		if test.message != "" {
			k.expect(a, 400, test.message)
			k.audits.line(t, "request refused", "req.path=/v1/identity/self/describe", "req.identity=\"\"", "res.code=400")
			continue
		}
		// Known or not, it is nobody but itself, and not the admin.
		own := identity.Of(mustParse(t, test.cert.Certificate[0])).String()
		if a.StatusCode == 200 && !strings.Contains(a.body, own) {
			t.Errorf("%s, %s, auth %t: %s", test.name, name, auth, a.body)
		}
		k.expect(k.do(client, "GET", "/v1/status", ""), 403, forbidden)
		k.audits.line(t, "request refused", "req.path=/v1/status", "req.identity="+own, "res.code=403")
	}
}

func mustParse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSessionOfOneDoesNotServeAnother(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		admin, stranger := k.resuming(version, certOf(t, k.admin)), k.resuming(version, certOf(t, k.stranger))
		sessions := tls.NewLRUClientSessionCache(8)
		for _, c := range []*http.Client{admin, stranger} {
			c.Transport.(*http.Transport).TLSClientConfig.ClientSessionCache = sessions //nolint:errcheck // resuming made it
		}
		for range 3 {
			if a := k.do(admin, "GET", "/v1/status", ""); a.StatusCode != 200 || a.TLS.DidResume {
				t.Fatalf("%d, resumed %t", a.StatusCode, a.TLS.DidResume)
			}
			k.expect(k.do(stranger, "GET", "/v1/status", ""), 403, forbidden)
		}
	}
}

func TestForwardedChainIsHeldToTheSameRule(t *testing.T) {
	t.Parallel()
	ca := signedBy(t, "ca", true, nil)
	victim, proxy := signedBy(t, "victim", false, &ca), signedBy(t, "proxy", false, &ca)
	for _, auth := range []bool{false, true} {
		k := start(t, func(k *kit, c *config.Config, o *server.Options) {
			c.Admin = identity.Of(victim.Leaf)
			c.TLS.Proxy = config.TLSProxy{Identities: []identity.Identity{identity.Of(proxy.Leaf)}, Header: "X-Cert"}
			if auth {
				withCA(t, ca)(k, c, o)
			}
		})
		through := k.as(proxy)
		for _, test := range chains(t, ca, victim) {
			if test.message == "handshake" {
				continue // whether the client has the key, the proxy must know
			}
			header := ""
			for _, der := range test.cert.Certificate {
				header += escaped(tls.Certificate{Certificate: [][]byte{der}})
			}
			a := k.do(through, "GET", "/v1/status", "", "X-Cert", header)
			switch {
			case test.message != "":
				k.expect(a, 400, test.message)
			case auth && !test.trusted:
				k.expect(a, 400, unverified)
			default:
				k.expect(a, 403, forbidden)
			}
		}
		if a := k.do(through, "GET", "/v1/status", "", "X-Cert", escaped(victim)); a.StatusCode != 200 {
			t.Errorf("auth %t: the admin itself: %d %s", auth, a.StatusCode, a.body)
		}
		// A header field cannot hold a line's end; what is escaped of one is no PEM.
		k.expect(k.do(through, "GET", "/v1/status", "", "X-Cert", escaped(victim)+url.QueryEscape("\r\nX-Cert: ")+escaped(victim)), 400, unverified)
		k.expect(k.do(through, "GET", "/v1/status", "", "X-Cert", escaped(victim), "X-Cert", ""), 400, wantsOnly)
		k.expect(k.do(through, "GET", "/v1/status", "", "X-Cert", "", "X-Cert", escaped(victim)), 400, wantsOnly)
	}
}

func TestChainOnAConnectionFromBeforeAuthIsVerifiedByItsLeaf(t *testing.T) {
	t.Parallel()
	ca := signedBy(t, "ca", true, nil)
	victim := signedBy(t, "victim", false, &ca)
	self := signedBy(t, "self", false, nil)
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.Policies["all"] = config.Policy{Allow: []string{"*"}, Identities: []identity.Identity{identity.Of(victim.Leaf), identity.Of(self.Leaf)}}
	})
	for _, c := range []tls.Certificate{sends(self), sends(victim, ca)} {
		if a := k.do(k.as(c), "GET", "/v1/status", ""); a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.body)
		}
	}
	old, good := k.as(self), k.as(sends(victim, ca))
	k.do(old, "GET", "/v1/status", "")
	k.do(good, "GET", "/v1/status", "")
	next := *k.cfg
	withCA(t, ca)(k, &next, nil)
	if err := k.server.Update(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	k.expect(k.do(old, "GET", "/v1/status", ""), 400, unverified)
	if a := k.do(good, "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestLogStreamEndsWhenItsCertificateIsTrustedNoMore(t *testing.T) {
	t.Parallel()
	ca := signedBy(t, "ca", true, nil)
	k := start(t)
	resp, err := k.asKey(k.admin).Get(k.url + "/v1/log/audit")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	next := *k.cfg
	withCA(t, ca)(k, &next, nil)
	next.API = map[string]config.Endpoint{"/version": {SkipAuth: true}}
	if err := k.server.Update(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	k.do(k.as(), "GET", "/version", "") // an event
	ended := make(chan int, 1)
	go func() {
		n, _ := resp.Body.Read(make([]byte, 1))
		ended <- n
	}()
	select {
	case n := <-ended:
		if n > 0 {
			t.Error("an event reached a certificate that nobody trusts")
		}
	case <-time.After(5 * time.Second):
		t.Error("the stream stayed open")
	}
}

// clock is one that tests set.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Store(int64(d)) }

// lasts makes a certificate that outlives those of the others by days.
func lasts(t *testing.T, name string, isCA bool, issuer *tls.Certificate) tls.Certificate {
	t.Helper()
	long := template(name, isCA)
	long.NotAfter = time.Now().Add(48 * time.Hour)
	c, _ := newCert(t, long, issuer)
	return c
}

// A certificate that expires ends with its connection busy, however it came.
func TestCertificateThatExpiresCountsNoMore(t *testing.T) {
	t.Parallel()
	ca := lasts(t, "ca", true, nil)
	middle := signedBy(t, "middle", true, &ca)
	lasting, expires := lasts(t, "lasting", false, &ca), signedBy(t, "expires", false, &ca)
	underBrief := sends(lasts(t, "under a brief CA", false, &middle), middle)
	for name, version := range map[string]bool{"HTTP/2": true, "HTTP/1.1": false} {
		now := new(clock)
		k := start(t, withCA(t, ca), func(_ *kit, c *config.Config, o *server.Options) {
			o.Now = now.now
			ids := []identity.Identity{identity.Of(lasting.Leaf), identity.Of(expires.Leaf), identity.Of(mustParse(t, underBrief.Certificate[0]))}
			c.Policies["all"] = config.Policy{Allow: []string{"*"}, Identities: ids}
			c.API = map[string]config.Endpoint{"/version": {SkipAuth: true}}
		})
		client := func(cert tls.Certificate) *http.Client {
			c := k.as(cert)
			c.Transport.(*http.Transport).ForceAttemptHTTP2 = version //nolint:errcheck // as made it
			return c
		}
		good, bad, under := client(lasting), client(expires), client(underBrief)
		for _, c := range []*http.Client{good, bad, under} {
			if a := k.do(c, "GET", "/v1/status", ""); a.StatusCode != 200 {
				t.Fatalf("%s: %d %s", name, a.StatusCode, a.body)
			}
		}
		now.forward(2 * time.Hour)
		for what, c := range map[string]*http.Client{"its own": bad, "its CA": under} {
			a := k.do(c, "GET", "/v1/status", "")
			k.expect(a, 400, unverified)
			for range 20 {
				if _, err := k.try(c, "GET", "/v1/status", ""); err != nil {
					a = answer{} // refused in the handshake
					break
				}
			}
			if a.Response != nil {
				t.Errorf("%s, %s: the connection stayed open", name, what)
			}
		}
		if a := k.do(good, "GET", "/v1/status", ""); a.StatusCode != 200 {
			t.Errorf("%s: one that lasts: %d %s", name, a.StatusCode, a.body)
		}
	}
}

func TestForwardedCertificateThatExpiresEndsItsLogStream(t *testing.T) {
	t.Parallel()
	ca := lasts(t, "ca", true, nil)
	proxy := lasts(t, "proxy", false, &ca)
	reader := signedBy(t, "reader", false, &ca)
	for name, through := range map[string]bool{"itself": false, "through a proxy": true} {
		now := new(clock)
		k := start(t, withCA(t, ca), func(_ *kit, c *config.Config, o *server.Options) {
			o.Now = now.now
			c.Admin = identity.Of(reader.Leaf)
			c.TLS.Proxy = config.TLSProxy{Identities: []identity.Identity{identity.Of(proxy.Leaf)}, Header: "X-Cert"}
			c.API = map[string]config.Endpoint{"/version": {SkipAuth: true}}
		})
		req, err := http.NewRequestWithContext(t.Context(), "GET", k.url+"/v1/log/audit", nil)
		if err != nil {
			t.Fatal(err)
		}
		client := k.as(reader)
		if through {
			client = k.as(proxy)
			req.Header.Set("X-Cert", escaped(reader))
		}
		resp, err := client.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v, %v", name, resp, err)
		}
		defer resp.Body.Close()
		lines := bufio.NewReader(resp.Body)
		k.do(k.as(), "GET", "/version", "")
		if _, err := lines.ReadString('\n'); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		now.forward(2 * time.Hour)
		k.do(k.as(), "GET", "/version", "")
		if line, err := lines.ReadString('\n'); err == nil {
			t.Errorf("%s: read %q", name, line)
		}
	}
}

// A client that has renewed its certificate in time is refused nothing.
func TestConnectionEndsBeforeItsCertificate(t *testing.T) {
	t.Parallel()
	ca := signedBy(t, "ca", true, nil)
	mine := signedBy(t, "mine", false, &ca)
	now := new(clock)
	k := start(t, withCA(t, ca), func(_ *kit, c *config.Config, o *server.Options) {
		o.Now, c.Admin = now.now, identity.Of(mine.Leaf)
	})
	c := k.as(mine)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false //nolint:errcheck // as made it
	if a := k.do(c, "GET", "/v1/status", ""); a.Close {
		t.Error("closed an hour before")
	}
	now.forward(59 * time.Minute)
	if a := k.do(c, "GET", "/v1/status", ""); a.StatusCode != 200 || !a.Close {
		t.Errorf("a minute before: %d, closed %t", a.StatusCode, a.Close)
	}
}
