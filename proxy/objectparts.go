package proxy

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// partsPage is the page of an object's parts that GetObjectAttributes asks for.
type partsPage struct {
	max, marker int
	parts       []objectPart
	total       int
	truncated   bool
}

// objectPart is a part as it is shown.
type objectPart struct {
	PartNumber int
	Size       int64
	Checksums  checksumValues `xml:",any"`
}

// parsePartsPage reads the headers that page through an object's parts.
func parsePartsPage(r *request) (*partsPage, error) {
	p := &partsPage{max: sse.MaxParts}
	for name, value := range map[string]*int{"X-Amz-Max-Parts": &p.max, "X-Amz-Part-Number-Marker": &p.marker} {
		text := r.Header.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, &apiError{400, invalidArgument, "Invalid arguments provided for " + r.bucket + "/" + r.key + ": (Unable to parse " + name + ", value should be an integer)", nil}
		}
		*value = n
	}
	if p.max == 0 || p.max > sse.MaxParts {
		p.max = sse.MaxParts
	}
	return p, nil
}

// objectParts fills the page: of the plaintext, or as upstream says for a plain
// object. An object that was not uploaded in parts has one.
func (c *copySource) objectParts(ctx context.Context, s *Server, r *request, p *partsPage) error {
	switch {
	case c.object == nil:
		return c.upstreamObjectParts(ctx, s, r, p)
	case c.record.Layout != sse.Uploaded:
		p.fill([]objectPart{{PartNumber: 1, Size: c.size}})
		return nil
	}
	parts, err := s.layout(ctx, c.object)
	if err != nil {
		return err
	}
	list := make([]objectPart, len(parts.List()))
	for i, part := range parts.List() {
		list[i] = objectPart{PartNumber: int(part.Number), Size: part.PlainSize}
		list[i].setChecksum(parts.Checksum(), part.Checksum)
	}
	p.fill(list)
	return nil
}

func (o *objectPart) setChecksum(kind sse.ChecksumType, raw []byte) {
	if kind != 0 {
		o.Checksums = checksumValues{{XMLName: xml.Name{Local: checksumOf(kind).element}, Value: base64Std(raw)}}
	}
}

// upstreamObjectParts asks upstream for all parts of a plain object.
func (c *copySource) upstreamObjectParts(ctx context.Context, s *Server, r *request, p *partsPage) error {
	parts, err := s.askObjectParts(ctx, c.upstreamRequest(r, http.MethodGet))
	p.fill(parts)
	return err
}

// askObjectParts asks upstream for the parts of up's object.
func (s *Server) askObjectParts(ctx context.Context, up *upstream.Request) ([]objectPart, error) {
	if up.Query == nil {
		up.Query = url.Values{}
	}
	up.Query.Set("attributes", "")
	up.Header.Set("X-Amz-Object-Attributes", "ObjectParts")
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	var answer struct {
		Parts []objectPart `xml:"ObjectParts>Part"`
	}
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("parse attributes: %w (%w)", storage.ErrUnreachable, err)
	}
	return answer.Parts, nil
}

// fill takes the parts after the marker, as many as fit.
func (p *partsPage) fill(all []objectPart) {
	p.total = len(all)
	for _, part := range all {
		switch {
		case part.PartNumber <= p.marker:
		case len(p.parts) == p.max:
			p.truncated = true
			return
		default:
			p.parts = append(p.parts, part)
		}
	}
}

func (p *partsPage) render(b *bytes.Buffer) {
	next := 0
	if n := len(p.parts); n > 0 {
		next = p.parts[n-1].PartNumber
	}
	b.WriteString("<ObjectParts>")
	element(b, "IsTruncated", strconv.FormatBool(p.truncated))
	element(b, "MaxParts", strconv.Itoa(p.max))
	element(b, "NextPartNumberMarker", strconv.Itoa(next))
	element(b, "PartNumberMarker", strconv.Itoa(p.marker))
	for _, part := range p.parts {
		b.WriteString("<Part>")
		element(b, "PartNumber", strconv.Itoa(part.PartNumber))
		element(b, "Size", strconv.FormatInt(part.Size, 10))
		part.Checksums.each(func(a *checksumAlgorithm, value string) { element(b, a.element, value) })
		b.WriteString("</Part>")
	}
	element(b, "PartsCount", strconv.Itoa(p.total))
	b.WriteString("</ObjectParts>")
}
