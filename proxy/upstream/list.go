package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// The bounds of a page: 1,000 keys of 1,024 bytes, URL-encoded, each with a
// record and metadata, and as many prefixes.
const (
	maxListPage     = 16 << 20
	maxListEntries  = 2000
	maxListDepth    = 8
	maxListMetadata = 512
)

var errListBounds = errors.New("more entries, metadata or nested elements than a page has")

// List asks for one page with metadata: query says which. Names come
// URL-encoded: a single control character in one makes the page unreadable
// otherwise. *storage.Error, storage.ErrUnreachable; storage.ErrListing for a page that does not parse.
func (c *Client) List(ctx context.Context, r *Request, query url.Values) (*storage.Page, error) {
	r.Method, r.Query = http.MethodGet, query
	query.Set("encoding-type", "url")
	resp, err := c.Do(ctx, r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, ReadError(resp)
	}
	defer Discard(resp)
	page, err := ParseList(resp.Body)
	if errors.Is(err, storage.ErrUnreachable) {
		return nil, fmt.Errorf("read listing: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", storage.ErrListing, err)
	}
	return page, nil
}

// ParseList reads a page. Its strings share one copy of it.
func ParseList(r io.Reader) (*storage.Page, error) {
	var text strings.Builder
	if n, err := io.Copy(&text, io.LimitReader(r, maxListPage+1)); err != nil {
		return nil, err
	} else if n > maxListPage {
		return nil, errListBounds
	}
	xml, err := newMarkup(text.String())
	if err != nil {
		return nil, err
	}
	p := &pageParser{xml: xml, page: &storage.Page{}}
	if err := p.run(); err != nil {
		return nil, err
	}
	return p.page, nil
}

// pageParser walks a page token by token.
type pageParser struct {
	xml   *markup
	page  *storage.Page
	path  []string
	text  string // of the element that is open, if it has no elements in it
	entry *storage.Entry
}

func (p *pageParser) run() error {
	for {
		kind, value, err := p.xml.next()
		switch {
		case err != nil:
			return err
		case kind == tokenEnd:
			return nil
		case kind == tokenText:
			p.text = value
		case kind == tokenOpen:
			p.path, p.text = append(p.path, value), ""
			if p.start(); !p.withinBounds() {
				return errListBounds
			}
		case len(p.path) == 0 || p.path[len(p.path)-1] != value:
			return fmt.Errorf("unexpected end of element %q", value)
		default:
			if err := p.end(); err != nil {
				return err
			}
			p.path, p.text = p.path[:len(p.path)-1], ""
		}
	}
}

// withinBounds keeps a hostile page from growing in memory far beyond its size.
func (p *pageParser) withinBounds() bool {
	return len(p.path) <= maxListDepth && len(p.page.Entries)+len(p.page.Prefixes) <= maxListEntries &&
		(p.entry == nil || len(p.entry.Metadata) <= maxListMetadata)
}

func isEntry(name string) bool {
	return name == "Contents" || name == "Version" || name == "DeleteMarker"
}

func (p *pageParser) start() {
	if len(p.path) == 2 && isEntry(p.path[1]) {
		p.page.Entries = append(p.page.Entries, storage.Entry{DeleteMarker: p.path[1] == "DeleteMarker"})
		p.entry = &p.page.Entries[len(p.page.Entries)-1]
	}
}

func (p *pageParser) end() error {
	if p.path[0] != "ListBucketResult" && p.path[0] != "ListVersionsResult" {
		return fmt.Errorf("unexpected document %q", p.path[0])
	}
	switch {
	case len(p.path) == 2:
		p.pageField(p.path[1], p.text)
	case len(p.path) >= 3 && isEntry(p.path[1]):
		return p.entryField(p.path[2:], p.text)
	case len(p.path) == 3 && p.path[1] == "CommonPrefixes" && p.path[2] == "Prefix":
		p.page.Prefixes = append(p.page.Prefixes, p.text)
	}
	return nil
}

func (p *pageParser) pageField(name, text string) {
	switch name {
	case "MaxKeys":
		p.page.MaxKeys = text
	case "KeyCount":
		p.page.KeyCount = text
	case "IsTruncated":
		p.page.Truncated = text == "true"
	case "NextContinuationToken":
		p.page.NextToken = text
	case "NextKeyMarker":
		p.page.NextKeyMarker = text
	case "NextVersionIdMarker":
		p.page.NextVersionMarker = text
	}
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
	case "VersionId":
		e.VersionID = text
	case "IsLatest":
		e.IsLatest = text
	case "UserTags":
		e.UserTags = text
	case "Owner", "Internal", "UserMetadata":
		e.HasMetadata = e.HasMetadata || path[0] != "Owner"
		if len(path) == 2 {
			nested(e, path[0], path[1], text)
		}
	}
	return err
}

func nested(e *storage.Entry, group, name, text string) {
	switch {
	case group == "UserMetadata":
		e.Metadata = append(e.Metadata, storage.MetaEntry{Name: name, Value: text})
	case group == "Owner" && name == "ID":
		e.OwnerID = text
	case group == "Owner" && name == "DisplayName":
		e.OwnerName = text
	case group == "Internal" && name == "K":
		e.InternalK = text
	case group == "Internal" && name == "M":
		e.InternalM = text
	}
}
