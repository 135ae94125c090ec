package proxy

import (
	"errors"
	"net/http"
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
		"/a/./b": "a/b", "/a/../b": "b", "/../a": "a", "/./": dirSuffix, // where no path stands: copy sources, forms
		"f__XLDIR__": "f/", "/f__XLDIR__": "f/", "f__XLDIR__/": "f__XLDIR__/", "f__XLDIR____XLDIR__": "f__XLDIR__/",
		"f__XLDIR__/x": "f__XLDIR__/x", "a/__XLDIR__": "a/__XLDIR__", "f__xldir__": "f__xldir__",
		"__XLDIR__": dirSuffix, "//": dirSuffix, "///": dirSuffix, "/__XLDIR__": dirSuffix, // listed as "//"
		`\a`: `\a`, `/\a`: `\a`, " a ": " a ", "/ a": " a", "a.": "a.", "xl.meta": "xl.meta", "a%2Fb": "a%2Fb",
		"\u00e9": "\u00e9", "e\u0301": "e\u0301", "a\x01b": "a\x01b",
	} {
		got, err := canonicalKey(raw)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
			continue
		}
		if again, err := canonicalKey(got); err != nil || again != got {
			t.Errorf("the name %q of %q has another name %q, %v", got, raw, again, err)
		}
	}
	for _, raw := range []string{"", "/", "/.", "/..", "/a/..", ".", "a/./b", "a/..", `a\..\b`, "a/ ./b", "a\xffb", "a\x00b", "/a\x00"} {
		if got, err := canonicalKey(raw); !errors.Is(err, errInvalidObjectName) {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
}

func TestNamesThatNothingIsStoredUnder(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxKey+1)
	for _, tt := range []struct {
		method, key string
		action      action
		err         error
	}{
		{http.MethodPut, long[1:], translate, nil},
		{http.MethodPut, long, translate, errKeyTooLong},
		{http.MethodPost, long, translate, errKeyTooLong},
		{http.MethodGet, long, translate, nil}, // MinIO has no such object, and says so
		{http.MethodPut, long, forward, nil},
		{http.MethodPut, "b//c", translate, errInvalidObjectName},
		{http.MethodGet, "b//c", translate, errInvalidObjectName},
		{http.MethodGet, "b//c", forward, nil},
	} {
		r := &request{Request: &http.Request{Method: tt.method}, scope: scopeObject, key: tt.key, route: &route{action: tt.action}}
		if err := r.checkKey(); !errors.Is(err, tt.err) {
			t.Errorf("%s of %.10q: %v, want %v", tt.method, tt.key, err, tt.err)
		}
	}
	if _, err := objectName("abc", "b//c"); !errors.Is(err, errInvalidObjectName) {
		t.Errorf("b//c: %v", err)
	}
	if _, err := objectName("a", "b"); !errors.Is(err, errInvalidBucketName) {
		t.Errorf("bucket a: %v", err)
	}
	if got := listedName("abc", "//"); got != (sse.Name{Bucket: "abc", Key: dirSuffix}) {
		t.Errorf("listed as //: %q", got)
	}
}

func TestNamesAreDecodedOnceAndChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, bucket, key string
		wantKey           string
		err               error
	}{
		{"decoded", "abc", "a%20b+c", "a b+c", nil},
		{"decoded once", "abc", "a%252Fb", "a%2Fb", nil},
		{"an escaped slash is a slash", "abc", "a%2Fb", "a/b", nil},
		{"empty segments stay", "abc", "a//b", "a//b", nil}, // for MinIO to refuse
		{"trailing slash stays", "abc", "a/", "a/", nil},
		{"leading slash goes", "abc", "/a", "a", nil},
		{"escaped leading slash goes", "abc", "%2F%2Fa", "a", nil},
		{"nothing but a slash", "abc", "/", "", errInvalidObjectName},
		{"dots after a leading slash", "abc", "/a/../b", "", errDotSegment},
		{"bad escape", "abc", "a%2", "", errMalformedPath},
		{"bad escape in the bucket", "ab%zz", "k", "", errMalformedPath},
		{"dots", "abc", "a/../b", "", errDotSegment},
		{"escaped dots", "abc", "%2e%2e", "", errDotSegment},
		{"one dot", "abc", "a/.", "", errDotSegment},
		{"three dots", "abc", "a/...", "a/...", nil},
		{"not UTF-8", "abc", "%ff", "", errInvalidObjectName},
		{"NUL", "abc", "a%00", "", errInvalidObjectName},
		{"a slash in the bucket", "ab%2Fc", "k", "", errInvalidBucketName},
		{"no bucket", "", "", "", errInvalidBucketName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &request{}
			err := r.setName(scopeObject, tt.bucket, tt.key)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && r.key != tt.wantKey {
				t.Errorf("key %q, want %q", r.key, tt.wantKey)
			}
		})
	}
}

func TestBucketNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"abc": true, "a.b": true, "a-b": true, "a_b": true, "A1c": true, "1.2": true, strings.Repeat("a", 63): true,
		"": false, "ab": false, strings.Repeat("a", 64): false, ".ab": false, "ab.": false, "-ab": false, "ab-": false,
		"_ab": false, "ab_": false, "a/b": false, "a b": false, "a\x00b": false, "äbc": false, "a%b": false, "a?b": false,
	} {
		if got := validBucketName(name); got != want {
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
		if got := hasDotSegment(key); got != want {
			t.Errorf("%q: %v", key, got)
		}
	}
}
