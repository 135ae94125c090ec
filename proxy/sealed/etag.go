package sealed

import (
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/sse"
)

// opaqueSuffix ends ETags of SSE-S3 that are no MD5:
// clients that compare MD5s of SSE-S3 leave out ETags with a hyphen.
const opaqueSuffix = "-1"

// ETag returns the quoted ETag that clients know an object by. SSE-S3: the
// MD5 of the plaintext, or of the parts' ETags with their number; where the record says
// that it is opaque, the record's with a -1 suffix, which says that it is no MD5; where
// nobody knows it, or the manifest that has it cannot be read, upstream's with that
// suffix. SSE-KMS, SSE-C and plain objects (rec is nil): upstream's own.
func ETag(rec *sse.Record, facts *sse.Facts, upstreamETag string) string {
	stored := strings.Trim(upstreamETag, `"`)
	switch {
	case rec != nil && rec.OpaqueETag && !rec.MD5ETag():
		return Opaque(rec.ETag())
	case rec == nil || !rec.MD5ETag():
		return `"` + stored + `"`
	case facts == nil || facts.MD5 == nil:
		return `"` + strings.TrimSuffix(stored, opaqueSuffix) + opaqueSuffix + `"`
	case facts.Parts > 0:
		return `"` + hex.EncodeToString(facts.MD5) + "-" + strconv.Itoa(facts.Parts) + `"`
	default:
		return `"` + hex.EncodeToString(facts.MD5) + `"`
	}
}

// Opaque is the quoted ETag of an object whose record says that it is opaque.
func Opaque(tag [16]byte) string { return `"` + hex.EncodeToString(tag[:]) + opaqueSuffix + `"` }

// OfNothing is the MD5 of empty data. Upstream's ETag of whatever is empty follows from it, so
// clients have it too, also where ETags are opaque: had an empty object one of its own, a write's
// If-Match, which upstream judges, would hold for another empty object.
func OfNothing() []byte {
	sum := md5.Sum(nil) //nolint:gosec // S3's ETags are MD5
	return sum[:]
}

// PartETag is the quoted ETag that clients know a part by: of SSE-S3 the MD5 of
// its plaintext, of a plain part upstream's, else one that no other part has. Where ETags
// are opaque, a part of SSE-S3 that came without an MD5 has such a one with a -1 suffix.
func PartETag(rec *sse.Record, id manifest.PartID, facts *sse.PartFacts) string {
	if rec == nil {
		return `"` + id.ETag + `"`
	}
	suffix := ""
	if rec.OpaqueETag && facts.MD5 == nil {
		suffix = opaqueSuffix
	}
	return `"` + hex.EncodeToString(PartDigest(rec, id.Number, facts)) + suffix + `"`
}

// PartDigest is what the ETag of an encrypted part says in hex: 16 bytes.
func PartDigest(rec *sse.Record, number int, facts *sse.PartFacts) []byte {
	if rec.Mode == sse.ModeS3 && facts.MD5 != nil {
		return facts.MD5
	}
	tag := sse.PartETag(rec.Manifest, uint32(number), facts.Nonce) //nolint:gosec // 1 to 10,000
	return tag[:]
}

// ParsePartETag returns the digest that an ETag of an encrypted part says, quoted or not.
// An error says that it is none of PartETag's.
func ParsePartETag(rec *sse.Record, etag string) ([]byte, error) {
	etag = strings.Trim(etag, `"`)
	if rec.OpaqueETag {
		etag = strings.TrimSuffix(etag, opaqueSuffix)
	}
	return hex.DecodeString(etag)
}
