package s3api

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/sse"
)

// checksumAlgorithm is one of S3's checksums in all its names.
type checksumAlgorithm struct {
	wire   checksum.Algorithm
	sealed sse.ChecksumType
	// header carries its value, and element in documents.
	header, element string
}

// checksumAlgorithms are the checksums that S3 knows.
var checksumAlgorithms = func() (list []checksumAlgorithm) {
	for wire, sealed := range plaintext.Checksums() {
		list = append(list, checksumAlgorithm{
			wire: wire, sealed: sealed,
			header: textproto.CanonicalMIMEHeaderKey(wire.HeaderName()), element: "Checksum" + wire.String(),
		})
	}
	return list
}()

// checksumOf returns the algorithm of a record's checksum. Every type that a record
// can have has one.
func checksumOf(kind sse.ChecksumType) *checksumAlgorithm {
	for i := range checksumAlgorithms {
		if checksumAlgorithms[i].sealed == kind {
			return &checksumAlgorithms[i]
		}
	}
	return &checksumAlgorithm{}
}

// checksumValues are the checksums in a part's element of a document.
type checksumValues []struct {
	XMLName xml.Name
	Value   string `xml:",chardata"`
}

// each calls f for every checksum that is given.
func (v checksumValues) each(f func(a *checksumAlgorithm, value string)) {
	for _, one := range v {
		for i := range checksumAlgorithms {
			if a := &checksumAlgorithms[i]; a.element == one.XMLName.Local && one.Value != "" {
				f(a, one.Value)
			}
		}
	}
}

func isChecksumHeader(name string) bool {
	return strings.HasPrefix(name, "X-Amz-Checksum-")
}

func setChecksumHeaders(h http.Header, facts *sse.Facts) {
	sum := facts.Checksum
	h.Set(checksumOf(sum.Type).header, checksumValue(facts))
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

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
