package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// listParts serves ListParts.
func (s *API) listParts(w http.ResponseWriter, r *intake.Request) error {
	asked := &vault.ListParts{Upload: uploadOf(r), Parameters: make(map[string]string)}
	for _, name := range []string{"max-parts", "part-number-marker"} {
		if v, ok := r.Query[name]; ok {
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

func renderParts(r *intake.Request, page *vault.PartsPage) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListPartsResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.Bucket)
	element(&b, "Key", r.Key)
	element(&b, "UploadId", page.ID)
	owner(&b, "Initiator", page.Initiator)
	owner(&b, "Owner", page.Owner)
	element(&b, "StorageClass", page.StorageClass)
	marker := r.Query.Get("part-number-marker")
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
func (s *API) listMultipartUploads(w http.ResponseWriter, r *intake.Request) error {
	asked := &vault.ListUploads{
		Bucket: r.Bucket, Prefix: r.Query.Get("prefix"), Delimiter: r.Query.Get("delimiter"),
		KeyMarker: r.Query.Get("key-marker"), IDMarker: r.Query.Get("upload-id-marker"), Max: maxUploads,
	}
	if v := r.Query.Get("max-uploads"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return intake.NewError(400, invalidArgument, "Argument max-uploads must be an integer between 0 and 2147483647")
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

func renderUploads(r *intake.Request, asked *vault.ListUploads, page *vault.UploadsPage) []byte {
	encode := func(name string) string { return name }
	if r.Query.Get("encoding-type") == "url" {
		encode = listEncoded
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListMultipartUploadsResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.Bucket)
	element(&b, "KeyMarker", encode(asked.KeyMarker))
	element(&b, "UploadIdMarker", asked.IDMarker)
	if page.Truncated {
		element(&b, "NextKeyMarker", encode(page.NextKey))
		element(&b, "NextUploadIdMarker", page.NextID)
	}
	if asked.Delimiter != "" {
		element(&b, "Delimiter", encode(asked.Delimiter))
	}
	if r.Query.Get("encoding-type") == "url" {
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
