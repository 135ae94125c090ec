package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// objectAttributes are the names that x-amz-object-attributes may hold.
var objectAttributes = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// getObjectAttributes serves GetObjectAttributes.
func (s *API) getObjectAttributes(w http.ResponseWriter, r *intake.Request) error {
	wanted, err := wantedAttributes(r.Header)
	if err != nil {
		return err
	}
	if asksToEncrypt(r.Header) {
		return vault.ErrCustomerKeyUnused
	}
	var customer sse.Request
	defer customer.CustomerKey.Zero()
	read, err := s.parseRead(r, &customer)
	if err != nil {
		return err
	}
	read.Checksum = true
	object, err := s.vault.Attributes(r.Context(), s.reader(r), read)
	if err != nil {
		return err
	}
	defer object.Close()
	var parts *partsPage
	if wanted["ObjectParts"] {
		if parts, err = parsePartsPage(r); err != nil {
			return err
		}
		all, err := object.ObjectParts(r.Context())
		if err != nil {
			return err
		}
		parts.fill(all)
	}
	h := w.Header()
	h.Set("Last-Modified", object.Modified.UTC().Format(http.TimeFormat))
	if object.Version != "" {
		h.Set("X-Amz-Version-Id", object.Version)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<GetObjectAttributesResponse xmlns="` + s3Namespace + `">`)
	renderAttributes(&b, &object.Seen, wanted, parts)
	b.WriteString("</GetObjectAttributesResponse>")
	writeXML(w, http.StatusOK, b.Bytes())
	return nil
}

func wantedAttributes(h http.Header) (map[string]bool, error) {
	wanted := make(map[string]bool)
	for _, line := range h.Values("X-Amz-Object-Attributes") {
		for name := range strings.SplitSeq(line, ",") {
			known := false
			for _, attribute := range objectAttributes {
				known = known || strings.TrimSpace(name) == attribute
			}
			if !known {
				return nil, intake.NewError(400, invalidArgument, "Invalid attribute name specified.")
			}
			wanted[strings.TrimSpace(name)] = true
		}
	}
	if len(wanted) == 0 {
		return nil, intake.NewError(400, invalidArgument, "Invalid attribute name specified.")
	}
	return wanted, nil
}

// renderAttributes writes what is wanted; parts is nil if they are not.
func renderAttributes(b *bytes.Buffer, o *vault.Seen, wanted map[string]bool, parts *partsPage) {
	stored := http.Header(o.Meta)
	if wanted["ETag"] {
		element(b, "ETag", strings.Trim(o.ETag, `"`))
	}
	if wanted["Checksum"] && o.Record == nil {
		renderStoredChecksum(b, stored)
	}
	if sum := o.Facts.Checksum; wanted["Checksum"] && sum != nil {
		b.WriteString("<Checksum>")
		element(b, checksumOf(sum.Type).element, base64Std(sum.Value)) // the number of parts is told below
		element(b, "ChecksumType", checksumKind(sum))
		b.WriteString("</Checksum>")
	}
	if parts != nil {
		parts.render(b)
	}
	if wanted["StorageClass"] {
		class := stored.Get("X-Amz-Storage-Class")
		if class == "" {
			class = "STANDARD"
		}
		element(b, "StorageClass", class)
	}
	if wanted["ObjectSize"] {
		element(b, "ObjectSize", strconv.FormatInt(o.Size, 10))
	}
}

// renderStoredChecksum tells a plain object's checksum.
func renderStoredChecksum(b *bytes.Buffer, stored http.Header) {
	for i := range checksumAlgorithms {
		a := &checksumAlgorithms[i]
		if v := stored.Get(a.header); v != "" {
			b.WriteString("<Checksum>")
			v, _, _ = strings.Cut(v, "-") // as above
			element(b, a.element, v)
			element(b, "ChecksumType", stored.Get("X-Amz-Checksum-Type"))
			b.WriteString("</Checksum>")
		}
	}
}
