package s3api

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/sse"
)

// parseRange reads a Range header. Like MinIO it ignores what is not one range
// of bytes: nil, nil means the whole object. errInvalidRange.
func parseRange(header string) (*plaintext.Range, error) {
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
		return &plaintext.Range{Suffix: n}, nil
	}
	first, err := parseOffset(from)
	if err != nil {
		return nil, nil
	}
	if to == "" {
		return &plaintext.Range{First: first, Last: -1, Suffix: -1}, nil
	}
	last, err := parseOffset(to)
	if err != nil {
		return nil, nil
	}
	if last < first {
		return nil, errInvalidRange
	}
	return &plaintext.Range{First: first, Last: last, Suffix: -1}, nil
}

func parseOffset(s string) (int64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(s, 10, 63)
}

// contentRange is the Content-Range header of r in an object of size bytes.
func contentRange(r sse.Range, size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.Offset, r.Offset+r.Length-1, size)
}
