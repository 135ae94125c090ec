package proxy

import (
	"errors"
	"net/http"
	"testing"
	"time"
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

func TestIfRangeTiesTheRangeToTheObject(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for condition, want := range map[string]bool{
		"":                                     true,
		someETag:                               true,
		`"x"`:                                  false,
		"W/" + someETag:                        false,
		noon.Format(http.TimeFormat):           true,
		noon.Add(-1e9).Format(http.TimeFormat): false,
		"nonsense":                             false,
	} {
		h := http.Header{}
		if condition != "" {
			h.Set("If-Range", condition)
		}
		if got := rangeStillValid(h, someETag, noon); got != want {
			t.Errorf("If-Range %q: %v", condition, got)
		}
	}
}
