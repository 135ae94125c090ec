package integration

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// provider is an OpenID provider that says who everybody is.
type provider struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{key: key}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{
			"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"code"}, "scopes_supported": []string{"openid"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// token says who its bearer is, and which of MinIO's policies is theirs.
func (p *provider) token(t *testing.T, subject, policy string) string {
	t.Helper()
	encode := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(data)
	}
	signed := encode(map[string]string{"alg": "RS256", "kid": "1", "typ": "JWT"}) + "." + encode(map[string]any{
		"iss": p.URL, "sub": subject, "aud": "client", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "policy": policy,
	})
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

const webIdentityScript = `
import boto3, botocore, json, sys
sts = boto3.client("sts", endpoint_url=sys.argv[1], config=botocore.config.Config(signature_version=botocore.UNSIGNED))
c = sts.assume_role_with_web_identity(RoleArn="arn:minio:iam:::role/dummy-internal", RoleSessionName="session", DurationSeconds=900, WebIdentityToken=sys.argv[2])["Credentials"]
print(json.dumps({"AccessKey": c["AccessKeyId"], "SecretKey": c["SecretAccessKey"], "Token": c["SessionToken"]}))
`

// MinIO lets in whom an OpenID provider vouches for; that opens encrypted objects
// only where the configuration names the source.
func TestWebIdentityNeedsARule(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	p := newProvider(t)
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false, "MINIO_IDENTITY_OPENID_CONFIG_URL="+p.URL+"/.well-known/openid-configuration",
		"MINIO_IDENTITY_OPENID_CLIENT_ID=client", "MINIO_IDENTITY_OPENID_CLAIM_NAME=policy")
	if err != nil {
		t.Fatal(err)
	}
	minio.dumpOnFailure(t)
	t.Cleanup(minio.kill)
	file := filepath.Join(dir, "bucketseal.yml")
	rules := func(more string) string {
		return `
access:
  rules:
    - {access_keys: [` + rootUser + `], buckets: ["*"], keys: ["*"]}
` + more
	}
	if err := os.WriteFile(file, []byte(rules("")), 0o600); err != nil {
		t.Fatal(err)
	}
	seal, err := startSeal(dir, "", minio.endpoint(), "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	seal.dumpOnFailure(t)
	root := newClient(seal.endpoint(), rootUser, rootPassword)
	bucket := newBucket(t, root)
	data := testData(70_000, 2)
	root.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)

	var s session
	out := python(t, seal.endpoint(), webIdentityScript, seal.endpoint(), p.token(t, "somebody", "readwrite"))
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := root.as(s.AccessKey, s.SecretKey)
	get := request{method: http.MethodGet, bucket: bucket, key: "k", token: s.Token}
	put := request{method: http.MethodPut, bucket: bucket, key: "new", body: data, token: s.Token}
	list := request{method: http.MethodGet, bucket: bucket, query: "list-type=2", token: s.Token}
	c.do(t, get).wantError(t, 403, "AccessDenied", "")
	c.do(t, put).wantError(t, 403, "AccessDenied", "")
	if a := c.do(t, list).wantStatus(t, http.StatusOK); !strings.Contains(string(a.body), "<Size>70000</Size>") {
		t.Errorf("a listing needs no key: %s", a.body)
	}
	if err := os.WriteFile(file, []byte(rules(`    - {sources: [web-identity], buckets: ["`+bucket+`"], keys: ["*"], uses: [decrypt]}`)), 0o600); err != nil {
		t.Fatal(err)
	}
	seal.hangup(t)
	c.do(t, get).wantError(t, 403, "AccessDenied", "")
	time.Sleep(4100 * time.Millisecond) // what gives more rights has to be read twice
	seal.hangup(t)
	becomes(t, c, get, http.StatusOK).wantBody(t, data)
	c.do(t, put).wantError(t, 403, "AccessDenied", "")
	if log := seal.logSince(0); strings.Contains(log, s.Token) || strings.Contains(log, s.SecretKey) {
		t.Error("the log holds secrets of the session")
	}
}
