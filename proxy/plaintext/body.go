// Package plaintext is what a write stores before it is encrypted: a client's body, or
// another object's data, with its digests; what a read wants of it: a range; and the readers
// that keep the end of it back until all of it is verified.
package plaintext

import (
	"errors"
	"io"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// Sentinels of reading a body.
var (
	ErrBusy           = errors.New("no memory left for a body of unknown length")
	ErrMissingLength  = errors.New("missing content length")
	ErrIncompleteBody = errors.New("the body is not as long as was said")
)

// Body is the plaintext of a write: a client's, or another object's data. It returns
// io.EOF only when everything is verified.
type Body interface {
	io.Reader
	// MD5 and Checksums are known after io.EOF, the declared ones before.
	MD5() (sum [16]byte, ok bool)
	DeclaredMD5() (sum [16]byte, ok bool)
	Checksums() map[checksum.Algorithm][]byte
	DeclaredChecksum() (alg checksum.Algorithm, value []byte, ok bool)
	// TrailerChecksum is the algorithm of the one that follows the body.
	TrailerChecksum() (alg checksum.Algorithm, ok bool)
	// Size is the body's length in bytes, -1 if that was not said.
	Size() int64
	// Err is the error that reading ended with, nil or io.EOF.
	Err() error
}

// Memory hands out buffers for bodies.
type Memory interface {
	// Take returns a buffer of size bytes, nil if none is left. It never waits.
	Take(size int64) []byte
	// Give takes one back; reuse is false while somebody may still read it.
	Give(buffer []byte, reuse bool)
}
