package vault

import (
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// clientETag returns the quoted ETag that clients know an object by. SSE-S3: the
// MD5 of the plaintext, or of the parts' MD5s with their number; where nobody
// computed it, or the manifest that has it cannot be read, upstream's with a -1
// suffix, which says that it is no MD5. SSE-KMS, SSE-C and plain objects (rec is nil):
// upstream's own.
func clientETag(rec *sse.Record, facts *sse.Facts, upstreamETag string) string {
	stored := strings.Trim(upstreamETag, `"`)
	switch {
	case rec == nil || rec.Mode != sse.ModeS3:
		return `"` + stored + `"`
	case facts == nil || facts.MD5 == nil:
		return `"` + strings.TrimSuffix(stored, "-1") + `-1"`
	case facts.Parts > 0:
		return `"` + hex.EncodeToString(facts.MD5) + "-" + strconv.Itoa(facts.Parts) + `"`
	default:
		return `"` + hex.EncodeToString(facts.MD5) + `"`
	}
}
