package conditions

import (
	"errors"
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
		if got := listed(tt.list, someETag); got != tt.want {
			t.Errorf("%s: %v", tt.list, got)
		}
	}
}

// TestRead follows RFC 9110, section 13.2.2, on an object modified at
// noon.
func TestReadConditions(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 500e6, time.UTC) // upstream's dates are whole seconds; a fraction must not count
	at := func(d time.Duration) time.Time { return noon.Add(d).Truncate(time.Second) }
	before, same, after := at(-time.Second), at(0), at(time.Second)
	for _, tt := range []struct {
		name string
		asks Read
		want error
	}{
		{"no condition", Read{}, nil},
		{"If-Match", Read{IfMatch: someETag}, nil},
		{"If-Match *", Read{IfMatch: "*"}, nil},
		{"If-Match list", Read{IfMatch: `"x", ` + someETag}, nil},
		{"If-Match other", Read{IfMatch: `"x"`}, ErrPrecondition},
		{"If-Unmodified-Since later", Read{IfUnmodifiedSince: after}, nil},
		{"If-Unmodified-Since same", Read{IfUnmodifiedSince: same}, nil},
		{"If-Unmodified-Since earlier", Read{IfUnmodifiedSince: before}, ErrPrecondition},
		{"If-Match takes If-Unmodified-Since's place", Read{IfMatch: someETag, IfUnmodifiedSince: before}, nil},
		{"If-None-Match", Read{IfNoneMatch: someETag}, ErrNotModified},
		{"If-None-Match weak", Read{IfNoneMatch: "W/" + someETag}, ErrNotModified},
		{"If-None-Match *", Read{IfNoneMatch: "*"}, ErrNotModified},
		{"If-None-Match list", Read{IfNoneMatch: `"x",` + someETag}, ErrNotModified},
		{"If-None-Match other", Read{IfNoneMatch: `"x"`}, nil},
		{"If-Modified-Since earlier", Read{IfModifiedSince: before}, nil},
		{"If-Modified-Since same", Read{IfModifiedSince: same}, ErrNotModified},
		{"If-Modified-Since later", Read{IfModifiedSince: after}, ErrNotModified},
		{"If-None-Match takes If-Modified-Since's place", Read{IfNoneMatch: `"x"`, IfModifiedSince: after}, nil},
		{"a failed If-Match comes first", Read{IfMatch: `"x"`, IfNoneMatch: someETag}, ErrPrecondition},
		{"If-Match holds and If-None-Match too", Read{IfMatch: someETag, IfNoneMatch: someETag}, ErrNotModified},
		{"a failed If-Unmodified-Since comes first", Read{IfUnmodifiedSince: before, IfModifiedSince: after}, ErrPrecondition},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.asks.Check(someETag, noon)
			if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			var failed *Error
			if err != nil && (!errors.As(err, &failed) || failed.ETag != someETag || !failed.Modified.Equal(noon)) {
				t.Errorf("%v does not say what would hold", err)
			}
		})
	}
}

func TestIfRangeTiesTheRangeToTheObject(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for condition, want := range map[string]bool{
		"": true, someETag: true, `"x"`: false, "W/" + someETag: false, "nonsense": false,
	} {
		asks := Read{IfRange: condition}
		if got := asks.RangeHolds(someETag, noon); got != want {
			t.Errorf("If-Range %q: %v", condition, got)
		}
	}
	for since, want := range map[time.Time]bool{noon: true, noon.Add(-1e9): false, noon.Add(1e9): false} {
		asks := Read{IfRangeSince: since}
		if got := asks.RangeHolds(someETag, noon.Add(500e6)); got != want {
			t.Errorf("If-Range %v: %v", since, got)
		}
	}
}
