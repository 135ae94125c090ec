package s3api

import (
	"net/http"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/vault"
)

const someETag = `"9b2cf535f27731c974343645a3985328"`

func TestConditionsOfARead(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	date := noon.Format(http.TimeFormat)
	for _, tt := range []struct {
		name   string
		header http.Header
		want   vault.ReadConditions
	}{
		{"none", http.Header{}, vault.ReadConditions{}},
		{"If-Match in two lines", http.Header{"If-Match": {`"x"`, someETag}}, vault.ReadConditions{IfMatch: `"x",` + someETag}},
		{"If-None-Match", http.Header{"If-None-Match": {"*"}}, vault.ReadConditions{IfNoneMatch: "*"}},
		{"If-Modified-Since", http.Header{"If-Modified-Since": {date}}, vault.ReadConditions{IfModifiedSince: noon}},
		{"If-Modified-Since is no date", http.Header{"If-Modified-Since": {"yesterday"}}, vault.ReadConditions{}},
		{"If-Unmodified-Since", http.Header{"If-Unmodified-Since": {date}}, vault.ReadConditions{IfUnmodifiedSince: noon}},
		{"If-Unmodified-Since is no date", http.Header{"If-Unmodified-Since": {"yesterday"}}, vault.ReadConditions{}},
		{"If-Range with a date", http.Header{"If-Range": {date}}, vault.ReadConditions{IfRangeSince: noon}},
		{"If-Range with an ETag", http.Header{"If-Range": {someETag}}, vault.ReadConditions{IfRange: someETag}},
		{"If-Range is nonsense", http.Header{"If-Range": {"nonsense"}}, vault.ReadConditions{IfRange: "nonsense"}},
	} {
		if got := readConditionsOf(tt.header); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestFailedConditionsSayWhatWouldHold(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for sentinel, status := range map[error]int{vault.ErrPrecondition: 412, vault.ErrNotModified: 304} {
		got := Describe(&vault.ConditionError{Err: sentinel, ETag: someETag, Modified: noon})
		if got.Status != status || got.Header.Get("ETag") != someETag || got.Header.Get("Last-Modified") != noon.Format(http.TimeFormat) {
			t.Errorf("%v is answered %v with %v", sentinel, got, got.Header)
		}
		if plain := Describe(sentinel); plain.Header != nil {
			t.Errorf("%v by itself is answered with %v", sentinel, plain.Header)
		}
	}
}
