package server_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
)

// reservedContext is an encryption context of a proxy, in base64.
func reservedContext() string {
	return base64.StdEncoding.EncodeToString([]byte(`{"a":"b","` + kms.ReservedContextPrefix + `x":"y"}`))
}

func TestReservedContextIsAProxysOnly(t *testing.T) {
	t.Parallel()
	proxy := identity.New()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.Policies["proxies"] = config.Policy{
			Allow: []string{"/v1/key/generate/*", "/v1/key/encrypt/*", "/v1/key/decrypt/my-*"}, Deny: []string{"/v1/key/generate/other"},
			Identities: []identity.Identity{proxy.Identity()}, Bucketseal: true,
		}
		c.Policies[""] = config.Policy{Bucketseal: true} // must not be taken for that of somebody without a policy
	})
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/my-key", "")
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/other", "")
	c := k.asKey(proxy)
	var dek struct{ Plaintext, Ciphertext []byte }
	k.do(c, "POST", "/v1/key/generate/my-key", fmt.Sprintf(`{"context":%q}`, reservedContext())).into(t, &dek)
	var out struct{ Plaintext, Ciphertext []byte }
	body := fmt.Sprintf(`{"ciphertext":%q,"context":%q}`, base64.StdEncoding.EncodeToString(dek.Ciphertext), reservedContext())
	k.do(c, "POST", "/v1/key/decrypt/my-key", body).into(t, &out)
	if !bytes.Equal(out.Plaintext, dek.Plaintext) {
		t.Errorf("the proxy's DEK opens as another")
	}
	k.do(c, "POST", "/v1/key/encrypt/my-key", fmt.Sprintf(`{"plaintext":"aGk=","context":%q}`, reservedContext())).into(t, &out)

	var info struct{ Bucketseal bool }
	if k.do(k.asKey(k.admin), "GET", "/v1/policy/read/proxies", "").into(t, &info); !info.Bucketseal {
		t.Error("the policy does not say that it is the proxies'")
	}

	// Only the contexts are the proxies', not every path.
	k.expect(k.do(c, "POST", "/v1/key/generate/other", fmt.Sprintf(`{"context":%q}`, reservedContext())), 403, forbidden)
	k.expect(k.do(c, "POST", "/v1/key/decrypt/other", body), 403, forbidden)
	k.expect(k.do(k.asKey(k.admin), "POST", "/v1/key/decrypt/my-key", body), 403, forbidden)

	next := *k.cfg
	next.Policies = map[string]config.Policy{"proxies": {Allow: []string{"*"}, Identities: []identity.Identity{proxy.Identity()}}}
	if err := k.server.Update(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	k.expect(k.do(c, "POST", "/v1/key/decrypt/my-key", body), 403, forbidden)
}

func TestReservedContextIsRefused(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, client := range []*http.Client{k.asKey(k.admin), k.asKey(k.user)} {
		k.do(client, "POST", "/v1/key/create/my-key", "")
		reserved := reservedContext()
		for path, body := range map[string]string{
			"generate": `{"context":%q}`, "encrypt": `{"plaintext":"aGk=","context":%q}`, "decrypt": `{"ciphertext":"aGk=","context":%q}`,
		} {
			k.expect(k.do(client, "POST", "/v1/key/"+path+"/my-key", fmt.Sprintf(body, reserved)), 403, "not authorized: insufficient permissions")
			k.errors.line(t, "request refused", "/v1/key/"+path+"/my-key", "reserved for the proxy")
		}
	}
}

