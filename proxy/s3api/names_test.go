package s3api

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/route"
)

func TestNamesThatNothingIsStoredUnder(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", objectname.MaxKey+1)
	for _, tt := range []struct {
		method, key string
		action      route.Action
		err         error
	}{
		{http.MethodPut, long[1:], route.Translate, nil},
		{http.MethodPut, long, route.Translate, errKeyTooLong},
		{http.MethodPost, long, route.Translate, errKeyTooLong},
		{http.MethodGet, long, route.Translate, nil}, // MinIO has no such object, and says so
		{http.MethodPut, long, route.Forward, nil},
		{http.MethodPut, "b//c", route.Translate, objectname.ErrKey},
		{http.MethodGet, "b//c", route.Translate, objectname.ErrKey},
		{http.MethodGet, "b//c", route.Forward, nil},
	} {
		r := &intake.Request{Request: &http.Request{Method: tt.method}, Key: tt.key}
		if err := checkKey(r, &row{Scope: route.Object, Action: tt.action}); !errors.Is(err, tt.err) {
			t.Errorf("%s of %.10q: %v, want %v", tt.method, tt.key, err, tt.err)
		}
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
		{"nothing but a slash", "abc", "/", "", objectname.ErrKey},
		{"dots after a leading slash", "abc", "/a/../b", "", errDotSegment},
		{"bad escape", "abc", "a%2", "", intake.ErrMalformedPath},
		{"bad escape in the bucket", "ab%zz", "k", "", intake.ErrMalformedPath},
		{"dots", "abc", "a/../b", "", errDotSegment},
		{"escaped dots", "abc", "%2e%2e", "", errDotSegment},
		{"one dot", "abc", "a/.", "", errDotSegment},
		{"three dots", "abc", "a/...", "a/...", nil},
		{"not UTF-8", "abc", "%ff", "", objectname.ErrKey},
		{"NUL", "abc", "a%00", "", objectname.ErrKey},
		{"a slash in the bucket", "ab%2Fc", "k", "", objectname.ErrBucket},
		{"no bucket", "", "", "", objectname.ErrBucket},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &intake.Request{}
			err := setName(r, route.Object, tt.bucket, tt.key)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && r.Key != tt.wantKey {
				t.Errorf("key %q, want %q", r.Key, tt.wantKey)
			}
		})
	}
}
