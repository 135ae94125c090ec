package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
)

// Patterns that span the extensions grant them; a denied deletion denies the end of
// versions too.
func TestPoliciesOfVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		allow, deny []string
		want        [4]int // rotate, versions, retire, destroy
	}{
		"KES's names":       {[]string{"/v1/key/create/*", "/v1/key/delete/*", "/v1/key/describe/*", "/v1/key/list/*"}, nil, [4]int{403, 403, 403, 403}},
		"one name":          {[]string{"/v1/key/rotate/k"}, nil, [4]int{200, 403, 403, 403}},
		"all of keys":       {[]string{"/v1/key/*"}, nil, [4]int{200, 200, 200, 200}},
		"all but deletion":  {[]string{"/v1/key/*"}, []string{"/v1/key/delete/*"}, [4]int{200, 200, 403, 403}},
		"all but one of it": {[]string{"/v1/key/*"}, []string{"/v1/key/destroy/*"}, [4]int{200, 200, 200, 403}},
	} {
		k := start(t, func(_ *kit, cfg *config.Config, _ *server.Options) {
			p := cfg.Policies["minio"]
			p.Allow, p.Deny = c.allow, c.deny
			cfg.Policies["minio"] = p
		})
		admin, user := k.asKey(k.admin), k.asKey(k.user)
		k.do(admin, "POST", "/v1/key/create/k", "")
		k.do(admin, "POST", "/v1/key/rotate/k", "")
		for i, call := range [][3]string{
			{"POST", "/v1/key/rotate/k", `{"after":1}`},
			{"GET", "/v1/key/versions/k", ""},
			{"PUT", "/v1/key/retire/k", `{"version":1,"force":true}`},
			{"PUT", "/v1/key/destroy/k", `{"version":1,"force":true}`},
		} {
			if a := k.do(user, call[0], call[1], call[2]); a.StatusCode != c.want[i] {
				t.Errorf("%s: %s: %d %s, want %d", name, call[1], a.StatusCode, a.body, c.want[i])
			}
		}
	}
}

// Whoever could rotate a key of proxies without end could fill its log, after which it
// can never be rotated again.
func TestKeysOfProxiesAreTheirsAndTheAdminsToRotate(t *testing.T) {
	t.Parallel()
	proxy := identity.New()
	for _, beside := range []bool{false, true} {
		k := start(t, func(_ *kit, cfg *config.Config, opts *server.Options) {
			p := cfg.Policies["minio"]
			p.Allow = []string{"/v1/key/*"}
			cfg.Policies["minio"], opts.Proxied = p, beside
			cfg.Policies["proxies"] = config.Policy{Allow: []string{"/v1/key/generate/seal-*", "/v1/key/rotate/*"}, Identities: []identity.Identity{proxy.Identity()}, Bucketseal: true}
		})
		admin, user := k.asKey(k.admin), k.asKey(k.user)
		for _, name := range []string{"seal-a", "own"} {
			k.do(admin, "POST", "/v1/key/create/"+name, "")
		}
		k.expect(k.do(user, "POST", "/v1/key/rotate/seal-a", ""), 403, "not authorized: insufficient permissions")
		k.errors.line(t, "request refused", "/v1/key/rotate/seal-a", "may use the key")
		want := 200
		if beside {
			want = 403 // the proxy in the process may use any
		}
		if a := k.do(user, "POST", "/v1/key/rotate/own", ""); a.StatusCode != want {
			t.Errorf("beside %t: a key of their own: %d %s", beside, a.StatusCode, a.body)
		}
		for _, c := range []*http.Client{admin, k.asKey(proxy)} {
			if a := k.do(c, "POST", "/v1/key/rotate/seal-a", ""); a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		}
	}
}

// Whoever could destroy versions of a key that proxies use could take their data away.
func TestVersionsOfProxiesKeysAreTheAdminsToEnd(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, cfg *config.Config, opts *server.Options) {
		p := cfg.Policies["minio"]
		p.Allow = []string{"/v1/key/*"}
		cfg.Policies["minio"] = p
		opts.Proxied = true
	})
	admin, user := k.asKey(k.admin), k.asKey(k.user)
	k.do(admin, "POST", "/v1/key/create/k", "")
	k.do(admin, "POST", "/v1/key/rotate/k", "")
	for _, action := range []string{"retire", "reinstate", "destroy"} {
		k.expect(k.do(user, "PUT", "/v1/key/"+action+"/k", `{"version":1,"force":true}`), 403, "not authorized: insufficient permissions")
	}
	if a := k.do(admin, "PUT", "/v1/key/retire/k", `{"version":1,"force":true}`); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestBadRequestsOfVersions(t *testing.T) {
	t.Parallel()
	k := start(t)
	c := k.asKey(k.admin)
	k.do(c, "POST", "/v1/key/create/k", "")
	for _, call := range []struct {
		method, path, body string
		code               int
		text               string
	}{
		{"GET", "/v1/key/rotate/k", "", 405, "method"},
		{"PUT", "/v1/key/rotate/none", "", 404, "key does not exist"},
		{"PUT", "/v1/key/rotate/k@log", "", 400, "invalid characters"},
		{"GET", "/v1/key/versions/k@log", "", 400, "invalid characters"},
		{"GET", "/v1/key/describe/k@log", "", 400, "invalid characters"},
		{"PUT", "/v1/key/rotate/k", `{"after":-1}`, 400, "body"},
		{"PUT", "/v1/key/retire/k", "", 400, "body"},
		{"PUT", "/v1/key/retire/k", `{"version":1,"force":true}`, 409, "rotate the key first"},
		{"PUT", "/v1/key/retire/k", `{"version":2,"force":true}`, 404, "version does not exist"},
		{"PUT", "/v1/key/destroy/k", `{"version":1,"after_seconds":-1,"force":true}`, 400, "body"},
		{"PUT", "/v1/key/destroy/k", `{"version":1,"after_seconds":99999999999999,"force":true}`, 400, "body"},
	} {
		if a := k.do(c, call.method, call.path, call.body); a.StatusCode != call.code || !strings.Contains(a.body, call.text) {
			t.Errorf("%s %s %s: %d %s", call.method, call.path, call.body, a.StatusCode, a.body)
		}
	}
	k.do(c, "PUT", "/v1/key/rotate/k", "")
	if a := k.do(c, "PUT", "/v1/key/retire/k", `{"version":1}`); a.StatusCode != 409 || !strings.Contains(a.body, "not known what still uses") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if line := k.audits.line(t, "/v1/key/rotate/k"); line == "" {
		t.Error("a rotation is not audited")
	}
}
