package proxy

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// listPage is one page of upstream's ListObjectsV2 with metadata. Names are as
// upstream sent them, URL-encoded.
type listPage struct {
	MaxKeys   string
	KeyCount  string
	Truncated bool
	NextToken string
	Contents  []listEntry
	Prefixes  []string
}

// listEntry is one object of a page.
type listEntry struct {
	Key, LastModified, ETag, StorageClass string
	Size                                  int64
	OwnerID, OwnerName                    string
	// metadata is what upstream tells of the object's metadata, without reserved
	// names; hasMetadata is false where the caller may not read it.
	metadata    []metaEntry
	hasMetadata bool
	userTags    string
	records     []string // values of the reserved name; one, unless somebody lies
	record      *sse.Record
}

type metaEntry struct{ name, value string }

// maxListPage bounds a page in bytes: 1,000 keys of 1,024 bytes, URL-encoded,
// each with a record and metadata.
const maxListPage = 64 << 20

// parseListPage reads upstream's page.
func parseListPage(r io.Reader) (*listPage, error) {
	p := &pageParser{dec: xml.NewDecoder(io.LimitReader(r, maxListPage)), page: &listPage{}}
	p.dec.Strict = true
	if err := p.run(); err != nil {
		return nil, err
	}
	return p.page, nil
}

// pageParser walks a page token by token: reflection would cost several times
// as much, and listings are long.
type pageParser struct {
	dec   *xml.Decoder
	page  *listPage
	path  []string
	text  []byte
	entry *listEntry
	ended bool
}

