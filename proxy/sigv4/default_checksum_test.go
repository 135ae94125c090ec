package sigv4

import (
	"encoding/base64"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

func TestDefaultChecksumIsComputedOnlyWhereNoOtherIs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		upload  upload
		compute []checksum.Algorithm
		want    checksum.Algorithm
	}{
		"none":        {upload: upload{}, want: checksum.CRC64NVME},
		"Content-MD5": {upload: upload{header: map[string]string{"content-md5": base64MD5(text)}}, want: checksum.CRC64NVME},
		"header":      {upload: upload{header: map[string]string{checksum.SHA1.HeaderName(): base64Sum(checksum.SHA1, text)}}, want: checksum.SHA1},
		"trailer":     {upload: upload{payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(text)}, want: checksum.CRC32},
		"asked for":   {upload: upload{}, compute: []checksum.Algorithm{checksum.CRC32C}, want: checksum.CRC32C},
	} {
		c.upload.data = text
		_, b, err := readAll(t, c.upload.request(), BodyOptions{Compute: c.compute, Default: checksum.CRC64NVME})
		if sums := b.Checksums(); err != nil || len(sums) != 1 || base64.StdEncoding.EncodeToString(sums[c.want]) != base64Sum(c.want, text) {
			t.Errorf("%s: %x, %v, want one %v", name, sums, err, c.want)
		}
	}
}
