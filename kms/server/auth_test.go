package server_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
)

const forbidden = "not authorized: insufficient permissions"

func TestPolicies(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/my-key", "")
	for _, test := range []struct {
		key            identity.APIKey
		method, path   string
		code           int
		policy, reason string
	}{
		{k.user, "POST", "/v1/key/create/x", 200, "", ""},
		{k.user, "POST", "/v1/key/generate/my-key", 200, "", ""},
		{k.user, "GET", "/v1/status", 200, "", ""},
		{k.user, "GET", "/version", 200, "", ""},
		{k.stranger, "GET", "/version", 200, "", ""},
		{k.user, "POST", "/v1/key/create/internal-1", 403, "minio", `the policy denies \"/v1/key/create/internal*\"`},
		{k.user, "POST", "/v1/key/generate/other", 403, "minio", "the policy does not allow this path"},
		{k.user, "GET", "/v1/key/list/", 403, "minio", "the policy does not allow this path"},
		{k.user, "GET", "/v1/log/audit", 403, "minio", "the policy does not allow this path"},
		{k.stranger, "GET", "/v1/ready", 403, `""`, "no policy names this identity"},
		{k.stranger, "POST", "/v1/key/create/y", 403, `""`, "no policy names this identity"},
	} {
		a := k.do(k.asKey(test.key), test.method, test.path, "")
		if test.code != 403 {
			if a.StatusCode != test.code {
				t.Errorf("%s: %d %s", test.path, a.StatusCode, a.body)
			}
			continue
		}
		k.expect(a, 403, forbidden)
		k.errors.line(t, "level=WARN", "request refused", "identity="+test.key.Identity().String(), "path="+test.path, "policy="+test.policy, test.reason)
		k.audits.line(t, "request refused", "req.identity="+test.key.Identity().String(), "req.path="+test.path, "res.code=403")
	}
}

func TestDisabledAdmin(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) { c.Admin = "" })
	k.expect(k.do(k.asKey(k.admin), "GET", "/v1/status", ""), 403, forbidden)
	k.expect(k.do(k.asKey(k.admin), "GET", "/v1/identity/self/describe", ""), 404, "identity does not exist")
}

func TestCertificatesOfClients(t *testing.T) {
	t.Parallel()
	k := start(t)
	ca, _ := newCert(t, template("ca", true), nil)
	leaf, _ := newCert(t, template("leaf", false), &ca)
	other, _ := newCert(t, template("other", false), &ca)

	if a, err := k.try(k.as(), "GET", "/version", ""); err == nil {
		t.Errorf("without certificate: %d, the handshake must fail", a.StatusCode)
	}
	k.expect(k.do(k.as(ca), "GET", "/version", ""), 400, "tls: client certificate is required")
	chain := leaf
	chain.Certificate = [][]byte{leaf.Certificate[0], ca.Certificate[0]}
	if a := k.do(k.as(chain), "GET", "/version", ""); a.StatusCode != 200 {
		t.Errorf("with its CA's certificate: %d %s", a.StatusCode, a.body)
	}
	two := leaf
	two.Certificate = [][]byte{leaf.Certificate[0], other.Certificate[0]}
	k.expect(k.do(k.as(two), "GET", "/version", ""), 400, "tls: received more than one client certificate")
}

func TestSkipAuth(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.API = map[string]config.Endpoint{"/v1/ready": {SkipAuth: true}, "/version": {SkipAuth: true}, "/v1/key/list/": {SkipAuth: true}}
	})
	for _, path := range []string{"/v1/ready", "/version"} {
		if a := k.do(k.as(), "GET", path, ""); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	for _, path := range []string{"/v1/status", "/v1/key/list/", "/v1/identity/self/describe", "/v1/log/audit"} {
		k.expect(k.do(k.as(), "GET", path, ""), 400, "tls: client certificate is required")
	}
	k.expect(k.do(k.asKey(k.stranger), "GET", "/v1/key/list/", ""), 403, forbidden)
}

func withCA(t *testing.T, ca tls.Certificate) option {
	return func(k *kit, c *config.Config, _ *server.Options) {
		c.TLS.CA = filepath.Join(k.dir, "ca.crt")
		writePEM(t, c.TLS.CA, "CERTIFICATE", ca.Certificate[0])
		c.TLS.Auth = true
	}
}

func TestAuthOnWantsCertificatesOfACA(t *testing.T) {
	t.Parallel()
	ca, _ := newCert(t, template("ca", true), nil)
	good, _ := newCert(t, template("good", false), &ca)
	k := start(t, withCA(t, ca), func(_ *kit, c *config.Config, _ *server.Options) { c.Admin = identity.Of(good.Leaf) })
	if a := k.do(k.as(good), "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a, err := k.try(k.asKey(k.user), "GET", "/version", ""); err == nil {
		t.Errorf("a self-signed certificate was accepted: %d", a.StatusCode)
	}
}

