package proxy

import (
	"errors"
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header string
		size   int64
		want   string // Content-Range; "whole" for no range, "416"
	}{
		{"", 10, "whole"},
		{"bytes=0-9", 10, "bytes 0-9/10"},
		{"bytes=0-0", 10, "bytes 0-0/10"},
		{"bytes=9-9", 10, "bytes 9-9/10"},
		{"bytes=3-", 10, "bytes 3-9/10"},
		{"bytes=3-100", 10, "bytes 3-9/10"},
		{"bytes=-3", 10, "bytes 7-9/10"},
		{"bytes=-100", 10, "bytes 0-9/10"},
		{"bytes= 0-1 ", 10, "bytes 0-1/10"},
		{"bytes=10-", 10, "416"},
		{"bytes=10-20", 10, "416"},
		{"bytes=5-4", 10, "416"},
		{"bytes=-0", 10, "416"},
		{"bytes=-5", 0, "416"},
		{"bytes=0-", 0, "416"},
		{"bytes=0-0", 0, "416"},
		// What is not one range of bytes is ignored.
		{"bytes=0-1,3-4", 10, "whole"},
		{"bytes=a-b", 10, "whole"},
		{"bytes=1", 10, "whole"},
		{"bytes=-", 10, "whole"},
		{"bytes=--1", 10, "whole"},
		{"bytes=+1-2", 10, "whole"},
		{"bytes=1-+2", 10, "whole"},
		{"bytes=1 -2", 10, "whole"},
		{"items=0-1", 10, "whole"},
		{"0-1", 10, "whole"},
		{"bytes=99999999999999999999-", 10, "whole"},
		{"bytes=4611686018427387903-", 10, "416"},
	} {
		t.Run(fmt.Sprintf("%s of %d", tt.header, tt.size), func(t *testing.T) {
			t.Parallel()
			got := "whole"
			b, err := parseRange(tt.header)
			if err == nil && b != nil {
				var r sse.Range
				r, err = b.of(tt.size)
				got = contentRange(r, tt.size)
			}
			if err != nil {
				got = fmt.Sprint(asAPIError(err).status)
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestUnsatisfiableRangeIsNamedInTheAnswer(t *testing.T) {
	t.Parallel()
	b, err := parseRange("bytes=20-30")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.of(10)
	if e := asAPIError(err); e.status != 416 || e.code != "InvalidRange" || e.message != "The requested range 'bytes=20-30' is not satisfiable" {
		t.Errorf("got %v", e)
	}
	if _, err := parseRange("bytes=9-1"); !errors.Is(err, errInvalidRange) {
		t.Errorf("a range that ends before it begins: %v", err)
	}
}

// checkFetched fails unless what upstream sends for b, out of an object of size
// bytes, holds all packages of the range, and at most two packages more than it
// has bytes.
func checkFetched(t *testing.T, b *byteRange, size int64) {
	t.Helper()
	r, err := b.of(size)
	encSize := sse.EncSize(size)
	got := b.encrypted(encSize)
	if err != nil {
		if e := asAPIError(err); e.status != 416 || b.first < size {
			t.Fatalf("%+v of %d bytes: %v", b, size, err)
		}
		return
	}
	if r.Offset < 0 || r.Length < 0 || r.Offset+r.Length > size || r.Length == 0 && size > 0 {
		t.Fatalf("%+v of %d bytes: the range is %+v", b, size, r)
	}
	need := r.Encrypted().Clip(encSize)
	if got.Offset < 0 || got.Length < 0 || got.Offset > need.Offset || got.Offset+got.Length < need.Offset+need.Length {
		t.Fatalf("%+v of %d bytes: upstream is asked for %+v, %+v is needed", b, size, got, need)
	}
	if got.Offset+got.Length > encSize {
		t.Fatalf("%+v of %d bytes: %+v is more than there is", b, size, got)
	}
	const overhead = sse.EncPackageSize - sse.PackageSize
	if most := r.Length + 2*sse.EncPackageSize + overhead*(r.Length/sse.PackageSize); got.Length > most {
		t.Fatalf("%+v of %d bytes: upstream sends %d bytes for %d", b, size, got.Length, r.Length)
	}
	if b.suffix < 0 && got != need {
		t.Fatalf("%+v of %d bytes: upstream is asked for %+v, just %+v is needed", b, size, got, need)
	}
}

// edgeSizes are where packages begin and end.
func edgeSizes() []int64 {
	const p = sse.PackageSize
	return []int64{0, 1, 2, p - 1, p, p + 1, 2*p - 1, 2 * p, 2*p + 1, 3 * p, 100*p + 17, 5 << 30, 5 << 40}
}

func TestRangesFetchTheirPackagesAndLittleMore(t *testing.T) {
	t.Parallel()
	for _, size := range edgeSizes() {
		for _, a := range edgeSizes() {
			if a > 0 {
				checkFetched(t, &byteRange{suffix: a}, size)
			}
			checkFetched(t, &byteRange{first: a, last: -1, suffix: -1}, size)
			for _, n := range edgeSizes() {
				checkFetched(t, &byteRange{first: a, last: a + n, suffix: -1}, size)
			}
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, header := range []string{"bytes=0-1", "bytes=-5", "bytes=65535-65536", "bytes=0-", "bytes=1-2,3-4", "bytes=4611686018427387903-4611686018427387903", "bytes=-4611686018427387903"} {
		for _, size := range edgeSizes() {
			f.Add(header, size)
		}
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		b, err := parseRange(header)
		switch {
		case err != nil && !errors.Is(err, errInvalidRange):
			t.Fatalf("%q: %v", header, err)
		case err != nil || b == nil:
			return
		case b.suffix == 0 || b.suffix > 0 && (b.first != 0 || b.last != 0) || b.suffix < 0 && (b.first < 0 || b.last >= 0 && b.last < b.first):
			t.Fatalf("%q is %+v", header, b)
		}
		if size = max(size, -size); size < 0 || size > 5<<40 {
			size = 5 << 40
		}
		checkFetched(t, b, size)
	})
}

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
		if ok && contentRange(r, size) != header {
			t.Fatalf("%q is read as %q", header, contentRange(r, size))
		}
	})
}
