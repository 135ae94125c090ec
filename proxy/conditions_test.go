package proxy

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/vault"
)

const (
	someETag = `"9b2cf535f27731c974343645a3985328"`
	some     = "9b2cf535f27731c974343645a3985328"
)

func TestETagLists(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		list string
		want bool
	}{
		{someETag, true},
		{some, true}, // without quotes: boto3 users do that, and S3 takes it
		{"*", true},
		{`"other", ` + someETag, true},
		{someETag + `,"other"`, true},
		{`"other",*`, true},
		{" " + someETag + " ", true},
		{`"other"`, false},
		{`"*"`, false},
		{"", false},
		{",", false},
		{`""`, false},
		{`"` + some + `-1"`, false},
		{`"` + some[1:] + `"`, false},
	} {
		if got := etagListed(tt.list, someETag); got != tt.want {
			t.Errorf("%s: %v", tt.list, got)
		}
	}
}

// TestReadConditions follows RFC 9110, section 13.2.2, on an object modified at
// noon.
func TestReadConditions(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 500e6, time.UTC) // upstream's dates are whole seconds; a fraction must not count
	at := func(d time.Duration) string { return noon.Add(d).Truncate(time.Second).Format(http.TimeFormat) }
	before, same, after := at(-time.Second), at(0), at(time.Second)
	for _, tt := range []struct {
		name   string
		header map[string]string
		want   error
	}{
		{"no condition", nil, nil},
		{"If-Match", map[string]string{"If-Match": someETag}, nil},
		{"If-Match *", map[string]string{"If-Match": "*"}, nil},
		{"If-Match list", map[string]string{"If-Match": `"x", ` + someETag}, nil},
		{"If-Match other", map[string]string{"If-Match": `"x"`}, errPrecondition},
		{"If-Unmodified-Since later", map[string]string{"If-Unmodified-Since": after}, nil},
		{"If-Unmodified-Since same", map[string]string{"If-Unmodified-Since": same}, nil},
		{"If-Unmodified-Since earlier", map[string]string{"If-Unmodified-Since": before}, errPrecondition},
		{"If-Unmodified-Since is no date", map[string]string{"If-Unmodified-Since": "yesterday"}, nil},
		{"If-Match takes If-Unmodified-Since's place", map[string]string{"If-Match": someETag, "If-Unmodified-Since": before}, nil},
		{"If-None-Match", map[string]string{"If-None-Match": someETag}, errNotModified},
		{"If-None-Match weak", map[string]string{"If-None-Match": "W/" + someETag}, errNotModified},
		{"If-None-Match *", map[string]string{"If-None-Match": "*"}, errNotModified},
		{"If-None-Match list", map[string]string{"If-None-Match": `"x",` + someETag}, errNotModified},
		{"If-None-Match other", map[string]string{"If-None-Match": `"x"`}, nil},
		{"If-Modified-Since earlier", map[string]string{"If-Modified-Since": before}, nil},
		{"If-Modified-Since same", map[string]string{"If-Modified-Since": same}, errNotModified},
		{"If-Modified-Since later", map[string]string{"If-Modified-Since": after}, errNotModified},
		{"If-Modified-Since is no date", map[string]string{"If-Modified-Since": "yesterday"}, nil},
		{"If-None-Match takes If-Modified-Since's place", map[string]string{"If-None-Match": `"x"`, "If-Modified-Since": after}, nil},
		{"a failed If-Match comes first", map[string]string{"If-Match": `"x"`, "If-None-Match": someETag}, errPrecondition},
		{"If-Match holds and If-None-Match too", map[string]string{"If-Match": someETag, "If-None-Match": someETag}, errNotModified},
		{"a failed If-Unmodified-Since comes first", map[string]string{"If-Unmodified-Since": before, "If-Modified-Since": after}, errPrecondition},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			for name, value := range tt.header {
				h.Set(name, value)
			}
			if err := checkRead(h, someETag, noon); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

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
		got := asAPIError(&vault.ConditionError{Err: sentinel, ETag: someETag, Modified: noon})
		if got.status != status || got.header.Get("ETag") != someETag || got.header.Get("Last-Modified") != noon.Format(http.TimeFormat) {
			t.Errorf("%v is answered %v with %v", sentinel, got, got.header)
		}
		if plain := asAPIError(sentinel); plain.header != nil {
			t.Errorf("%v by itself is answered with %v", sentinel, plain.header)
		}
	}
}