func (p *pageParser) run() error {
	for {
		token, err := p.dec.RawToken()
		if err == io.EOF {
			if !p.ended {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch t := token.(type) {
		case xml.StartElement:
			p.path = append(p.path, t.Name.Local)
			p.text = p.text[:0]
			p.start()
		case xml.CharData:
			p.text = append(p.text, t...)
		case xml.EndElement:
			if len(p.path) == 0 || p.path[len(p.path)-1] != t.Name.Local {
				return fmt.Errorf("unexpected end of element %q", t.Name.Local)
			}
			if err := p.end(); err != nil {
				return err
			}
			p.path = p.path[:len(p.path)-1]
			p.text = p.text[:0]
			p.ended = len(p.path) == 0
		}
	}
}

func (p *pageParser) start() {
	if len(p.path) == 2 && p.path[1] == "Contents" {
		p.page.Contents = append(p.page.Contents, listEntry{})
		p.entry = &p.page.Contents[len(p.page.Contents)-1]
	}
}

func (p *pageParser) end() error {
	if p.path[0] != "ListBucketResult" {
		return fmt.Errorf("unexpected document %q", p.path[0])
	}
	text := string(p.text)
	switch {
	case len(p.path) == 2:
		return p.pageField(p.path[1], text)
	case len(p.path) >= 3 && p.path[1] == "Contents":
		return p.entryField(p.path[2:], text)
	case len(p.path) == 3 && p.path[1] == "CommonPrefixes" && p.path[2] == "Prefix":
		p.page.Prefixes = append(p.page.Prefixes, text)
	}
	return nil
}

func (p *pageParser) pageField(name, text string) error {
	switch name {
	case "MaxKeys":
		p.page.MaxKeys = text
	case "KeyCount":
		p.page.KeyCount = text
	case "IsTruncated":
		p.page.Truncated = text == "true"
	case "NextContinuationToken":
		p.page.NextToken = text
	}
	return nil
}

func (p *pageParser) entryField(path []string, text string) (err error) {
	e := p.entry
	switch path[0] {
	case "Key":
		e.Key = text
	case "LastModified":
		e.LastModified = text
	case "ETag":
		e.ETag = text
	case "Size":
		e.Size, err = strconv.ParseInt(text, 10, 64)
	case "StorageClass":
		e.StorageClass = text
	case "UserTags":
		e.userTags = text
	case "Owner":
		p.ownerField(path, text)
	case "Internal":
		e.hasMetadata = true
	case "UserMetadata":
		e.hasMetadata = true
		if len(path) == 2 {
			e.addMetadata(path[1], text)
		}
	}
	return err
}

func (p *pageParser) ownerField(path []string, text string) {
	if len(path) != 2 {
		return
	}
	switch path[1] {
	case "ID":
		p.entry.OwnerID = text
	case "DisplayName":
		p.entry.OwnerName = text
	}
}

func (e *listEntry) addMetadata(name, value string) {
	if len(name) >= len(recordHeader) && strings.EqualFold(name[:len(recordHeader)], recordHeader) {
		e.records = append(e.records, value)
		return
	}
	e.metadata = append(e.metadata, metaEntry{name, value})
}

// render writes the page for the client.
func (l *listing) render(p *listPage) []byte {
	q := l.request.query
	b := bytes.NewBuffer(make([]byte, 0, 512+320*len(p.Contents)))
	b.WriteString(xml.Header + `<ListBucketResult xmlns="` + s3Namespace + `">`)
	element(b, "Name", l.request.bucket)
	element(b, "Prefix", l.raw(q.Get("prefix")))
	if l.v1 {
		element(b, "Marker", l.raw(l.marker))
		if p.Truncated {
			element(b, "NextMarker", l.raw(p.nextMarker()))
		}
	} else {
		if q.Has("start-after") {
			element(b, "StartAfter", l.raw(q.Get("start-after")))
		}
		if q.Has("continuation-token") {
			element(b, "ContinuationToken", q.Get("continuation-token"))
		}
		if p.Truncated {
			element(b, "NextContinuationToken", p.NextToken)
		}
		element(b, "KeyCount", p.KeyCount)
	}
	element(b, "MaxKeys", p.MaxKeys)
	if q.Get("delimiter") != "" {
		element(b, "Delimiter", l.raw(q.Get("delimiter")))
	}
	element(b, "IsTruncated", strconv.FormatBool(p.Truncated))
	for i := range p.Contents {
		l.renderEntry(b, &p.Contents[i])
	}
	for _, prefix := range p.Prefixes {
		b.WriteString("<CommonPrefixes>")
		element(b, "Prefix", l.name(prefix))
		b.WriteString("</CommonPrefixes>")
	}
	if l.encode {
		element(b, "EncodingType", "url")
	}
	b.WriteString("</ListBucketResult>")
	return b.Bytes()
}

func (l *listing) renderEntry(b *bytes.Buffer, e *listEntry) {
	b.WriteString("<Contents>")
	element(b, "Key", l.name(e.Key))
	element(b, "LastModified", e.LastModified)
	element(b, "ETag", e.ETag)
	element(b, "Size", strconv.FormatInt(e.Size, 10))
	if l.owner && (e.OwnerID != "" || e.OwnerName != "") {
		b.WriteString("<Owner>")
		element(b, "ID", e.OwnerID)
		element(b, "DisplayName", e.OwnerName)
		b.WriteString("</Owner>")
	}
	element(b, "StorageClass", e.StorageClass)
	if l.metadata && e.hasMetadata {
		l.renderMetadata(b, e)
	}
	b.WriteString("</Contents>")
}

// renderMetadata answers MinIO's metadata=true with what is the client's own.
func (l *listing) renderMetadata(b *bytes.Buffer, e *listEntry) {
	b.WriteString("<UserMetadata>")
	for _, m := range e.metadata {
		element(b, m.name, m.value)
	}
	if e.record != nil {
		switch e.record.Mode {
		case sse.ModeS3:
			element(b, sse.HeaderMethod, sse.MethodS3)
		case sse.ModeKMS:
			element(b, sse.HeaderMethod, sse.MethodKMS)
			element(b, sse.HeaderKMSKeyID, arnPrefix+e.record.KMSKey)
		case sse.ModeC:
			element(b, sse.HeaderCustomerAlgorithm, sse.MethodS3)
		}
	}
	b.WriteString("</UserMetadata>")
	if e.userTags != "" {
		element(b, "UserTags", e.userTags)
	}
}
