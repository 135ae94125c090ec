package proxy

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// listParts serves ListParts.
func (s *Server) listParts(w http.ResponseWriter, r *request) error {
	asked := &vault.ListParts{Upload: r.upload(), Parameters: make(map[string]string)}
	for _, name := range []string{"max-parts", "part-number-marker"} {
		if v, ok := r.query[name]; ok {
			asked.Parameters[name] = v[0]
		}
	}
	page, err := s.vault.Parts(r.Context(), s.reader(r), asked)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, renderParts(r, page))
	return nil
}

func renderParts(r *request, page *vault.PartsPage) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListPartsResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.bucket)
	element(&b, "Key", r.key)
	element(&b, "UploadId", page.ID)
	owner(&b, "Initiator", page.Initiator)
	owner(&b, "Owner", page.Owner)
	element(&b, "StorageClass", page.StorageClass)
	marker := r.query.Get("part-number-marker")
	if marker == "" {
		marker = "0"
	}
	element(&b, "PartNumberMarker", marker)
	element(&b, "NextPartNumberMarker", strconv.Itoa(page.Next))
	element(&b, "MaxParts", page.MaxParts)
	element(&b, "IsTruncated", strconv.FormatBool(page.Truncated))
	if page.Checksum != 0 {
		element(&b, "ChecksumAlgorithm", checksumOf(page.Checksum).wire.String())
		element(&b, "ChecksumType", checksumKind(&sse.Checksum{Composite: page.Composite}))
	}
	for _, p := range page.Parts {
		b.WriteString("<Part>")
		element(&b, "PartNumber", strconv.Itoa(p.Number))
		element(&b, "LastModified", p.LastModified)
		element(&b, "ETag", p.ETag)
		element(&b, "Size", strconv.FormatInt(p.Size, 10))
		if sum := p.Checksum; sum != nil {
			element(&b, checksumOf(sum.Type).element, base64Std(sum.Value))
		}
		b.WriteString("</Part>")
	}
	b.WriteString("</ListPartsResult>")
	return b.Bytes()
}

func owner(b *bytes.Buffer, name string, o storage.Owner) {
	b.WriteString("<" + name + ">")
	element(b, "ID", o.ID)
	element(b, "DisplayName", o.DisplayName)
	b.WriteString("</" + name + ">")
}

// maxUploads is the most that one page of ListMultipartUploads holds.
const maxUploads = 1000

// listMultipartUploads serves ListMultipartUploads.
func (s *Server) listMultipartUploads(w http.ResponseWriter, r *request) error {
	asked := &vault.ListUploads{
		Bucket: r.bucket, Prefix: r.query.Get("prefix"), Delimiter: r.query.Get("delimiter"),
		KeyMarker: r.query.Get("key-marker"), IDMarker: r.query.Get("upload-id-marker"), Max: maxUploads,
	}
	if v := r.query.Get("max-uploads"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return &apiError{400, invalidArgument, "Argument max-uploads must be an integer between 0 and 2147483647", nil}
		}
		asked.Max = min(n, maxUploads)
	}
	page, err := s.vault.Uploads(r.Context(), s.reader(r), asked)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, renderUploads(r, asked, page))
	return nil
}

func renderUploads(r *request, asked *vault.ListUploads, page *vault.UploadsPage) []byte {
	encode := func(name string) string { return name }
	if r.query.Get("encoding-type") == "url" {
		encode = listEncoded
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListMultipartUploadsResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.bucket)
	element(&b, "KeyMarker", encode(asked.KeyMarker))
	element(&b, "UploadIdMarker", asked.IDMarker)
	if page.Truncated {
		element(&b, "NextKeyMarker", encode(page.NextKey))
		element(&b, "NextUploadIdMarker", page.NextID)
	}
	if asked.Delimiter != "" {
		element(&b, "Delimiter", encode(asked.Delimiter))
	}
	if r.query.Get("encoding-type") == "url" {
		element(&b, "EncodingType", "url")
	}
	element(&b, "Prefix", encode(asked.Prefix))
	element(&b, "MaxUploads", strconv.Itoa(asked.Max))
	element(&b, "IsTruncated", strconv.FormatBool(page.Truncated))
	for _, u := range page.Uploads {
		class := u.StorageClass
		if class == "" {
			class = "STANDARD"
		}
		b.WriteString("<Upload>")
		element(&b, "Key", encode(u.Key))
		element(&b, "UploadId", u.ID)
		owner(&b, "Initiator", storage.Owner{ID: u.Initiator, DisplayName: u.Initiator})
		owner(&b, "Owner", storage.Owner{ID: u.Initiator, DisplayName: u.Initiator})
		element(&b, "StorageClass", class)
		element(&b, "Initiated", u.Initiated.UTC().Format("2006-01-02T15:04:05.000Z"))
		b.WriteString("</Upload>")
	}
	for _, prefix := range page.Prefixes {
		b.WriteString("<CommonPrefixes>")
		element(&b, "Prefix", encode(prefix))
		b.WriteString("</CommonPrefixes>")
	}
	b.WriteString("</ListMultipartUploadsResult>")
	return b.Bytes()
}

// noSuchUpload is upstream's code for an upload that ended or never was.
const noSuchUpload = "NoSuchUpload"

// listUpstreamParts asks upstream for a page of an upload's parts.
func (s *Server) listUpstreamParts(ctx context.Context, up *upstream.Request) error {
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		answer := upstream.ReadError(resp)
		if answer.Code == noSuchUpload {
			return errNoSuchUpload
		}
		return answer
	}
	defer upstream.Discard(resp)
	var page storage.PartPage
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&page); err != nil {
		return fmt.Errorf("parse list of parts: %w (%w)", storage.ErrUnreachable, err)
	}
	return nil
}
