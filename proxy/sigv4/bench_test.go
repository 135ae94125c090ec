package sigv4

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/checksum"
)

func BenchmarkVerify(b *testing.B) {
	header := map[string]string{
		"content-type": "application/octet-stream", "content-md5": base64MD5(text), "x-amz-meta-a": "b",
		"x-amz-server-side-encryption": "AES256", "amz-sdk-invocation-id": "0123456789", "x-amz-storage-class": "STANDARD",
	}
	for name, r := range map[string]*http.Request{
		"header":    signing{method: "PUT", at: now(), header: header, query: "partNumber=1&uploadId=x"}.inHeader(),
		"presigned": signing{at: now(), query: "versionId=1"}.inQuery("60"),
	} {
		b.Run(name, func(b *testing.B) {
			v := newVerifier(b, now())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// rewind is a request body that can be read again.
type rewind struct{ *bytes.Reader }

func (rewind) Close() error { return nil }

// withDefault is a body that gets the checksum of every write without one.
const withDefault = "plain, CRC64NVME by default"

func BenchmarkBody(b *testing.B) {
	data := string(bytes.Repeat([]byte("0123456789abcdef"), 4<<20/16))
	for name, u := range map[string]upload{
		"plain":                   {},
		withDefault:               {},
		"sha256":                  {payload: sha256Hex(data)},
		"signed chunks":           {payload: streamingSigned},
		"unsigned chunks":         {payload: streamingUnsignedTrailer},
		"unsigned chunks, crc32":  {payload: streamingUnsignedTrailer, header: announced(), trailer: crcTrailer(data)},
		"unsigned chunks, 64-bit": {payload: streamingUnsignedTrailer, header: map[string]string{"x-amz-trailer": checksum.CRC64NVME.HeaderName()}, trailer: []string{checksum.CRC64NVME.HeaderName() + ":" + base64Sum(checksum.CRC64NVME, data)}},
	} {
		b.Run(name, func(b *testing.B) {
			u.data, u.chunk = data, 64<<10
			r := u.request()
			wire, err := io.ReadAll(r.Body)
			if err != nil {
				b.Fatal(err)
			}
			q, err := newVerifier(b, now()).Verify(r)
			if err != nil {
				b.Fatal(err)
			}
			body := rewind{bytes.NewReader(wire)}
			r.Body = body
			p := make([]byte, 64<<10)
			var opts BodyOptions
			if name == withDefault {
				opts.Default = checksum.CRC64NVME
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(wire)
				in, err := q.Body(r, opts)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = in.Read(p)
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
