package proxy

import (
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// clientETag returns the quoted ETag that clients know an object by. SSE-S3: the
// MD5 of the plaintext, or, where it was not known when the object was
// written, upstream's with a -1 suffix, which says that it is no MD5.
// SSE-KMS, SSE-C and plain objects (rec is nil): upstream's own.
func clientETag(rec *sse.Record, md5 []byte, upstreamETag string) string {
	stored := strings.Trim(upstreamETag, `"`)
	switch {
	case rec == nil || rec.Mode != sse.ModeS3:
		return `"` + stored + `"`
	case md5 != nil:
		return `"` + hex.EncodeToString(md5) + `"`
	default:
		return `"` + stored + `-1"`
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

func setChecksumHeaders(h http.Header, sum *sse.Checksum) {
	h.Set(checksumHeaders[sum.Type], base64Std(sum.Value))
	h.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
}