func TestConnectionFromBeforeAuthIsVerifiedAnew(t *testing.T) {
	t.Parallel()
	ca, _ := newCert(t, template("ca", true), nil)
	good, _ := newCert(t, template("good", false), &ca)
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.Policies["minio"] = config.Policy{Allow: []string{"*"}, Identities: []identity.Identity{identity.Of(good.Leaf)}}
	})
	selfSigned, signed := k.asKey(k.admin), k.as(good)
	if a := k.do(selfSigned, "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	k.do(signed, "GET", "/v1/status", "")

	next := *k.cfg
	withCA(t, ca)(k, &next, nil)
	if err := k.server.Update(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	k.expect(k.do(selfSigned, "GET", "/v1/status", ""), 400, "tls: the client certificate cannot be read or verified")
	if a := k.do(signed, "GET", "/v1/status", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for range 20 { // the old connection is being closed; a new one is refused in the handshake
		if _, err := k.try(selfSigned, "GET", "/v1/status", ""); err != nil {
			return
		}
	}
	t.Error("the old connection stayed open")
}

func escaped(cert tls.Certificate) string {
	return url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
}

func TestTLSProxy(t *testing.T) {
	t.Parallel()
	proxy := identity.New()
	const header = "X-Tls-Client-Cert"
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.TLS.Proxy = config.TLSProxy{Identities: []identity.Identity{proxy.Identity()}, Header: header}
		c.API = map[string]config.Endpoint{"/v1/ready": {SkipAuth: true}}
	})
	through := k.asKey(proxy)
	user := certOf(t, k.user)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: user.Certificate[0]}))
	for name, value := range map[string]string{"path escaping": url.PathEscape(text), "form escaping": url.QueryEscape(text), "plus kept": strings.ReplaceAll(url.PathEscape(text), "%2B", "+")} {
		if a := k.do(through, "GET", "/v1/status", "", header, value, "X-Forwarded-For", "192.0.2.7, 10.0.0.1"); a.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	k.expect(k.do(through, "GET", "/v1/key/list/", "", header, escaped(user), "X-Forwarded-For", "192.0.2.7, 10.0.0.1"), 403, forbidden)
	k.errors.line(t, "request refused", "identity="+k.user.Identity().String(), "ip=10.0.0.1") // what the client wrote comes first

	k.expect(k.do(through, "GET", "/v1/status", ""), 400, "tls: client certificate is required")
	k.expect(k.do(through, "GET", "/v1/status", "", header, escaped(user), header, escaped(user)), 400, "tls: received more than one client certificate")
	k.expect(k.do(through, "GET", "/v1/status", "", header, escaped(user)+escaped(certOf(t, k.admin))), 400, "tls: received more than one client certificate")
	const unreadable = "tls: the client certificate cannot be read or verified"
	for _, bad := range []string{"x", "%zz", url.PathEscape("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), escaped(certOf(t, proxy))} {
		k.expect(k.do(through, "GET", "/v1/status", "", header, bad), 400, unreadable)
	}
	if a := k.do(through, "GET", "/v1/ready", ""); a.StatusCode != 200 {
		t.Errorf("a proxy's own health check: %d %s", a.StatusCode, a.body)
	}
	// From anybody else the header means nothing.
	admin := certOf(t, k.admin)
	k.expect(k.do(k.asKey(k.stranger), "GET", "/v1/status", "", header, escaped(admin), "X-Forwarded-For", "192.0.2.8"), 403, forbidden)
	if line := k.errors.line(t, "request refused", k.stranger.Identity().String()); strings.Contains(line, "192.0.2.8") {
		t.Errorf("a stranger's X-Forwarded-For was believed: %s", line)
	}
}

func TestTLSProxyWithAuthOnVerifiesTheForwardedCertificate(t *testing.T) {
	t.Parallel()
	ca, _ := newCert(t, template("ca", true), nil)
	proxy, _ := newCert(t, template("proxy", false), &ca)
	client, _ := newCert(t, template("client", false), &ca)
	expired := template("expired", false)
	expired.NotAfter = expired.NotBefore.Add(1)
	old, _ := newCert(t, expired, &ca)
	k := start(t, withCA(t, ca), func(_ *kit, c *config.Config, _ *server.Options) {
		c.TLS.Proxy = config.TLSProxy{Identities: []identity.Identity{identity.Of(proxy.Leaf)}, Header: "X-Cert"}
		c.Policies["p"] = config.Policy{Allow: []string{"*"}, Identities: []identity.Identity{identity.Of(client.Leaf), identity.Of(old.Leaf)}}
	})
	through := k.as(proxy)
	if a := k.do(through, "GET", "/v1/status", "", "X-Cert", escaped(client)); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for name, cert := range map[string]tls.Certificate{"expired": old, "self-signed": certOf(t, k.admin)} {
		if a := k.do(through, "GET", "/v1/status", "", "X-Cert", escaped(cert)); a.StatusCode != 400 {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
}

func TestExpiredCertificateIsFineWithAuthOff(t *testing.T) {
	t.Parallel()
	k := start(t)
	expired := template("expired", false)
	expired.NotAfter = expired.NotBefore.Add(1)
	old, _ := newCert(t, expired, nil)
	if a := k.do(k.as(old), "GET", "/version", ""); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestForwardedAddressIsTheOneThatTheProxySaw(t *testing.T) {
	t.Parallel()
	proxy := identity.New()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.TLS.Proxy = config.TLSProxy{Identities: []identity.Identity{proxy.Identity()}, Header: "X-Cert"}
	})
	through := k.asKey(proxy)
	const header = "X-Forwarded-For"
	for i, test := range []struct {
		lines []string
		want  string
	}{
		{[]string{"192.0.2.1"}, "192.0.2.1"},
		{[]string{"203.0.113.9, 192.0.2.2"}, "192.0.2.2"},
		{[]string{"203.0.113.9", "192.0.2.3"}, "192.0.2.3"},
		{[]string{"203.0.113.9, 203.0.113.10", "203.0.113.11,192.0.2.4"}, "192.0.2.4"},
		{[]string{"192.0.2.5:4711"}, "192.0.2.5"},
		{[]string{"203.0.113.9, [2001:db8::6]:1"}, "2001:db8::6"},
		{[]string{"2001:DB8::7"}, "2001:db8::7"},
		{[]string{"203.0.113.9, unknown"}, "127.0.0.1"},
		{[]string{"203.0.113.9,"}, "127.0.0.1"},
		{[]string{"203.0.113.9", ""}, "127.0.0.1"},
		{[]string{"fe80::1%x=y"}, "127.0.0.1"},
		{nil, "127.0.0.1"},
	} {
		args := []string{"X-Cert", escaped(certOf(t, k.user))}
		for _, line := range test.lines {
			args = append(args, header, line)
		}
		path := fmt.Sprintf("/v1/key/describe/k%d", i)
		k.expect(k.do(through, "GET", path, "", args...), 403, forbidden)
		k.audits.line(t, "req.path="+path+" ", "req.ip="+test.want+" ")
		// Nor may a refusal of the header itself name another's address.
		k.expect(k.do(through, "GET", path+"-none", "", args[2:]...), 400, "tls: client certificate is required")
		k.audits.line(t, "req.path="+path+"-none ", "req.ip="+test.want+" ")
	}
}

func TestEveryRefusalIsAudited(t *testing.T) {
	t.Parallel()
	proxy := identity.New()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.TLS.Proxy = config.TLSProxy{Identities: []identity.Identity{proxy.Identity()}, Header: "X-Cert"}
		c.API = map[string]config.Endpoint{"/version": {SkipAuth: true}}
	})
	user := "req.identity=" + k.user.Identity().String()
	for _, test := range []struct {
		client       *http.Client
		method, path string
		code         int
		identity     string
	}{
		{k.as(), "GET", "/v1/no-certificate", 404, `req.identity=""`},
		{k.as(), "GET", "/v1/key/describe/no-certificate", 400, `req.identity=""`},
		{k.as(), "DELETE", "/version", 405, `req.identity=""`},
		{k.asKey(k.user), "GET", "/v1/nothing-here", 404, user},
		{k.asKey(k.user), "GET", "/v1/key/create/wrong-method", 405, user},
		{k.asKey(k.user), "DELETE", "/v1/key/delete/not-allowed", 403, user},
		{k.asKey(k.stranger), "GET", "/v1/key/describe/stranger", 403, "req.identity=" + k.stranger.Identity().String()},
		{k.asKey(proxy), "GET", "/v1/key/describe/nothing-forwarded", 400, `req.identity=""`},
	} {
		if a := k.do(test.client, test.method, test.path, ""); a.StatusCode != test.code {
			t.Errorf("%s: %d %s", test.path, a.StatusCode, a.body)
		}
		k.audits.line(t, "level=INFO", "request refused", "req.method="+test.method, "req.path="+test.path+" ", test.identity, fmt.Sprintf("res.code=%d", test.code), "req.ip=127.0.0.1")
	}
}
