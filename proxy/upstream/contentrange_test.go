package upstream

import (
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func TestParseContentRange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header string
		ok     bool
		want   sse.Range
		size   int64
	}{
		{"bytes 0-9/10", true, sse.Range{Length: 10}, 10},
		{"bytes 9-9/10", true, sse.Range{Offset: 9, Length: 1}, 10},
		{"bytes 0--1/0", true, sse.Range{}, 0},
		{"bytes 0-10/10", false, sse.Range{}, 0},
		{"bytes 5-3/10", false, sse.Range{}, 0},
		{"bytes -1-3/10", false, sse.Range{}, 0},
		{"bytes 0-9/*", false, sse.Range{}, 0},
		{"bytes */10", false, sse.Range{}, 0},
		{"bytes 0-9/10 ", false, sse.Range{}, 0},
		{"bytes  0-9/10", false, sse.Range{}, 0},
		{"bytes 00-9/10", false, sse.Range{}, 0},
		{"bytes +0-9/10", false, sse.Range{}, 0},
		{"bytes=0-9/10", false, sse.Range{}, 0},
		{"", false, sse.Range{}, 0},
		{"bytes 0-99999999999999999999/10", false, sse.Range{}, 0},
	} {
		r, size, ok := parseContentRange(tt.header)
		if ok != tt.ok || ok && (r != tt.want || size != tt.size) {
			t.Errorf("%q: %+v, %d, %v", tt.header, r, size, ok)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes 0--1/0")
	f.Add("bytes 0-9223372036854775807/0")
	f.Fuzz(func(t *testing.T, header string) {
		r, size, ok := parseContentRange(header)
		if ok && fmt.Sprintf("bytes %d-%d/%d", r.Offset, r.Offset+r.Length-1, size) != header {
			t.Fatalf("%q is read as %+v of %d", header, r, size)
		}
	})
}
