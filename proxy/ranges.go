package proxy

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// byteRange is a Range header: one range of bytes.
type byteRange struct {
	// first and last are as in the header; last is -1 if the range is open.
	first, last int64
	// suffix is the length of a suffix range; -1 if it is none.
	suffix int64
}

// parseRange reads a Range header. Like MinIO it ignores what is not one range
// of bytes: nil, nil means the whole object. errInvalidRange.
func parseRange(header string) (*byteRange, error) {
	spec, ok := strings.CutPrefix(header, "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return nil, nil
	}
	from, to, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return nil, nil
	}
	if from == "" {
		n, err := parseOffset(to)
		if err != nil {
			return nil, nil
		}
		if n == 0 {
			return nil, errInvalidRange
		}
		return &byteRange{suffix: n}, nil
	}
	first, err := parseOffset(from)
	if err != nil {
		return nil, nil
	}
	if to == "" {
		return &byteRange{first: first, last: -1, suffix: -1}, nil
	}
	last, err := parseOffset(to)
	if err != nil {
		return nil, nil
	}
	if last < first {
		return nil, errInvalidRange
	}
	return &byteRange{first: first, last: last, suffix: -1}, nil
}

func parseOffset(s string) (int64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(s, 10, 63)
}

// of returns the range within an object of size bytes, or an InvalidRange.
// As at AWS, an empty object has no range at all: MinIO answers its end with the
// Content-Range "bytes 0--1/0", which clients cannot read.
func (b *byteRange) of(size int64) (sse.Range, error) {
	switch {
	case b.suffix >= 0 && size == 0:
		return sse.Range{}, b.unsatisfiable()
	case b.suffix >= 0:
		n := min(b.suffix, size)
		return sse.Range{Offset: size - n, Length: n}, nil
	case b.first >= size:
		return sse.Range{}, b.unsatisfiable()
	case b.last < 0 || b.last >= size:
		return sse.Range{Offset: b.first, Length: size - b.first}, nil
	default:
		return sse.Range{Offset: b.first, Length: b.last - b.first + 1}, nil
	}
}

// unsatisfiable is errInvalidRange with the range in its message, as MinIO
// writes it.
func (b *byteRange) unsatisfiable() error {
	message := fmt.Sprintf("The requested range 'bytes=%d-%d' is not satisfiable", b.first, b.last)
	if b.suffix >= 0 {
		message = fmt.Sprintf("The requested range 'bytes=-%d' is not satisfiable", b.suffix)
	}
	return &apiError{416, "InvalidRange", message, nil}
}

// upstream returns the Range header that fetches the packages of the range,
// whatever the object's size: a suffix may begin inside a package.
func (b *byteRange) upstream() string {
	switch {
	case b.suffix >= 0:
		packages := min(b.suffix, sse.MaxPlainSize)/sse.PackageSize + 2
		return fmt.Sprintf("bytes=-%d", packages*sse.EncPackageSize)
	case b.last < 0:
		return fmt.Sprintf("bytes=%d-", min(b.first, sse.MaxPlainSize)/sse.PackageSize*sse.EncPackageSize)
	default:
		first, last := min(b.first, sse.MaxPlainSize), min(b.last, sse.MaxPlainSize)
		enc := sse.Range{Offset: first, Length: last - first + 1}.Encrypted()
		return fmt.Sprintf("bytes=%d-%d", enc.Offset, enc.Offset+enc.Length-1)
	}
}

// contentRange is the Content-Range header of r in an object of size bytes.
func contentRange(r sse.Range, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.Offset, r.Offset+r.Length-1, size)
}

// parseContentRange reads upstream's Content-Range header.
func parseContentRange(header string) (r sse.Range, size int64, ok bool) {
	var first, last int64
	n, err := fmt.Sscanf(header, "bytes %d-%d/%d", &first, &last, &size)
	if err != nil || n != 3 || first < 0 || size < 0 || size == 0 && last != -1 || last < first-1 || last >= size && size > 0 || contentRange(sse.Range{Offset: first, Length: last - first + 1}, size) != header {
		return sse.Range{}, 0, false
	}
	return sse.Range{Offset: first, Length: last - first + 1}, size, true
}
