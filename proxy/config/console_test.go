package config

import (
	"strings"
	"testing"
)

// Secret keys are typed in at the console: it is not served readable to others by mistake.
func TestAConsoleWithoutTLSIsForThisMachine(t *testing.T) {
	t.Parallel()
	for text, fine := range map[string]bool{
		"console: {address: \"127.0.0.1:9091\"}\n":                 true,
		"console: {address: \"[::1]:9091\"}\n":                     true,
		"console: {address: \"localhost:9091\"}\n":                 true,
		"console: {address: \":9091\"}\n":                          false,
		"console: {address: \"10.0.0.1:9091\"}\n":                  false,
		"console: {address: \":9091\", plain_http: true}\n":        true,
		"console: {address: \":9091\"}\ntls: {certs_dir: certs}\n": true,
	} {
		_, err := Parse("f.yml", []byte(text), nil)
		if (err == nil) != fine || err != nil && !strings.Contains(err.Error(), "f.yml:1:20: console.address: secret keys") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
