package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// copyObject serves CopyObject.
func (s *API) copyObject(w http.ResponseWriter, r *intake.Request) error {
	source, err := s.copySourceOf(r)
	if err != nil {
		return err
	}
	if source.Customer != nil {
		defer source.Customer.Zero()
	}
	h := r.Header
	what := &vault.Copy{
		Write: s.writeOf(r), Fault: checkDirectives(h),
		Source: source, Slash: strings.HasPrefix(h.Get("X-Amz-Copy-Source"), "/"),
		Replace: replacesMetadata(h), Tagging: h.Get("X-Amz-Tagging-Directive"), Changes: source.Customer != nil || changesCopy(h),
		Checksum: h.Get("X-Amz-Checksum-Algorithm"),
		Long:     func(do func() error) error { return intake.Patiently(w, do) },
	}
	defer what.Asked.CustomerKey.Zero()
	var copied *vault.Copied
	err = readingSource(r, &source, func() (version string, err error) {
		if copied, err = s.vault.Copy(r.Context(), s.writer(r), what); err != nil {
			return "", err
		}
		return copied.SourceVersion, nil
	})
	if err != nil {
		return err
	}
	answerCopy(w, copied, what.Asked.CustomerKeyMD5)
	return nil
}

// checkDirectives refuses unknown directives.
func checkDirectives(h http.Header) error {
	for name, invalid := range map[string]string{"X-Amz-Metadata-Directive": "Unknown metadata directive.", "X-Amz-Tagging-Directive": "Unknown tag directive."} {
		if v := h.Get(name); v != "" && v != "COPY" && v != "REPLACE" {
			return intake.NewError(400, invalidArgument, invalid)
		}
	}
	return nil
}

func replacesMetadata(h http.Header) bool {
	return strings.EqualFold(h.Get("X-Amz-Metadata-Directive"), "REPLACE")
}

// changesCopy says whether the headers ask for anything of a copy that an object which is
// copied onto itself does not have.
func changesCopy(h http.Header) bool {
	_, method := h[sse.HeaderMethod]
	return method || sse.HasCustomerKey(h) || replacesMetadata(h) || h.Get("X-Amz-Storage-Class") != "" || h.Get("X-Amz-Tagging-Directive") == "REPLACE"
}

// answerCopy tells the client what was copied.
func answerCopy(w http.ResponseWriter, copied *vault.Copied, customerKeyMD5 string) {
	h := w.Header()
	if copied.Version != "" {
		h.Set("X-Amz-Version-Id", copied.Version)
	}
	if copied.SourceVersion != "" {
		h.Set("X-Amz-Copy-Source-Version-Id", copied.SourceVersion)
	}
	if copied.Record != nil {
		setEncryptionHeaders(h, copied.Record.Encryption(), customerKeyMD5)
	}
	h.Set("ETag", copied.ETag)
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CopyObjectResult xmlns="` + s3Namespace + `">`)
	element(&b, "LastModified", copied.Modified.UTC().Format("2006-01-02T15:04:05.000Z"))
	element(&b, "ETag", copied.ETag)
	if copied.Record == nil { // upstream's checksums are the plaintext's
		for i := range checksumAlgorithms {
			a := &checksumAlgorithms[i]
			if v := copied.Meta.Get(a.header); v != "" {
				h.Set(a.header, v)
				h.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
				element(&b, a.element, v)
				element(&b, "ChecksumType", "FULL_OBJECT")
			}
		}
	}
	if sum := copied.Facts.Checksum; sum != nil {
		setChecksumHeaders(h, &copied.Facts)
		element(&b, checksumOf(sum.Type).element, checksumValue(&copied.Facts))
		element(&b, "ChecksumType", checksumKind(sum))
	}
	b.WriteString("</CopyObjectResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
