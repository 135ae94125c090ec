package upstream

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Get implements storage.Backend.
func (b *backend) Get(ctx context.Context, g *storage.Get) (*storage.Object, error) {
	a, err := b.fetch(ctx, http.MethodGet, g)
	if err != nil {
		return nil, err
	}
	return &storage.Object{Info: a.info(), ReadCloser: a}, nil
}

// Head implements storage.Backend.
func (b *backend) Head(ctx context.Context, g *storage.Get) (*storage.Info, error) {
	a, err := b.fetch(ctx, http.MethodHead, g)
	if err != nil {
		return nil, err
	}
	_ = a.Close()
	info := a.info()
	return &info, nil
}

func (b *backend) fetch(ctx context.Context, method string, g *storage.Get) (answer, error) {
	r := b.request(method, g.Name, nil)
	r.version(g.Version)
	for name, values := range g.Answer {
		r.set(name, values...)
	}
	if g.Part != 0 {
		r.set("partNumber", strconv.Itoa(g.Part))
	}
	if g.Checksums {
		r.Header["X-Amz-Checksum-Mode"] = []string{"ENABLED"}
	}
	if g.IfMatch != "" {
		r.Header["If-Match"] = []string{g.IfMatch}
	}
	if g.Range != nil {
		r.Header["Range"] = []string{rangeHeader(*g.Range)}
	}
	return b.client.do(ctx, r, http.StatusOK, http.StatusPartialContent)
}

// rangeHeader is the Range header that asks for r.
func rangeHeader(r storage.Range) string {
	header := "bytes=" + strconv.FormatInt(r.First, 10) // of a suffix "-N"
	if r.First < 0 {
		return header
	}
	header += "-"
	if r.Last >= 0 {
		header += strconv.FormatInt(r.Last, 10)
	}
	return header
}

// info is what the answer says of an object. It takes the answer's header over.
func (a answer) info() storage.Info {
	h := a.header()
	info := storage.Info{
		ETag: h.Get("Etag"), Size: a.resp.ContentLength, Modified: modified(h), Version: h.Get("X-Amz-Version-Id"),
		Meta: storage.Metadata(h),
	}
	if a.resp.StatusCode == http.StatusPartialContent {
		info.Part, info.Total = true, -1
		if at, total, ok := parseContentRange(h.Get("Content-Range")); ok {
			info.At, info.Total = at, total
		}
	}
	for name, values := range h {
		if !storage.IsReserved(name) {
			continue
		}
		for _, value := range values {
			info.Reserved = append(info.Reserved, storage.MetaEntry{Name: name, Value: value})
		}
		delete(h, name)
	}
	return info
}

// modified is an answer's Last-Modified, zero if it has none that can be read.
func modified(h http.Header) time.Time {
	text := h.Get("Last-Modified")
	if text == "" {
		return time.Time{}
	}
	t, _ := http.ParseTime(text)
	return t
}

// parseContentRange reads a Content-Range header. Nothing but the one way to write it is
// read. That of an empty object is "bytes 0--1/0".
func parseContentRange(header string) (r sse.Range, size int64, ok bool) {
	var first, last int64
	n, err := fmt.Sscanf(header, "bytes %d-%d/%d", &first, &last, &size)
	if err != nil || n != 3 || first < 0 || size < 0 || size == 0 && last != -1 || last < first-1 || last >= size && size > 0 ||
		fmt.Sprintf("bytes %d-%d/%d", first, last, size) != header {
		return sse.Range{}, 0, false
	}
	return sse.Range{Offset: first, Length: last - first + 1}, size, true
}

// List implements storage.Backend.
func (b *backend) List(ctx context.Context, l *storage.List) (*storage.Page, error) {
	r := b.request(http.MethodGet, sse.Name{Bucket: l.Bucket}, nil)
	if l.Versions {
		r.set("versions", "")
	} else {
		r.set("list-type", "2")
	}
	for name, value := range l.Parameters {
		r.set(name, value)
	}
	if l.Metadata {
		r.set("metadata", "true")
	}
	if l.Owner && !l.Versions {
		r.set("fetch-owner", "true")
	}
	return b.client.List(ctx, r, r.Query)
}

