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