// Whoever could put a secret of his own in the place of a key that proxies use could
// read and forge their objects.
func TestKeysOfProxiesAreReplacedByThemAndTheAdminOnly(t *testing.T) {
	t.Parallel()
	proxy, keeper := identity.New(), identity.New()
	everything := []string{"/v1/key/*"}
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.Policies["keepers"] = config.Policy{Allow: everything, Identities: []identity.Identity{keeper.Identity()}}
		c.Policies["proxies"] = config.Policy{
			Allow: []string{"/v1/key/decrypt/seal-*", "/v1/key/generate/seal-*", "/v1/key/import/*", "/v1/key/delete/*", "/v1/key/create/*", "/v1/key/describe/*"},
			Deny:  []string{"/v1/key/*/seal-x", "/v1/key/decrypt/seal-not", "/v1/key/generate/seal-not"}, Identities: []identity.Identity{proxy.Identity()}, Bucketseal: true,
		}
	})
	imported := fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	c := k.asKey(keeper)
	for _, name := range []string{"seal-a", "seal-new", "seal-x", "bucketseal-system-ready"} {
		k.expect(k.do(c, "POST", "/v1/key/import/"+name, imported), 403, forbidden)
		k.errors.line(t, "request refused", "/v1/key/import/"+name, `the proxies of the policy \"proxies\" may use the key`)
	}
	k.expect(k.do(c, "POST", "/v1/key/create/seal-a", ""), 200, "") // nobody knows its secret
	k.expect(k.do(c, "DELETE", "/v1/key/delete/seal-a", ""), 403, forbidden)
	for _, name := range []string{"mine", "seal-not"} {
		k.expect(k.do(c, "POST", "/v1/key/import/"+name, imported), 200, "")
		k.expect(k.do(c, "DELETE", "/v1/key/delete/"+name, ""), 200, "")
	}
	for _, c := range []*http.Client{k.asKey(k.admin), k.asKey(proxy)} {
		k.expect(k.do(c, "DELETE", "/v1/key/delete/seal-a", ""), 200, "")
		k.expect(k.do(c, "POST", "/v1/key/import/seal-a", imported), 200, "")
	}
}

func TestKeysBesideAProxyInTheProcessAreReplacedByTheAdminOnly(t *testing.T) {
	t.Parallel()
	keeper := identity.New()
	k := start(t, func(_ *kit, c *config.Config, o *server.Options) {
		o.Proxied = true
		c.Policies["keepers"] = config.Policy{Allow: []string{"/v1/key/*"}, Identities: []identity.Identity{keeper.Identity()}}
	})
	imported := fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	k.expect(k.do(k.asKey(keeper), "POST", "/v1/key/import/any", imported), 403, forbidden)
	k.expect(k.do(k.asKey(k.admin), "POST", "/v1/key/import/any", imported), 200, "")
	k.expect(k.do(k.asKey(keeper), "DELETE", "/v1/key/delete/any", ""), 403, forbidden)
	k.expect(k.do(k.asKey(k.admin), "DELETE", "/v1/key/delete/any", ""), 200, "")
}

// Proxies are told which secret sealed and opened a DEK; nobody else is told more than
// KES tells.
func TestFingerprintsAreForProxiesOnly(t *testing.T) {
	t.Parallel()
	proxy := identity.New()
	k := start(t, func(_ *kit, c *config.Config, _ *server.Options) {
		c.Policies["proxies"] = config.Policy{Allow: []string{"/v1/key/*"}, Identities: []identity.Identity{proxy.Identity()}, Bucketseal: true}
	})
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/my-key", "")
	prints := func(c *http.Client) (list []string) {
		var dek, opened struct {
			Ciphertext  []byte
			Version     int    `json:"key_version"`
			Fingerprint string `json:"key_fingerprint"`
		}
		k.do(c, "POST", "/v1/key/generate/my-key", "").into(t, &dek)
		k.do(c, "POST", "/v1/key/decrypt/my-key", fmt.Sprintf(`{"ciphertext":%q}`, base64.StdEncoding.EncodeToString(dek.Ciphertext))).into(t, &opened)
		return []string{fmt.Sprint(dek.Version, " ", dek.Fingerprint), fmt.Sprint(opened.Version, " ", opened.Fingerprint)}
	}
	first := prints(k.asKey(proxy))
	if first[0] != first[1] || len(first[0]) != len("1 ")+2*kms.FingerprintSize {
		t.Errorf("a proxy is told %q", first)
	}
	if other := prints(k.asKey(k.admin)); other[0] != "0 " || other[1] != "0 " {
		t.Errorf("the admin is told %q", other)
	}
	k.do(k.asKey(k.admin), "DELETE", "/v1/key/delete/my-key", "")
	k.do(k.asKey(k.admin), "POST", "/v1/key/create/my-key", "")
	if second := prints(k.asKey(proxy)); second[0] == first[0] {
		t.Errorf("another key has the same fingerprint %q", second)
	}
}
