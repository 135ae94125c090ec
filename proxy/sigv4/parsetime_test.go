package sigv4

import (
	"testing"
	"time"
)

// parseTime accepts what time.Parse accepts, as the same time.
func FuzzParseTime(f *testing.F) {
	for _, seed := range []string{
		"20261126T220000Z", "20260229T000000Z", "20240229T235959Z", "20261301T000000Z", "20260100T000000Z", "20260101T240000Z",
		"20260101T006000Z", "20260101T000060Z", "00000101T000000Z", "20260101T000000.5Z", "20260101T000000,5Z", "2026010 T000000Z",
		"20260131T000000Z", "20260431T000000Z", "20261126t220000Z", "", "20261126T2200000", "+0261126T220000Z", "20261126T22000\xffZ",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, wantErr := time.Parse(timeFormat, s)
		got, err := parseTime(s)
		if (err == nil) != (wantErr == nil) || err == nil && !got.Equal(want) {
			t.Errorf("%q: %v, %v; want %v, %v", s, got, err, want, wantErr)
		}
	})
}
