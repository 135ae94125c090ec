package proxy

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// objectAttributes are the names that x-amz-object-attributes may hold.
var objectAttributes = []string{"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}

// getObjectAttributes serves GetObjectAttributes.
func (s *Server) getObjectAttributes(w http.ResponseWriter, r *request) error {
	wanted, err := wantedAttributes(r.Header)
	if err != nil {
		return err
	}
	src := &copySource{name: r.name(), version: r.query.Get("versionId")}
	defer src.zero()
	if asksToEncrypt(r.Header) {
		return errCustomerKeyUnused
	}
	if err := s.checkCustomerTransport(r); err != nil {
		return err
	}
	if src.customer, src.hasKey, err = sse.ParseCustomer(r.Header); err != nil {
		return readHeaderError(err)
	}
	if err := src.open(r.Context(), s, r); err != nil {
		return err
	}
	if err := readConditions(w, r.Header, src.etag(), src.modified()); err != nil {
		return err
	}
	var parts *partsPage
	if wanted["ObjectParts"] {
		if parts, err = parsePartsPage(r); err != nil {
			return err
		}
		if err := src.objectParts(r.Context(), s, r, parts); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("Last-Modified", src.modified().UTC().Format(http.TimeFormat))
	if v := src.head.Get("X-Amz-Version-Id"); v != "" {
		h.Set("X-Amz-Version-Id", v)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<GetObjectAttributesResponse xmlns="` + s3Namespace + `">`)
	src.renderAttributes(&b, wanted, parts)
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
				return nil, &apiError{400, invalidArgument, "Invalid attribute name specified.", nil}
			}
			wanted[strings.TrimSpace(name)] = true
		}
	}
	if len(wanted) == 0 {
		return nil, &apiError{400, invalidArgument, "Invalid attribute name specified.", nil}
	}
	return wanted, nil
}

// renderAttributes writes what is wanted; parts is nil if they are not.
func (c *copySource) renderAttributes(b *bytes.Buffer, wanted map[string]bool, parts *partsPage) {
	if wanted["ETag"] {
		element(b, "ETag", strings.Trim(c.etag(), `"`))
	}
	if wanted["Checksum"] && c.object == nil {
		c.renderUpstreamChecksum(b)
	}
	if wanted["Checksum"] && c.object != nil && c.object.facts.Checksum != nil {
		sum := c.object.facts.Checksum
		b.WriteString("<Checksum>")
		element(b, checksumOf(sum.Type).element, base64Std(sum.Value)) // the number of parts is told below
		element(b, "ChecksumType", checksumKind(sum))
		b.WriteString("</Checksum>")
	}
	if parts != nil {
		parts.render(b)
	}
	if wanted["StorageClass"] {
		class := c.head.Get("X-Amz-Storage-Class")
		if class == "" {
			class = "STANDARD"
		}
		element(b, "StorageClass", class)
	}
	if wanted["ObjectSize"] {
		element(b, "ObjectSize", strconv.FormatInt(c.size, 10))
	}
}

// renderUpstreamChecksum tells a plain object's checksum.
func (c *copySource) renderUpstreamChecksum(b *bytes.Buffer) {
	for i := range checksumAlgorithms {
		a := &checksumAlgorithms[i]
		if v := c.head.Get(a.header); v != "" {
			b.WriteString("<Checksum>")
			v, _, _ = strings.Cut(v, "-") // as below
			element(b, a.element, v)
			element(b, "ChecksumType", c.head.Get("X-Amz-Checksum-Type"))
			b.WriteString("</Checksum>")
		}
	}
}
