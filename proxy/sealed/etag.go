package sealed

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/sse"
)

// opaqueSuffix ends ETags of SSE-S3 that are no MD5, as MinIO's do with --no-compat:
// clients that compare MD5s of SSE-S3 leave out ETags with a hyphen.
const opaqueSuffix = "-1"

// ETag returns the quoted ETag that clients know an object by. SSE-S3: the
// MD5 of the plaintext, or of the parts' MD5s with their number; where nobody
// computed it, or the manifest that has it cannot be read, upstream's with a -1
// suffix, which says that it is no MD5. SSE-S3 with opaque ETags: the record's with that
// suffix, or of an object that was uploaded in parts upstream's, which ends with their
// number. SSE-KMS, SSE-C and plain objects (rec is nil): upstream's own.
func ETag(rec *sse.Record, facts *sse.Facts, upstreamETag string) string {
	stored := strings.Trim(upstreamETag, `"`)
	switch {
	case rec != nil && rec.OpaqueETag && rec.Layout != sse.Uploaded:
		tag := rec.ETag()
		return `"` + hex.EncodeToString(tag[:]) + opaqueSuffix + `"`
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

// PartETag is the quoted ETag that clients know a part by: of SSE-S3 the MD5 of
// its plaintext, of a plain part upstream's, else one that no other part has; with opaque
// ETags that has a -1 suffix.
func PartETag(rec *sse.Record, id manifest.PartID, facts *sse.PartFacts) string {
	switch {
	case rec == nil:
		return `"` + id.ETag + `"`
	case rec.MD5ETag():
		return fmt.Sprintf(`"%x"`, facts.MD5)
	default:
		tag := sse.PartETag(rec.Manifest, uint32(id.Number), facts.Nonce) //nolint:gosec // 1 to 10,000
		suffix := ""
		if rec.OpaqueETag {
			suffix = opaqueSuffix
		}
		return fmt.Sprintf(`"%x%s"`, tag, suffix)
	}
}
