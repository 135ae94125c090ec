package identity_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms/identity"
)

// The seed 00 01 ... 1f; its public key is RFC 8032's well known one for that seed.
const (
	knownKey    = "kes:v1:AAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
	knownPublic = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
)

func TestIdentityOfKnownAPIKey(t *testing.T) {
	t.Parallel()
	key, err := identity.ParseAPIKey(knownKey)
	if err != nil {
		t.Fatal(err)
	}
	spki, _ := hex.DecodeString("302a300506032b6570032100" + knownPublic)
	sum := sha256.Sum256(spki)
	if got, want := key.Identity().String(), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("identity = %s, want %s", got, want)
	}
	if key.Reveal() != knownKey {
		t.Errorf("the key changed by parsing: %s", key.Reveal())
	}
	short, err := identity.ParseAPIKey(strings.TrimPrefix(knownKey, "kes:v1:"))
	if err != nil || short.Identity() != key.Identity() {
		t.Errorf("without prefix: %v", err)
	}
}

func TestParseAPIKeyRefuses(t *testing.T) {
	t.Parallel()
	long := base64.StdEncoding.EncodeToString(make([]byte, 34))
	otherType := base64.StdEncoding.EncodeToString(append([]byte{1}, make([]byte, 32)...))
	for _, s := range []string{"", "kes:v1:", "kes:v2:" + knownKey[7:], knownKey[:len(knownKey)-1], knownKey + "A", "kes:v1:" + long, "kes:v1:" + otherType, "kes:v1:" + strings.Repeat("*", 44)} {
		if _, err := identity.ParseAPIKey(s); !errors.Is(err, identity.ErrAPIKey) {
			t.Errorf("%q: %v", s, err)
		} else if len(s) > 10 && strings.Contains(err.Error(), s[7:]) {
			t.Errorf("the error quotes the key: %v", err)
		}
	}
}

func TestCertificateHasTheKeysIdentity(t *testing.T) {
	t.Parallel()
	key := identity.New()
	if key.Identity() == identity.New().Identity() {
		t.Fatal("two new keys are equal")
	}
	for range 2 {
		cert, err := key.Certificate()
		if err != nil {
			t.Fatal(err)
		}
		if identity.Of(cert.Leaf) != key.Identity() || cert.Leaf.Subject.CommonName != key.Identity().String() || cert.Leaf.IsCA {
			t.Errorf("certificate of %s, CA %t", cert.Leaf.Subject.CommonName, cert.Leaf.IsCA)
		}
	}
}

func TestIdentityEqualsOpenSSLs(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	key := identity.New()
	cert, err := key.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", fmt.Sprintf("%s x509 -in %s -noout -pubkey | %[1]s pkey -pubin -outform DER | sha256sum", openssl, file)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out))[0]; got != key.Identity().String() {
		t.Errorf("openssl says %s, we say %s", got, key.Identity())
	}
}

func TestAPIKeyPrintsRedacted(t *testing.T) {
	t.Parallel()
	key, err := identity.ParseAPIKey(knownKey)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ Key identity.APIKey }
	text, err := json.Marshal(holder{key})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		fmt.Sprint(key), fmt.Sprintf("%v %+v %#v %s %x %q %d", key, key, key, key, key, key, key),
		fmt.Sprintf("%+v %#v %v", holder{key}, holder{key}, &holder{key}), string(text),
	} {
		if !strings.Contains(s, "redacted") || strings.Contains(s, "AQID") || strings.Contains(s, "010203") || strings.Contains(s, "1 2 3") {
			t.Errorf("printed %s", s)
		}
	}
}

func TestParseIdentity(t *testing.T) {
	t.Parallel()
	valid := strings.Repeat("0aF9", 16)
	if id, err := identity.Parse(valid); err != nil || id.String() != strings.ToLower(valid) {
		t.Errorf("%v, %v", id, err)
	}
	for _, s := range []string{"", "disabled", valid[1:], valid + "00", valid[:63] + "g", " " + valid[1:]} {
		if _, err := identity.Parse(s); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func FuzzParseAPIKey(f *testing.F) {
	f.Add(knownKey)
	f.Add("kes:v1:")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := identity.ParseAPIKey(s)
		if err != nil {
			return
		}
		again, err := identity.ParseAPIKey(key.Reveal())
		if err != nil || again != key {
			t.Fatalf("not stable: %v", err)
		}
	})
}
