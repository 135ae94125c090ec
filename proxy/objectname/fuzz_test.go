package objectname

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// A key's one name is its own, and none that something on the way would resolve.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"a", "/a", "//a//b/", "a__XLDIR__", "a/__XLDIR__", "/", "a/./b", "a\\..\\b", "a/ .. /b", "\xff", "a\x00", "/../.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		key, err := Canonical(raw)
		if err != nil {
			if key != "" {
				t.Fatalf("%q is refused, and %q", raw, key)
			}
			return
		}
		again, err := Canonical(key)
		if err != nil || again != key {
			t.Fatalf("%q is %q, and that is %q: %v", raw, key, again, err)
		}
		if key == "" || key[0] == '/' || HasDotSegment(key) || !utf8.ValidString(key) || strings.Contains(key, "\x00") {
			t.Fatalf("%q is %q", raw, key)
		}
		if Listed("bucket", raw).Key != key {
			t.Fatalf("%q is %q, and listed %q", raw, key, Listed("bucket", raw).Key)
		}
	})
}
