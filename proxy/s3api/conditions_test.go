package s3api

import (
	"net/http"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/conditions"
)

const someETag = `"9b2cf535f27731c974343645a3985328"`

func TestConditionsOfARead(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	date := noon.Format(http.TimeFormat)
	for _, tt := range []struct {
		name   string
		header http.Header
		want   conditions.Read
	}{
		{"none", http.Header{}, conditions.Read{}},
		{"If-Match in two lines", http.Header{"If-Match": {`"x"`, someETag}}, conditions.Read{IfMatch: `"x",` + someETag}},
		{"If-None-Match", http.Header{"If-None-Match": {"*"}}, conditions.Read{IfNoneMatch: "*"}},
		{"If-Modified-Since", http.Header{"If-Modified-Since": {date}}, conditions.Read{IfModifiedSince: noon}},
		{"If-Modified-Since is no date", http.Header{"If-Modified-Since": {"yesterday"}}, conditions.Read{}},
		{"If-Unmodified-Since", http.Header{"If-Unmodified-Since": {date}}, conditions.Read{IfUnmodifiedSince: noon}},
		{"If-Unmodified-Since is no date", http.Header{"If-Unmodified-Since": {"yesterday"}}, conditions.Read{}},
		{"If-Range with a date", http.Header{"If-Range": {date}}, conditions.Read{IfRangeSince: noon}},
		{"If-Range with an ETag", http.Header{"If-Range": {someETag}}, conditions.Read{IfRange: someETag}},
		{"If-Range is nonsense", http.Header{"If-Range": {"nonsense"}}, conditions.Read{IfRange: "nonsense"}},
	} {
		if got := readConditionsOf(tt.header); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestFailedConditionsSayWhatWouldHold(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for sentinel, status := range map[error]int{conditions.ErrPrecondition: 412, conditions.ErrNotModified: 304} {
		got := Describe(&conditions.Error{Err: sentinel, ETag: someETag, Modified: noon})
		if got.Status != status || got.Header.Get("ETag") != someETag || got.Header.Get("Last-Modified") != noon.Format(http.TimeFormat) {
			t.Errorf("%v is answered %v with %v", sentinel, got, got.Header)
		}
		if plain := Describe(sentinel); plain.Header != nil {
			t.Errorf("%v by itself is answered with %v", sentinel, plain.Header)
		}
	}
}
