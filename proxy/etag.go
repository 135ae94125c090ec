package proxy

import (
	"encoding/hex"
	"net/http"
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

// checksumHeaders are the header of each checksum.
var checksumHeaders = map[sse.ChecksumType]string{
	sse.CRC32:     "X-Amz-Checksum-Crc32",
	sse.CRC32C:    "X-Amz-Checksum-Crc32c",
	sse.CRC64NVME: "X-Amz-Checksum-Crc64nvme",
	sse.SHA1:      "X-Amz-Checksum-Sha1",
	sse.SHA256:    "X-Amz-Checksum-Sha256",
}

func isChecksumHeader(name string) bool {
	return strings.HasPrefix(name, "X-Amz-Checksum-")
}

func setChecksumHeaders(h http.Header, facts *sse.Facts) {
	sum := facts.Checksum
	h.Set(checksumHeaders[sum.Type], checksumValue(facts))
	h.Set("X-Amz-Checksum-Type", checksumKind(sum))
}

// checksumValue is a checksum as S3 writes it: one of parts' checksums ends with
// their number.
func checksumValue(facts *sse.Facts) string {
	value := base64Std(facts.Checksum.Value)
	if facts.Checksum.Composite {
		value += "-" + strconv.Itoa(facts.Parts)
	}
	return value
}

func checksumKind(sum *sse.Checksum) string {
	if sum.Composite {
		return "COMPOSITE"
	}
	return "FULL_OBJECT"
}
