package s3api

import (
	"encoding/xml"
	"net/http"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/sse"
)

func TestEveryChecksumHasItsNames(t *testing.T) {
	t.Parallel()
	known := 0
	for algorithm := checksum.CRC32; algorithm.Size() > 0; algorithm++ {
		known++
		kind := plaintext.ChecksumType(algorithm)
		if kind.Size() != algorithm.Size() || checksumOf(kind).wire != algorithm {
			t.Errorf("%v is sealed as %v of %d bytes", algorithm, kind, kind.Size())
		}
		h := http.Header{}
		setChecksumHeaders(h, &sse.Facts{Checksum: &sse.Checksum{Type: kind, Value: make([]byte, kind.Size())}})
		if h.Get(algorithm.HeaderName()) != base64Std(make([]byte, algorithm.Size())) || h.Get("X-Amz-Checksum-Type") != "FULL_OBJECT" || len(h) != 2 {
			t.Errorf("%v is told as %v", algorithm, h)
		}
		var list completion
		text := "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag><Checksum" + algorithm.String() + ">AA==</Checksum" + algorithm.String() + "><Other>x</Other></Part></CompleteMultipartUpload>"
		if err := xml.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		found := 0
		list.Parts[0].Checksums.each(func(a *checksumAlgorithm, value string) {
			if found++; a.wire != algorithm || value != "AA==" {
				t.Errorf("%v in a list: %v %q", algorithm, a.wire, value)
			}
		})
		if found != 1 {
			t.Errorf("%v in a list: found %d times", algorithm, found)
		}
	}
	if known != len(checksumAlgorithms) || known != 10 {
		t.Errorf("%d checksums, %d in the table", known, len(checksumAlgorithms))
	}
}
