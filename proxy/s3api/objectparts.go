package s3api

import (
	"bytes"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// partsPage is the page of an object's parts that GetObjectAttributes asks for.
type partsPage struct {
	max, marker int
	parts       []storage.ObjectPart
	total       int
	truncated   bool
}

// parsePartsPage reads the headers that page through an object's parts.
func parsePartsPage(r *intake.Request) (*partsPage, error) {
	p := &partsPage{max: sse.MaxParts}
	for name, value := range map[string]*int{"X-Amz-Max-Parts": &p.max, "X-Amz-Part-Number-Marker": &p.marker} {
		text := r.Header.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, intake.NewError(400, invalidArgument, "Invalid arguments provided for "+r.Bucket+"/"+r.Key+": (Unable to parse "+name+", value should be an integer)")
		}
		*value = n
	}
	if p.max == 0 || p.max > sse.MaxParts {
		p.max = sse.MaxParts
	}
	return p, nil
}

// fill takes the parts after the marker, as many as fit.
func (p *partsPage) fill(all []storage.ObjectPart) {
	p.total = len(all)
	for _, part := range all {
		switch {
		case part.Number <= p.marker:
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
		next = p.parts[n-1].Number
	}
	b.WriteString("<ObjectParts>")
	element(b, "IsTruncated", strconv.FormatBool(p.truncated))
	element(b, "MaxParts", strconv.Itoa(p.max))
	element(b, "NextPartNumberMarker", strconv.Itoa(next))
	element(b, "PartNumberMarker", strconv.Itoa(p.marker))
	for _, part := range p.parts {
		b.WriteString("<Part>")
		element(b, "PartNumber", strconv.Itoa(part.Number))
		element(b, "Size", strconv.FormatInt(part.Size, 10))
		for i := range checksumAlgorithms {
			if value := part.Checksums[checksumAlgorithms[i].wire.String()]; value != "" {
				element(b, checksumAlgorithms[i].element, value)
			}
		}
		b.WriteString("</Part>")
	}
	element(b, "PartsCount", strconv.Itoa(p.total))
	b.WriteString("</ObjectParts>")
}
