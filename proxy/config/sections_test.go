package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

func TestAKESSectionIsHandedOverInItsPlace(t *testing.T) {
	t.Parallel()
	file := "# first\naddress: :1\nkms:  # ours\n  keystore:\n    fs: {path: x}\n# between\n\n  keys:\n    - name: a\nregion: x\n"
	for name, source := range map[string]string{"block": file, "at the end": strings.TrimSuffix(file, "region: x\n"), "CRLF": strings.ReplaceAll(file, "\n", "\r\n")} {
		c, err := Parse("f.yml", []byte(source), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s := c.KMS.Section
		if s == nil || s.Line != 4 || s.Column != 3 || s.String() != "f.yml:4:3" {
			t.Errorf("%s: section %v", name, s)
			continue
		}
		root, err := yamlfile.NewSource(s.YAML).Parse(yamlfile.Plain)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var keys []string
		var lines []int
		for _, f := range root.Fields {
			keys = append(keys, f.Key.Text)
			lines = append(lines, f.Key.Line)
		}
		if !slices.Equal(keys, []string{"keystore", "keys"}) || !slices.Equal(lines, []int{4, 8}) {
			t.Errorf("%s: %v in lines %v", name, keys, lines)
		}
	}
}

func TestAKESSectionInOneLineIsHandedOver(t *testing.T) {
	t.Parallel()
	c, err := Parse("f.yml", []byte("kms: {keystore: {fs: {path: x}}}\nregion: x\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.KMS.Section.YAML); got != "     {keystore: {fs: {path: x}}}\n" || c.KMS.Section.Column != 6 {
		t.Errorf("%q at column %d", got, c.KMS.Section.Column)
	}
}

func TestKeysMayComeFromAFileOrFromServers(t *testing.T) {
	t.Parallel()
	c, err := Parse("/d/f.yml", []byte("kms:\n  config: kes.yml\n"), nil)
	if err != nil || c.KMS.File != "/d/kes.yml" || c.KMS.IsZero() || c.CheckKeys() != nil {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = Parse("/d/f.yml", []byte("kms:\n  remote:\n    endpoints: [\"https://a:7373\", \"https://b:7373\"]\n    cert: c\n    key: k\n    ca: /ca\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.KMS.Remote; len(r.Endpoints) != 2 || r.Cert != "/d/c" || r.Key != "/d/k" || r.CA != "/ca" {
		t.Errorf("%+v", r)
	}
	c, err = Parse("/d/f.yml", []byte("kms:\n  remote: {endpoints: [\"https://a:7373\"], api_key: \"${K}\"}\n"), []string{"K=kes:v1:abc"})
	if err != nil || c.KMS.Remote.APIKey.Reveal() != "kes:v1:abc" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestEmptySectionsAreNothing(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"", "\n# only a comment\n", "---\n", "log:\nkms:\ntls:\n", "\xef\xbb\xbfaddress: :8080\n", "{}\n"} {
		c, err := Parse("f.yml", []byte(source), nil)
		if err != nil || c.Address != ":8080" || !c.KMS.IsZero() {
			t.Errorf("%q: %+v, %v", source, c, err)
		}
	}
}

func TestSettingsAreNamedOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, s := range Settings() {
		for _, name := range []string{s.Path, s.Env, "--" + s.Flag} {
			if name != "" && name != "--" && seen[name] {
				t.Errorf("%s is named twice", name)
			}
			seen[name] = true
		}
		if s.set == nil || s.Usage == "" || s.Type == "" {
			t.Errorf("%s is not complete", s.Path)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("kms:\n  keystore: {fs: {path: x}}\nregion: x\n"))
	f.Add([]byte("kms: {remote: {endpoints: [a]}}"))
	f.Add([]byte("credentials: [{access_key: abc, secret_key: \"${OWN}\"}]"))
	f.Add([]byte("? a\n: b"))
	f.Add([]byte("a: |\n  x\n b"))
	f.Fuzz(func(t *testing.T, source []byte) {
		c, err := Parse("f.yml", source, []string{"OWN=12345678a"})
		switch {
		case err != nil && err.Error() == "":
			t.Error("an error without a text")
		case err == nil && c.KMS.Section != nil && len(c.KMS.Section.YAML) > len(source):
			t.Error("a section longer than the file")
		case err == nil && (c.Address == "" || c.Upstream.Endpoint == nil || c.DefaultKey == ""):
			t.Errorf("accepted without what a server needs: %+v", c)
		}
	})
}

// A client may have a pair of its own at MinIO, by the same ways as its own, and by the same
// name.
func TestAClientMayHaveAnotherPairAtMinIO(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("secret-of-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("f.yml", []byte(`
upstream: {credentials: {access_key: own, secret_key: secret-of-own}}
credentials:
- {access_key: one, secret_key: secret-of-one, upstream: {access_key: app, secret_key: "${APP}"}}
- access_key: two
  secret_key: secret-of-two
  upstream: {access_key: two, secret_key_file: `+file+`}
- {access_key: three, secret_key: secret-of-three, upstream: {access_key: app, secret_key: "${APP}"}}
- {access_key: four, secret_key: secret-of-four}
`), []string{"APP=secret-of-app"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]string{{"app", "secret-of-app"}, {"two", "secret-of-file"}, {"app", "secret-of-app"}, {"four", "secret-of-four"}} {
		if at := c.Credentials[i].AtUpstream(); at.AccessKey != want[0] || at.SecretKey.Reveal() != want[1] {
			t.Errorf("credential %d is %s %s at MinIO", i, at.AccessKey, at.SecretKey.Reveal())
		}
	}
	shown := make(map[string]string)
	tags := make(map[string]bool)
	for _, v := range c.Effective([]byte("key")) {
		if strings.HasPrefix(v.Path, "credentials.") {
			shown[v.Path] = strings.Join(v.Values, ",")
			tags[v.Tag] = true
			if !v.Live {
				t.Errorf("%s waits for a restart", v.Path)
			}
		}
	}
	if shown["credentials.one.upstream.access_key"] != "app" || shown["credentials.one.upstream.secret_key"] != "[redacted]" ||
		shown["credentials.two.upstream.secret_key"] != "[redacted]" || shown["credentials.one"] != "[redacted]" || len(shown) != 10 || len(tags) != 8 {
		t.Errorf("shown %v, %d tags", shown, len(tags))
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c.Credentials, *c.Credentials[0].Upstream); strings.Contains(text, "secret-of-") {
		t.Error("a secret is printed")
	}
}
