package cli

import (
	"errors"
	"io"
	"strings"
)

var errLongLine = errors.New("the line is too long")

// ReadLine reads one line, byte by byte: what follows belongs to the next
// question.
func ReadLine(r io.Reader) (string, error) {
	const most = 1 << 16
	var line []byte
	var b [1]byte
	for len(line) < most {
		n, err := r.Read(b[:])
		if n == 1 {
			if b[0] == '\n' {
				return strings.TrimSuffix(string(line), "\r"), nil
			}
			line = append(line, b[0])
		}
		switch {
		case err == io.EOF && len(line) > 0:
			return string(line), nil
		case err != nil:
			return "", err
		}
	}
	return "", errLongLine
}
