package sigv4

import (
	"bytes"
	"crypto/md5" // Content-MD5 and ETag are MD5
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

// declaration is what the headers say of the payload's digests.
type declaration struct {
	md5      *[md5.Size]byte
	alg      checksum.Algorithm // 0: no checksum header
	checksum []byte
	trailer  checksum.Algorithm // 0: no trailer announced
}

// parseDeclaration reads Content-MD5, x-amz-checksum-* and x-amz-trailer.
func parseDeclaration(h http.Header, payload PayloadKind, ignoreChecksums bool) (declaration, error) {
	var d declaration
	if values, ok := h["Content-Md5"]; ok {
		sum, err := base64.StdEncoding.Strict().DecodeString(strings.Join(values, ","))
		if err != nil || len(sum) != md5.Size {
			return d, ErrInvalidDigest
		}
		d.md5 = (*[md5.Size]byte)(sum)
	}
	if !ignoreChecksums {
		if err := d.parseChecksumHeader(h); err != nil {
			return d, err
		}
	}
	return d, d.parseTrailerHeader(h, payload)
}

// parseChecksumHeader takes over the one checksum that a request may declare.
func (d *declaration) parseChecksumHeader(h http.Header) error {
	for name, values := range h {
		if len(name) < len(checksum.Prefix) || !strings.EqualFold(name[:len(checksum.Prefix)], checksum.Prefix) {
			continue
		}
		switch strings.ToLower(name[len(checksum.Prefix):]) {
		case "algorithm", "type", "mode": // about the object, no value
			continue
		}
		alg, ok := checksum.OfHeader(name)
		if !ok {
			return fmt.Errorf("%w: unknown algorithm", ErrInvalidChecksum)
		}
		if d.alg != 0 || len(values) != 1 {
			return fmt.Errorf("%w: more than one", ErrInvalidChecksum)
		}
		sum, err := base64.StdEncoding.Strict().DecodeString(values[0])
		if err != nil || len(sum) != alg.Size() {
			return fmt.Errorf("%w: not a %s", ErrInvalidChecksum, alg)
		}
		d.alg, d.checksum = alg, sum
	}
	return nil
}

// parseTrailerHeader takes over the one trailer that a request may announce.
func (d *declaration) parseTrailerHeader(h http.Header, payload PayloadKind) error {
	values, ok := h["X-Amz-Trailer"]
	if !ok {
		return nil
	}
	if !payload.trailers() {
		return fmt.Errorf("%w: trailer announced for a body without", ErrInvalidChecksum)
	}
	alg, ok := checksum.OfHeader(strings.Trim(strings.Join(values, ","), " \t"))
	if !ok {
		return fmt.Errorf("%w: trailer is not one checksum", ErrInvalidChecksum)
	}
	if d.alg != 0 {
		return fmt.Errorf("%w: in header and trailer", ErrInvalidChecksum)
	}
	d.trailer = alg
	return nil
}

// digests computes what must be compared or was asked for, and nothing else.
type digests struct {
	md5         hash.Hash // nil if not needed
	md5Sum      [md5.Size]byte
	sums        [checksum.Last + 1]hash.Hash
	report      [checksum.Last + 1]bool // declared as a checksum or asked for
	payloadHash []byte                  // x-amz-content-sha256, nil if none
}

// start sets up the hashes.
func (g *digests) start(d *declaration, payloadHash []byte, opts BodyOptions) {
	if opts.ComputeMD5 || d.md5 != nil {
		g.md5 = md5.New()
	}
	for _, alg := range opts.Compute {
		g.add(alg)
	}
	g.add(d.alg)
	g.add(d.trailer)
	if len(opts.Compute) == 0 && d.alg == 0 && d.trailer == 0 {
		g.add(opts.Default)
	}
	g.payloadHash = payloadHash
	if payloadHash != nil && g.sums[checksum.SHA256] == nil {
		g.sums[checksum.SHA256] = sha256.New()
	}
}

// add computes and reports a checksum.
func (g *digests) add(alg checksum.Algorithm) {
	if alg == 0 || alg > checksum.Last || g.sums[alg] != nil {
		return
	}
	g.sums[alg], g.report[alg] = alg.New(), true
}

func (g *digests) write(p []byte) {
	if g.md5 != nil {
		g.md5.Write(p)
	}
	for _, h := range g.sums {
		if h != nil {
			h.Write(p)
		}
	}
}

// verify compares all digests; trailer is the value of the announced trailer,
// which the source has found to be there.
func (g *digests) verify(d *declaration, trailer string) error {
	if g.md5 != nil {
		g.md5.Sum(g.md5Sum[:0])
		if d.md5 != nil && *d.md5 != g.md5Sum {
			return ErrBadDigest
		}
	}
	if g.payloadHash != nil && !bytes.Equal(g.sums[checksum.SHA256].Sum(nil), g.payloadHash) {
		return ErrContentSHA256Mismatch
	}
	if d.alg != 0 && !bytes.Equal(g.sums[d.alg].Sum(nil), d.checksum) {
		return ErrChecksumMismatch
	}
	if d.trailer == 0 {
		return nil
	}
	sum, err := base64.StdEncoding.Strict().DecodeString(trailer)
	if err != nil || !bytes.Equal(g.sums[d.trailer].Sum(nil), sum) {
		return ErrChecksumMismatch
	}
	return nil
}

// reported returns the raw digests that were declared or asked for.
func (g *digests) reported() map[checksum.Algorithm][]byte {
	out := make(map[checksum.Algorithm][]byte)
	for alg, h := range g.sums {
		if h != nil && g.report[alg] {
			out[checksum.Algorithm(alg)] = h.Sum(nil)
		}
	}
	return out
}
