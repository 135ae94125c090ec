package vault_test

import (
	"bytes"
	"crypto/md5"
	"hash"
	"io"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/sse"
)

// BenchmarkEncryption shows what the digests of an upload cost beside its encryption:
// of SSE-KMS, and of SSE-S3 with its MD5, without and with the CRC64NVME of every write.
func BenchmarkEncryption(b *testing.B) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16)
	key := sse.NewObjectKey()
	stream := sse.Stream{Key: key.Part(1), Nonce: sse.NewStreamNonce(), PlainSize: int64(len(data))}
	for _, c := range []struct {
		name     string
		md5, crc bool
	}{{"SSE-KMS", false, false}, {"SSE-KMS, CRC64NVME", false, true}, {"SSE-S3", true, false}, {"SSE-S3, CRC64NVME", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				var sums []hash.Hash
				if c.md5 {
					sums = append(sums, md5.New())
				}
				if c.crc {
					sums = append(sums, checksum.CRC64NVME.New())
				}
				src := io.Reader(bytes.NewReader(data))
				for _, sum := range sums {
					src = io.TeeReader(src, sum)
				}
				enc, err := stream.Encrypt(struct{ io.Reader }{src})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, enc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
