package sse

import (
	"encoding/binary"
	"fmt"
)

// field is one tag of a record or of its private section.
type field struct {
	tag   byte
	value []byte
}

func appendField(dst []byte, tag byte, value []byte) []byte {
	dst = append(dst, tag)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// nextField splits the first field off b. previous is the tag before it, 0 at
// the start: tags ascend strictly.
func nextField(b []byte, previous byte) (f field, rest []byte, err error) {
	tag := b[0]
	if tag <= previous {
		return field{}, nil, fmt.Errorf("tag %#x is repeated or out of order: %w", tag, ErrRecord)
	}
	length, n, err := canonicalUvarint(b[1:])
	if err != nil {
		return field{}, nil, err
	}
	b = b[1+n:]
	if length > uint64(len(b)) {
		return field{}, nil, fmt.Errorf("tag %#x is cut short: %w", tag, ErrRecord)
	}
	return field{tag: tag, value: b[:length]}, b[length:], nil
}

// canonicalUvarint decodes a uvarint and refuses all but its shortest form.
func canonicalUvarint(b []byte) (value uint64, n int, err error) {
	value, n = binary.Uvarint(b)
	if n <= 0 || n != len(binary.AppendUvarint(nil, value)) {
		return 0, 0, fmt.Errorf("number is cut short or not in its shortest form: %w", ErrRecord)
	}
	return value, n, nil
}

// wholeUvarint decodes a value that is one canonical uvarint and nothing else.
func wholeUvarint(b []byte) (uint64, error) {
	value, n, err := canonicalUvarint(b)
	if err != nil {
		return 0, err
	}
	if n != len(b) {
		return 0, fmt.Errorf("bytes after a number: %w", ErrRecord)
	}
	return value, nil
}
