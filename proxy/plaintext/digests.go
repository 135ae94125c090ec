package plaintext

import (
	"net/textproto"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/sse"
)

// Digests are what is to be computed of a body while it is read.
type Digests struct {
	// MD5 says that the MD5 is needed.
	MD5 bool
	// Compute are checksums that are needed, whatever the client sends.
	Compute []checksum.Algorithm
	// Default is computed if the client sends no checksum; 0 for none.
	Default checksum.Algorithm
}

// Known returns what is known of a body now: computed, if it was read, or
// declared, and then verified before its last byte goes upstream. withMD5 is for
// SSE-S3: other ETags are upstream's.
func Known(body Body, withMD5 bool) sse.Facts {
	var f sse.Facts
	sum, ok := body.MD5()
	if !ok {
		sum, ok = body.DeclaredMD5()
	}
	if ok && withMD5 {
		f.MD5 = sum[:]
	}
	trailer, _ := body.TrailerChecksum()
	for algorithm, value := range body.Checksums() {
		if f.Checksum == nil || algorithm == trailer {
			f.Checksum = &sse.Checksum{Type: ChecksumType(algorithm), Value: value}
		}
	}
	if algorithm, value, ok := body.DeclaredChecksum(); ok {
		f.Checksum = &sse.Checksum{Type: ChecksumType(algorithm), Value: value}
	}
	return f
}

// ChecksumHeader is the canonical name of the metadata that carries a checksum.
func ChecksumHeader(algorithm checksum.Algorithm) string {
	return textproto.CanonicalMIMEHeaderKey(algorithm.HeaderName())
}
