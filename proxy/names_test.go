package proxy

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/objectname"
)

func TestNamesThatNothingIsStoredUnder(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", objectname.MaxKey+1)
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
		{http.MethodPut, "b//c", translate, objectname.ErrKey},
		{http.MethodGet, "b//c", translate, objectname.ErrKey},
		{http.MethodGet, "b//c", forward, nil},
	} {
		r := &request{Request: &http.Request{Method: tt.method}, scope: scopeObject, key: tt.key, route: &route{action: tt.action}}
		if err := r.checkKey(); !errors.Is(err, tt.err) {
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
		{"bad escape", "abc", "a%2", "", errMalformedPath},
		{"bad escape in the bucket", "ab%zz", "k", "", errMalformedPath},
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
