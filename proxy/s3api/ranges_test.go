package s3api

import (
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/plaintext"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	open := func(first int64) *plaintext.Range { return &plaintext.Range{First: first, Last: -1, Suffix: -1} }
	closed := func(first, last int64) *plaintext.Range {
		return &plaintext.Range{First: first, Last: last, Suffix: -1}
	}
	for _, tt := range []struct {
		header string
		want   *plaintext.Range // nil for the whole object
		err    error
	}{
		{"", nil, nil},
		{"bytes=0-9", closed(0, 9), nil},
		{"bytes=0-0", closed(0, 0), nil},
		{"bytes=9-9", closed(9, 9), nil},
		{"bytes=3-", open(3), nil},
		{"bytes=3-100", closed(3, 100), nil},
		{"bytes=-3", &plaintext.Range{Suffix: 3}, nil},
		{"bytes= 0-1 ", closed(0, 1), nil},
		{"bytes=5-4", nil, errInvalidRange},
		{"bytes=9-1", nil, errInvalidRange},
		{"bytes=-0", nil, errInvalidRange},
		// What is not one range of bytes is ignored.
		{"bytes=0-1,3-4", nil, nil},
		{"bytes=a-b", nil, nil},
		{"bytes=1", nil, nil},
		{"bytes=-", nil, nil},
		{"bytes=--1", nil, nil},
		{"bytes=+1-2", nil, nil},
		{"bytes=1-+2", nil, nil},
		{"bytes=1 -2", nil, nil},
		{"items=0-1", nil, nil},
		{"0-1", nil, nil},
		{"bytes=99999999999999999999-", nil, nil},
		{"bytes=4611686018427387903-", open(4611686018427387903), nil},
	} {
		t.Run(tt.header, func(t *testing.T) {
			t.Parallel()
			got, err := parseRange(tt.header)
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil || (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestUnsatisfiableRangeIsNamedInTheAnswer(t *testing.T) {
	t.Parallel()
	for rng, want := range map[plaintext.Range]string{
		{First: 20, Last: 30, Suffix: -1}: "The requested range 'bytes=20-30' is not satisfiable",
		{First: 20, Last: -1, Suffix: -1}: "The requested range 'bytes=20--1' is not satisfiable",
		{Suffix: 5}:                       "The requested range 'bytes=-5' is not satisfiable",
	} {
		if e := Describe(&plaintext.RangeError{Range: rng}); e.Status != 416 || e.Code != "InvalidRange" || e.Message != want {
			t.Errorf("got %v", e)
		}
	}
	if e := Describe(errInvalidRange); e.Status != 416 {
		t.Errorf("a range that ends before it begins: %v", e)
	}
}

func FuzzParseRange(f *testing.F) {
	for _, header := range []string{"bytes=0-1", "bytes=-5", "bytes=65535-65536", "bytes=0-", "bytes=1-2,3-4", "bytes=4611686018427387903-4611686018427387903", "bytes=-4611686018427387903"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		b, err := parseRange(header)
		switch {
		case err != nil && !errors.Is(err, errInvalidRange):
			t.Fatalf("%q: %v", header, err)
		case err != nil || b == nil:
			return
		case b.Suffix == 0 || b.Suffix > 0 && (b.First != 0 || b.Last != 0) || b.Suffix < 0 && (b.First < 0 || b.Last >= 0 && b.Last < b.First):
			t.Fatalf("%q is %+v", header, b)
		case max(b.First, b.Last, b.Suffix) > 1<<62-1:
			t.Fatalf("%q is %+v: no arithmetic is safe with it", header, b)
		}
	})
}
