package plaintext

import (
	"errors"
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func TestRangeWithinAnObject(t *testing.T) {
	t.Parallel()
	open := func(first int64) Range { return Range{First: first, Last: -1, Suffix: -1} }
	closed := func(first, last int64) Range { return Range{First: first, Last: last, Suffix: -1} }
	beyond := sse.Range{Length: -1}
	for _, tt := range []struct {
		rng  Range
		size int64
		want sse.Range
	}{
		{closed(0, 9), 10, sse.Range{Length: 10}},
		{closed(0, 0), 10, sse.Range{Length: 1}},
		{closed(9, 9), 10, sse.Range{Offset: 9, Length: 1}},
		{open(3), 10, sse.Range{Offset: 3, Length: 7}},
		{closed(3, 100), 10, sse.Range{Offset: 3, Length: 7}},
		{Range{Suffix: 3}, 10, sse.Range{Offset: 7, Length: 3}},
		{Range{Suffix: 100}, 10, sse.Range{Length: 10}},
		{open(10), 10, beyond},
		{closed(10, 20), 10, beyond},
		{open(4611686018427387903), 10, beyond},
		// As at AWS, an empty object has no range at all.
		{Range{Suffix: 5}, 0, beyond},
		{open(0), 0, beyond},
		{closed(0, 0), 0, beyond},
	} {
		got, err := tt.rng.Of(tt.size)
		var refused *RangeError
		if errors.As(err, &refused) {
			got = beyond
			if refused.Range != tt.rng {
				t.Errorf("%+v of %d: the error names %+v", tt.rng, tt.size, refused.Range)
			}
		}
		if got != tt.want || err != nil && refused == nil {
			t.Errorf("%+v of %d: %+v, %v", tt.rng, tt.size, got, err)
		}
	}
}

func TestUnsatisfiableRangeIsNamed(t *testing.T) {
	t.Parallel()
	for rng, want := range map[Range]string{
		{First: 20, Last: 30, Suffix: -1}: "the requested range 'bytes=20-30' is not satisfiable",
		{Suffix: 5}:                       "the requested range 'bytes=-5' is not satisfiable",
	} {
		if _, err := rng.Of(0); fmt.Sprint(err) != want {
			t.Errorf("got %v", err)
		}
	}
}

// checkFetched fails unless what upstream sends for b, out of an object of size
// bytes, holds all packages of the range, and at most two packages more than it
// has bytes.
func checkFetched(t *testing.T, b *Range, size int64) {
	t.Helper()
	r, err := b.Of(size)
	encSize := sse.EncSize(size)
	got := b.Encrypted(encSize)
	if err != nil {
		if refused := new(RangeError); !errors.As(err, &refused) || b.First < size {
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
	if b.Suffix < 0 && got != need {
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
				checkFetched(t, &Range{Suffix: a}, size)
			}
			checkFetched(t, &Range{First: a, Last: -1, Suffix: -1}, size)
			for _, n := range edgeSizes() {
				checkFetched(t, &Range{First: a, Last: a + n, Suffix: -1}, size)
			}
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, size := range edgeSizes() {
		f.Add(int64(65535), int64(65536), false, size)
		f.Add(int64(1), int64(-1), false, size)
		f.Add(int64(4611686018427387903), int64(4611686018427387903), false, size)
		f.Add(int64(4611686018427387903), int64(0), true, size)
	}
	f.Fuzz(func(t *testing.T, first, last int64, suffix bool, size int64) {
		const most = 1<<62 - 1 // of what is read from a header
		if first < 0 || first > most || last > most || size < 0 || size > 5<<40 {
			return
		}
		b := &Range{First: first, Last: max(last, -1), Suffix: -1}
		switch {
		case suffix && first == 0, !suffix && b.Last >= 0 && b.Last < b.First:
			return
		case suffix:
			b = &Range{Suffix: first}
		}
		checkFetched(t, b, size)
	})
}
