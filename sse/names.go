// Package sse is object encryption: request headers, the key hierarchy, the
// record, DARE streams, and the arithmetic of sizes and ranges. It does no
// HTTP and no I/O of its own. docs/format.md is its specification.
package sse

import (
	"errors"
	"strings"
)

// Sentinel errors. They are returned wrapped with what was being done.
var (
	// ErrRecord says that a record is not one that this format knows: not
	// canonical, of another version, or with impossible values.
	ErrRecord = errors.New("invalid object record")
	// ErrContextTooLong says that a record has no room for the client's encryption
	// context: what lies beside it is of different lengths.
	ErrContextTooLong = errors.New("the encryption context is too long for the object's record")
	// ErrWrongKey says that the object key cannot be unsealed: another customer
	// key or DEK, another object's record, or an altered one.
	ErrWrongKey = errors.New("the object key cannot be unsealed with this key")
	// ErrTampered says that data or record are not what was written.
	ErrTampered = errors.New("encrypted object is not authentic")
	// ErrTruncated says that data ended before its last package.
	ErrTruncated = errors.New("encrypted object is cut short")
	// ErrSource says that the plaintext ended early, or did not end in time.
	ErrSource = errors.New("plaintext differs from its declared length")
)

// Mode is the kind of server-side encryption of one object.
type Mode byte

// The modes, with the numbers they have in a record.
const (
	ModeNone Mode = 0
	ModeS3   Mode = 1
	ModeKMS  Mode = 2
	ModeC    Mode = 3
)

// String returns the mode's usual name.
func (m Mode) String() string {
	switch m {
	case ModeNone:
		return "none"
	case ModeS3:
		return "SSE-S3"
	case ModeKMS:
		return "SSE-KMS"
	case ModeC:
		return "SSE-C"
	default:
		return "unknown"
	}
}

// Name is an object's name: both fields are raw bytes, decoded once from the
// request's URL and never cleaned.
type Name struct {
	Bucket, Key string
}

// Clone returns a copy that shares no memory: a name is mostly cut out of a whole request
// line, which it would keep in memory for as long as it is remembered.
func (n Name) Clone() Name { return Name{strings.Clone(n.Bucket), strings.Clone(n.Key)} }
