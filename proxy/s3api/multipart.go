package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// uploadOf is the upload that the request names.
func uploadOf(r *intake.Request) vault.Upload {
	return vault.Upload{Name: name(r), ID: r.Query.Get("uploadId")}
}

// createMultipartUpload serves CreateMultipartUpload.
func (s *API) createMultipartUpload(w http.ResponseWriter, r *intake.Request) error {
	begin := &vault.Begin{
		Write:             vault.Write{Name: name(r), Asked: s.askedOf(r), Meta: writeMeta(r), Conditions: writeConditionsOf(r.Header)},
		ChecksumAlgorithm: r.Header.Get("X-Amz-Checksum-Algorithm"), ChecksumType: r.Header.Get("X-Amz-Checksum-Type"),
	}
	defer begin.Asked.CustomerKey.Zero()
	begun, err := s.vault.Begin(r.Context(), s.writer(r), begin)
	if err != nil {
		return err
	}
	h := w.Header()
	if begun.Record != nil {
		setEncryptionHeaders(h, begun.Record.Encryption(), begin.Asked.CustomerKeyMD5)
	}
	if begun.Checksum != 0 {
		h.Set("X-Amz-Checksum-Algorithm", checksumOf(begun.Checksum).wire.String())
		h.Set("X-Amz-Checksum-Type", checksumKind(&sse.Checksum{Composite: begun.Composite}))
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<InitiateMultipartUploadResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.Bucket)
	element(&b, "Key", r.Key)
	element(&b, "UploadId", begun.ID)
	b.WriteString("</InitiateMultipartUploadResult>")
	writeXML(w, http.StatusOK, b.Bytes())
	return nil
}

// abortMultipartUpload serves AbortMultipartUpload.
func (s *API) abortMultipartUpload(w http.ResponseWriter, r *intake.Request) error {
	if err := s.vault.Abort(r.Context(), s.reader(r), uploadOf(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
