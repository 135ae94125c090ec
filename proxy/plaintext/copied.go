package plaintext

import (
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"hash"
	"io"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/sse"
)

// Copied is another object's plaintext as the body of an upload.
type Copied struct {
	src   io.Reader
	known sse.Facts // of the source
	md5   hash.Hash // nil if nobody asks for it
	sums  map[checksum.Algorithm]hash.Hash
	err   error
}

// NewCopied returns src as a body of which known is known already; withMD5
// and sums say what else to compute. Errors of reading it are src's.
func NewCopied(src io.Reader, known sse.Facts, withMD5 bool, sums []checksum.Algorithm) *Copied {
	b := &Copied{src: src, known: known, sums: make(map[checksum.Algorithm]hash.Hash)}
	if withMD5 {
		b.md5 = md5.New() //nolint:gosec // see above
	}
	for _, algorithm := range sums {
		b.sums[algorithm] = algorithm.New()
	}
	return b
}

// Read implements Body.
func (b *Copied) Read(p []byte) (int, error) {
	n, err := b.src.Read(p)
	if b.md5 != nil {
		b.md5.Write(p[:n])
	}
	for _, sum := range b.sums {
		sum.Write(p[:n])
	}
	if err != nil {
		b.err = err
	}
	return n, err
}

// MD5 implements Body.
func (b *Copied) MD5() (sum [16]byte, ok bool) {
	if b.md5 == nil || b.err != io.EOF {
		return sum, false
	}
	b.md5.Sum(sum[:0])
	return sum, true
}

// DeclaredMD5 implements Body.
func (b *Copied) DeclaredMD5() (sum [16]byte, ok bool) {
	return sum, copy(sum[:], b.known.MD5) == len(sum)
}

// Checksums implements Body.
func (b *Copied) Checksums() map[checksum.Algorithm][]byte {
	out := make(map[checksum.Algorithm][]byte, len(b.sums))
	if b.err == io.EOF {
		for algorithm, sum := range b.sums {
			out[algorithm] = sum.Sum(nil)
		}
	}
	return out
}

// DeclaredChecksum implements Body.
func (b *Copied) DeclaredChecksum() (checksum.Algorithm, []byte, bool) {
	if b.known.Checksum == nil {
		return 0, nil, false
	}
	return Algorithm(b.known.Checksum.Type), b.known.Checksum.Value, true
}

// TrailerChecksum implements Body.
func (b *Copied) TrailerChecksum() (checksum.Algorithm, bool) { return 0, false }

// Size implements Body: what writes the body says how long it is.
func (b *Copied) Size() int64 { return -1 }

// Err implements Body.
func (b *Copied) Err() error { return b.err }