// Tags implements storage.Backend.
func (b *backend) Tags(ctx context.Context, g *storage.Get) (map[string]string, error) {
	r := b.request(http.MethodGet, g.Name, nil)
	r.version(g.Version)
	r.set("tagging", "")
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		var refusal *storage.Error
		if errors.As(err, &refusal) && refusal.Code == "NoSuchTagSet" {
			return nil, nil
		}
		return nil, err
	}
	var said struct {
		Tags []struct{ Key, Value string } `xml:"TagSet>Tag"`
	}
	if err := a.parse(maxAnswer, "tags", &said); err != nil {
		return nil, err
	}
	tags := make(map[string]string, len(said.Tags))
	for _, t := range said.Tags {
		tags[t.Key] = t.Value
	}
	return tags, nil
}

// ObjectParts implements storage.Backend.
func (b *backend) ObjectParts(ctx context.Context, g *storage.Get) ([]storage.ObjectPart, error) {
	r := b.request(http.MethodGet, g.Name, nil)
	r.version(g.Version)
	r.set("attributes", "")
	r.Header["X-Amz-Object-Attributes"] = []string{"ObjectParts"}
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var said struct {
		Parts []struct {
			PartNumber int
			Size       int64
			Others     []struct {
				XMLName xml.Name
				Value   string `xml:",chardata"`
			} `xml:",any"`
		} `xml:"ObjectParts>Part"`
	}
	if err := a.parse(maxParts, "attributes", &said); err != nil {
		return nil, err
	}
	parts := make([]storage.ObjectPart, len(said.Parts))
	for i, p := range said.Parts {
		parts[i] = storage.ObjectPart{Number: p.PartNumber, Size: p.Size}
		for _, other := range p.Others {
			algorithm, ok := strings.CutPrefix(other.XMLName.Local, "Checksum")
			if !ok || other.Value == "" {
				continue
			}
			if parts[i].Checksums == nil {
				parts[i].Checksums = make(map[string]string, 1)
			}
			parts[i].Checksums[algorithm] = other.Value
		}
	}
	return parts, nil
}

// ListParts implements storage.Backend.
func (b *backend) ListParts(ctx context.Context, l *storage.ListParts) (*storage.PartPage, error) {
	r := b.upload(http.MethodGet, &l.Upload, nil)
	for name, value := range l.Parameters {
		r.set(name, value)
	}
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		return nil, err
	}
	page := new(storage.PartPage)
	if err := a.parse(maxParts, "list of parts", page); err != nil {
		return nil, err
	}
	return page, nil
}

// Locks implements storage.Backend.
func (b *backend) Locks(ctx context.Context, bucket string) (locks, retains bool, err error) {
	r := b.request(http.MethodGet, sse.Name{Bucket: bucket}, nil)
	r.set("object-lock", "")
	a, err := b.client.do(ctx, r, http.StatusOK)
	if err != nil {
		var refusal *storage.Error
		if errors.As(err, &refusal) && refusal.Code == "ObjectLockConfigurationNotFoundError" {
			return false, false, nil
		}
		return false, false, err
	}
	var said struct {
		Mode string `xml:"Rule>DefaultRetention>Mode"`
	}
	if err := a.parse(maxAnswer, "object lock configuration", &said); err != nil {
		return false, false, err
	}
	return true, said.Mode != "", nil
}

// ReadsLock implements storage.Backend.
func (b *backend) ReadsLock(ctx context.Context, g *storage.Get) error {
	for _, what := range []string{"retention", "legal-hold"} {
		r := b.request(http.MethodGet, g.Name, nil)
		r.version(g.Version)
		r.set(what, "")
		a, err := b.client.do(ctx, r, http.StatusOK)
		var refusal *storage.Error
		switch {
		case err == nil:
			_ = a.Close()
		case errors.As(err, &refusal) && refusal.Code == "NoSuchObjectLockConfiguration": // it has none
		default:
			return err
		}
	}
	return nil
}

// upload begins a request about an upload. It takes meta over.
func (b *backend) upload(method string, u *storage.Upload, meta storage.Metadata) *Request {
	r := b.request(method, u.Name, meta)
	if u.As != nil { // what a part's own headers say counts for nothing
		r.tell(func(told url.Values) { storage.TellEncryption(told, u.As.Mode, u.As.KMSKey) })
	}
	r.set("uploadId", u.ID)
	return r
}
