package objectname

import (
	"errors"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

// What a MinIO shows of each name, measured: TestNamesAnswerAsMinIO in integration
// holds a MinIO against the proxy.
func TestOneObjectHasOneName(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"a": "a", "/a": "a", "//a": "a", "///a": "a", "a/": "a/", "/a/": "a/", "//a//": "a/",
		"/b//c": "b/c", "/b///c": "b/c", "//b//c/": "b/c/", "b//c": "b//c", "a//": "a//",
		"/a/./b": "a/b", "/a/../b": "b", "/../a": "a", "/./": DirSuffix, // where no path stands: copy sources, forms
		"f__XLDIR__": "f/", "/f__XLDIR__": "f/", "f__XLDIR__/": "f__XLDIR__/", "f__XLDIR____XLDIR__": "f__XLDIR__/",
		"f__XLDIR__/x": "f__XLDIR__/x", "a/__XLDIR__": "a/__XLDIR__", "f__xldir__": "f__xldir__",
		"__XLDIR__": DirSuffix, "//": DirSuffix, "///": DirSuffix, "/__XLDIR__": DirSuffix, // listed as "//"
		`\a`: `\a`, `/\a`: `\a`, " a ": " a ", "/ a": " a", "a.": "a.", "xl.meta": "xl.meta", "a%2Fb": "a%2Fb",
		"\u00e9": "\u00e9", "e\u0301": "e\u0301", "a\x01b": "a\x01b",
	} {
		got, err := Canonical(raw)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
			continue
		}
		if again, err := Canonical(got); err != nil || again != got {
			t.Errorf("the name %q of %q has another name %q, %v", got, raw, again, err)
		}
	}
	for _, raw := range []string{"", "/", "/.", "/..", "/a/..", ".", "a/./b", "a/..", `a\..\b`, "a/ ./b", "a\xffb", "a\x00b", "/a\x00"} {
		if got, err := Canonical(raw); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
}

func TestNamesOfObjects(t *testing.T) {
	t.Parallel()
	if _, err := Of("abc", "b//c"); !errors.Is(err, ErrKey) {
		t.Errorf("b//c: %v", err)
	}
	if _, err := Of("a", "b"); !errors.Is(err, ErrBucket) {
		t.Errorf("bucket a: %v", err)
	}
	if got := Listed("abc", "//"); got != (sse.Name{Bucket: "abc", Key: DirSuffix}) {
		t.Errorf("listed as //: %q", got)
	}
}

func TestBucketNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"abc": true, "a.b": true, "a-b": true, "a_b": true, "A1c": true, "1.2": true, strings.Repeat("a", 63): true,
		"": false, "ab": false, strings.Repeat("a", 64): false, ".ab": false, "ab.": false, "-ab": false, "ab-": false,
		"_ab": false, "ab_": false, "a/b": false, "a b": false, "a\x00b": false, "äbc": false, "a%b": false, "a?b": false,
	} {
		if got := ValidBucket(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestDotSegments(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		".": true, "..": true, "./a": true, "a/..": true, "a/./b": true, "/..": true, "../": true,
		"": false, "...": false, "a.": false, ".a": false, "a/.b": false, "a..b": false, "//": false, `..\a`: true, `a\..`: true, `a\.\b`: true,
		"a/ ./b": true, "a/.. ": true, "\t.\n": true, "a./b": false, "a/ .b": false, "\u00a0.": false, ".\u00a0": false, "à/.à": false,
	} {
		if got := HasDotSegment(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
