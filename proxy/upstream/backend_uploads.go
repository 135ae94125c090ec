package upstream

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

const (
	// maxUploadID is how long an upload id may be, in bytes, so that names in the system
	// bucket can hold it. MinIO's have 124.
	maxUploadID = 180
	// partETagSize is the length of a part's ETag, an MD5, in bytes.
	partETagSize = 16
)

// CreateUpload implements storage.Backend.
func (b *backend) CreateUpload(ctx context.Context, c *storage.CreateUpload) (string, error) {
	r := b.request(http.MethodPost, c.Name, c.Meta)
	r.set("uploads", "")
	r.record(c.Record)
	r.conditions(c.Conditions)
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return "", err
	}
	var said struct {
		UploadID string `xml:"UploadId"`
	}
	if err := a.parse(maxAnswer, "upstream's upload id", &said); err != nil {
		return "", err
	}
	if !isUploadID(said.UploadID) {
		return "", fmt.Errorf("upstream's upload id is none: %w", storage.ErrUnreachable)
	}
	return said.UploadID, nil
}

// isUploadID says whether text can be an upload id: it becomes a part of names in the
// system bucket, in which a slash would mean another one.
func isUploadID(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~=+", c) >= 0:
		default:
			return false
		}
	}
	return text != "" && len(text) <= maxUploadID
}

// PutPart implements storage.Backend. storage.ErrLied if the part's ETag is no MD5: it
// becomes part of a name.
func (b *backend) PutPart(ctx context.Context, p *storage.PutPart) (string, error) {
	r := b.upload(http.MethodPut, &p.Upload, p.Meta)
	r.set("partNumber", strconv.Itoa(p.Number))
	r.body(&p.Body, b.client.Secure())
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return "", err
	}
	_ = a.Close()
	etag := strings.Trim(a.header().Get("Etag"), `"`)
	if raw, err := hex.DecodeString(etag); err != nil || len(raw) != partETagSize {
		return "", fmt.Errorf("upstream's ETag of a part is no MD5: %w", storage.ErrLied)
	}
	return etag, nil
}

// Complete implements storage.Backend.
func (b *backend) Complete(ctx context.Context, c *storage.Complete) (*storage.Stored, error) {
	r := b.upload(http.MethodPost, &c.Upload, nil)
	r.Slow = true
	r.conditions(c.Conditions)
	r.document(completeDocument(c.Parts))
	begin := time.Now()
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	stored, err := a.stored("upstream's answer to Complete")
	if err == nil {
		stored.After, stored.Before = between(a.header(), time.Since(begin))
	}
	return stored, err
}

// completeDocument is the list of parts as MinIO takes it.
func completeDocument(parts []storage.CompletePart) []byte {
	var b bytes.Buffer
	element := func(name, value string) {
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(&b, []byte(value)) // a buffer takes everything
		b.WriteString("</" + name + ">")
	}
	b.WriteString("<CompleteMultipartUpload>")
	for _, p := range parts {
		b.WriteString("<Part>")
		element("PartNumber", strconv.Itoa(p.Number))
		element("ETag", p.ETag)
		if p.Checksum != "" {
			element("Checksum"+p.Algorithm, p.Checksum)
		}
		b.WriteString("</Part>")
	}
	b.WriteString("</CompleteMultipartUpload>")
	return b.Bytes()
}

// Abort implements storage.Backend.
func (b *backend) Abort(ctx context.Context, u *storage.Upload) error {
	a, err := b.client.do(ctx, b.upload(http.MethodDelete, u, nil), http.StatusNoContent)
	if err != nil {
		return err
	}
	_ = a.Close()
	return nil
}
