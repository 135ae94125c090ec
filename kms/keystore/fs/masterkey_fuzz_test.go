package fs

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// A text is at most one master key, which its own forms give again.
func FuzzParseMasterKey(f *testing.F) {
	f.Add(strings.Repeat("ab", 32))
	f.Add(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32))) + "\n")
	f.Add(strings.Repeat("A", 43) + "=")
	f.Add(strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseMasterKey(text)
		if err != nil {
			if key != (MasterKey{}) || strings.Contains(err.Error(), strings.TrimSpace(text)) && len(strings.TrimSpace(text)) > 8 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		for _, form := range []string{hex.EncodeToString(key[:]), base64.StdEncoding.EncodeToString(key[:])} {
			if again, err := ParseMasterKey(" " + form + "\n"); err != nil || again != key {
				t.Fatalf("%q is another key than %q: %v", form, text, err)
			}
		}
		if key == (MasterKey{}) {
			t.Fatal("a key of zeros")
		}
	})
}
