package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// maxCompleteBody is the longest list of parts: 10,000 with their checksums.
const maxCompleteBody = 4 << 20

// completion is the list of parts that a client wants put together.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber int
		ETag       string
		Checksums  checksumValues `xml:",any"`
	} `xml:"Part"`
}

// completeMultipartUpload serves CompleteMultipartUpload.
func (s *API) completeMultipartUpload(w http.ResponseWriter, r *intake.Request) error {
	body, err := s.in.DocumentWith(r, sigv4.BodyOptions{IgnoreChecksumHeaders: true})
	if err != nil {
		return err
	}
	var list completion
	if err := list.parse(body); err != nil {
		return err
	}
	done, err := s.vault.Complete(r.Context(), s.reader(r), &vault.Complete{
		Upload: uploadOf(r), Parts: list.wanted(), Conditions: writeConditionsOf(r.Header),
		ObjectSize: r.Header.Get("X-Amz-Mp-Object-Size"), ChecksumType: r.Header.Get("X-Amz-Checksum-Type"), Checksums: saidChecksums(r.Header),
		Long: func(do func() error) error { return intake.Patiently(w, do) },
	})
	if err != nil {
		return err
	}
	answerComplete(w, r, done)
	return nil
}

// parse reads the list of a CompleteMultipartUpload: at least one part and at most
// 10,000, in ascending order.
func (c *completion) parse(body []byte) error {
	if err := xml.Unmarshal(body, c); err != nil && len(body) > 0 {
		return intake.ErrMalformedXML
	}
	if len(c.Parts) == 0 {
		return intake.NewError(400, invalidRequest, "You must specify at least one part")
	}
	if len(c.Parts) > sse.MaxParts {
		return intake.ErrMalformedXML
	}
	last := 0
	for _, part := range c.Parts {
		if part.PartNumber < 1 || part.PartNumber > sse.MaxParts {
			return vault.ErrInvalidPart
		}
		if part.PartNumber <= last {
			return errPartOrder
		}
		last = part.PartNumber
	}
	return nil
}

// wanted is the list as the engine takes it.
func (c *completion) wanted() []vault.WantedPart {
	list := make([]vault.WantedPart, len(c.Parts))
	for i, part := range c.Parts {
		list[i] = vault.WantedPart{Number: part.PartNumber, ETag: part.ETag}
		part.Checksums.each(func(a *checksumAlgorithm, value string) {
			list[i].Checksums = append(list[i].Checksums, vault.SaidChecksum{Algorithm: a.wire, Value: value})
		})
	}
	return list
}

// saidChecksums are the checksums in a request's headers.
func saidChecksums(h http.Header) (said []vault.SaidChecksum) {
	for i := range checksumAlgorithms {
		if a := &checksumAlgorithms[i]; h.Get(a.header) != "" {
			said = append(said, vault.SaidChecksum{Algorithm: a.wire, Value: h.Get(a.header)})
		}
	}
	return said
}

func answerComplete(w http.ResponseWriter, r *intake.Request, done *vault.Completed) {
	h := w.Header()
	if done.Version != "" {
		h.Set("X-Amz-Version-Id", done.Version)
	}
	if as := done.Encryption; done.Record != nil && as.Mode != sse.ModeC { // a customer key is not looked at
		setEncryptionHeaders(h, as, "")
	}
	h.Set("ETag", done.ETag)
	if done.Facts.Checksum != nil {
		setChecksumHeaders(h, &done.Facts)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CompleteMultipartUploadResult xmlns="` + s3Namespace + `">`)
	element(&b, "Location", location(r))
	element(&b, "Bucket", r.Bucket)
	element(&b, "Key", r.Key)
	element(&b, "ETag", done.ETag)
	if sum := done.Facts.Checksum; sum != nil {
		element(&b, checksumOf(sum.Type).element, checksumValue(&done.Facts))
		element(&b, "ChecksumType", checksumKind(sum))
	}
	b.WriteString("</CompleteMultipartUploadResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
