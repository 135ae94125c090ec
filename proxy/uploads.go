package proxy

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// partPage is upstream's answer to ListParts.
type partPage struct {
	Parts []struct {
		PartNumber   int
		ETag         string
		LastModified string
		Size         int64
	} `xml:"Part"`
	IsTruncated  bool
	StorageClass string
	MaxParts     string
	Owner        listOwner
	Initiator    listOwner
}

type listOwner struct{ ID, DisplayName string }

func (s *Server) listUpstreamParts(ctx context.Context, up *upstream.Request) (*partPage, error) {
	resp, err := s.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		answer := upstream.ReadError(resp)
		if answer.Code == noSuchUpload {
			return nil, errNoSuchUpload
		}
		return nil, answer
	}
	defer upstream.Discard(resp)
	var page partPage
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 16<<20)).Decode(&page); err != nil {
		return nil, fmt.Errorf("parse list of parts: %w (%w)", storage.ErrUnreachable, err)
	}
	return &page, nil
}

// listParts serves ListParts: upstream's parts, of which those that the ledger
// does not know do not exist, with sizes and ETags of the plaintext.
func (s *Server) listParts(w http.ResponseWriter, r *request) error {
	u, err := s.upload(r)
	if err != nil {
		return err
	}
	if err := s.keys.MayKnow(r.Context(), r.caller.keys(), r.bucket, u.record); err != nil {
		return err
	}
	up := r.upstreamRequest(http.MethodGet)
	tellUpload(up, u.id.sealed)
	up.Query = url.Values{"uploadId": {u.ID}}
	for _, name := range []string{"max-parts", "part-number-marker"} {
		if v, ok := r.query[name]; ok {
			up.Query[name] = v
		}
	}
	page, err := s.listUpstreamParts(r.Context(), up)
	if err != nil {
		return err
	}
	var noted map[manifest.PartID]sse.PartFacts
	if n := len(page.Parts); n > 0 {
		if noted, err = s.ledger.Parts(r.Context(), u.ID, page.Parts[0].PartNumber, page.Parts[n-1].PartNumber); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListPartsResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.bucket)
	element(&b, "Key", r.key)
	element(&b, "UploadId", u.id.String())
	owner(&b, "Initiator", page.Initiator)
	owner(&b, "Owner", page.Owner)
	element(&b, "StorageClass", page.StorageClass)
	marker := r.query.Get("part-number-marker")
	if marker == "" {
		marker = "0"
	}
	element(&b, "PartNumberMarker", marker)
	next := 0
	if n := len(page.Parts); page.IsTruncated && n > 0 {
		next = page.Parts[n-1].PartNumber
	}
	element(&b, "NextPartNumberMarker", strconv.Itoa(next))
	element(&b, "MaxParts", page.MaxParts)
	element(&b, "IsTruncated", strconv.FormatBool(page.IsTruncated))
	if u.Checksum != 0 {
		element(&b, "ChecksumAlgorithm", checksumOf(u.Checksum).wire.String())
		element(&b, "ChecksumType", checksumKind(&sse.Checksum{Composite: u.Composite}))
	}
	for _, p := range page.Parts {
		id := manifest.PartID{Number: p.PartNumber, ETag: strings.Trim(p.ETag, `"`)}
		facts, ok := noted[id]
		if !ok {
			continue
		}
		b.WriteString("<Part>")
		element(&b, "PartNumber", strconv.Itoa(p.PartNumber))
		element(&b, "LastModified", p.LastModified)
		element(&b, "ETag", partETag(u.record, id, &facts))
		element(&b, "Size", strconv.FormatInt(facts.PlainSize, 10))
		if sum := facts.Checksum; sum != nil {
			element(&b, checksumOf(sum.Type).element, base64Std(sum.Value))
		}
		b.WriteString("</Part>")
	}
	b.WriteString("</ListPartsResult>")
	writeXML(w, http.StatusOK, b.Bytes())
	return nil
}

func owner(b *bytes.Buffer, name string, o listOwner) {
	b.WriteString("<" + name + ">")
	element(b, "ID", o.ID)
	element(b, "DisplayName", o.DisplayName)
	b.WriteString("</" + name + ">")
}

// uploadPage is a page of ListMultipartUploads.
type uploadPage struct {
	uploads        []*manifest.Upload
	prefixes       []string
	truncated      bool
	nextKey        string
	nextID         string
	delimiter      string
	prefix         string
	maxUploads     int
	keyMarker      string
	uploadIDMarker string
}

// listMultipartUploads serves ListMultipartUploads from the ledger: upstream's own
// list is a memory cache that matches whole keys only. Whether the caller may list
// is upstream's to say.
func (s *Server) listMultipartUploads(w http.ResponseWriter, r *request) error {
	p := &uploadPage{
		delimiter: r.query.Get("delimiter"), prefix: r.query.Get("prefix"), maxUploads: 1000,
		keyMarker: r.query.Get("key-marker"), uploadIDMarker: r.query.Get("upload-id-marker"),
	}
	if v := r.query.Get("max-uploads"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return &apiError{400, invalidArgument, "Argument max-uploads must be an integer between 0 and 2147483647", nil}
		}
		p.maxUploads = min(n, p.maxUploads)
	}
	if err := s.mayListUploads(r, p.prefix); err != nil {
		return err
	}
	if err := s.setup.ensure(r.Context()); err != nil {
		return err
	}
	var all []*manifest.Upload
	if !strings.HasPrefix(p.prefix, "/") { // no key begins so
		if err := s.ledger.Uploads(r.Context(), r.bucket, p.prefix, func(u *manifest.Upload) { all = append(all, u) }); err != nil {
			return err
		}
	}
	sort.SliceStable(all, func(i, j int) bool {
		return all[i].Key < all[j].Key || all[i].Key == all[j].Key && all[i].Initiated.Before(all[j].Initiated)
	})
	live := s.newLiveness(all)
	if err := p.fill(all, func(i int) (bool, error) { return live.alive(r.Context(), i) }); err != nil {
		return err
	}
	writeXML(w, http.StatusOK, p.render(r))
	return nil
}

func (s *Server) mayListUploads(r *request, prefix string) error {
	up := r.upstreamRequest(http.MethodGet)
	up.Query = url.Values{"uploads": {""}, "prefix": {prefix}, "max-uploads": {"1"}}
	resp, err := s.opts.Upstream.Do(r.Context(), up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	upstream.Discard(resp)
	return nil
}

// fill takes the uploads after the markers that are alive, folded at the delimiter,
// up to the page's size. alive is asked in order, by index.
func (p *uploadPage) fill(all []*manifest.Upload, alive func(int) (bool, error)) error {
	passed := !p.has(all) // the upload of the marker was seen, or has ended since
	for i, u := range all {
		if u.Key < p.keyMarker || u.Key == p.keyMarker && p.keyMarker != "" && (p.uploadIDMarker == "" || !passed) {
			passed = passed || u.Key == p.keyMarker && notedUploadID(u) == p.uploadIDMarker
			continue
		}
		folded := ""
		if p.delimiter != "" {
			if i := strings.Index(u.Key[len(p.prefix):], p.delimiter); i >= 0 {
				folded = u.Key[:len(p.prefix)+i+len(p.delimiter)]
			}
		}
		if folded != "" && (len(p.prefixes) > 0 && p.prefixes[len(p.prefixes)-1] == folded || folded <= p.keyMarker) {
			continue
		}
		if ok, err := alive(i); err != nil || !ok {
			if err != nil {
				return err
			}
			continue
		}
		if len(p.uploads)+len(p.prefixes) >= p.maxUploads {
			p.truncated = p.maxUploads > 0
			return nil
		}
		if folded != "" {
			p.prefixes = append(p.prefixes, folded)
			p.nextKey, p.nextID = folded, ""
			continue
		}
		p.uploads = append(p.uploads, u)
		p.nextKey, p.nextID = u.Key, notedUploadID(u)
	}
	return nil
}

// has says whether the upload that the markers name is among all.
func (p *uploadPage) has(all []*manifest.Upload) bool {
	for _, u := range all {
		if u.Key == p.keyMarker && notedUploadID(u) == p.uploadIDMarker {
			return true
		}
	}
	return false
}

func (p *uploadPage) render(r *request) []byte {
	encode := func(name string) string { return name }
	if r.query.Get("encoding-type") == "url" {
		encode = listEncoded
	}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<ListMultipartUploadsResult xmlns="` + s3Namespace + `">`)
	element(&b, "Bucket", r.bucket)
	element(&b, "KeyMarker", encode(p.keyMarker))
	element(&b, "UploadIdMarker", p.uploadIDMarker)
	if p.truncated {
		element(&b, "NextKeyMarker", encode(p.nextKey))
		element(&b, "NextUploadIdMarker", p.nextID)
	}
	if p.delimiter != "" {
		element(&b, "Delimiter", encode(p.delimiter))
	}
	if r.query.Get("encoding-type") == "url" {
		element(&b, "EncodingType", "url")
	}
	element(&b, "Prefix", encode(p.prefix))
	element(&b, "MaxUploads", strconv.Itoa(p.maxUploads))
	element(&b, "IsTruncated", strconv.FormatBool(p.truncated))
	for _, u := range p.uploads {
		class := u.StorageClass
		if class == "" {
			class = "STANDARD"
		}
		b.WriteString("<Upload>")
		element(&b, "Key", encode(u.Key))
		element(&b, "UploadId", notedUploadID(u))
		owner(&b, "Initiator", listOwner{u.Initiator, u.Initiator})
		owner(&b, "Owner", listOwner{u.Initiator, u.Initiator})
		element(&b, "StorageClass", class)
		element(&b, "Initiated", u.Initiated.UTC().Format("2006-01-02T15:04:05.000Z"))
		b.WriteString("</Upload>")
	}
	for _, prefix := range p.prefixes {
		b.WriteString("<CommonPrefixes>")
		element(&b, "Prefix", encode(prefix))
		b.WriteString("</CommonPrefixes>")
	}
	b.WriteString("</ListMultipartUploadsResult>")
	return b.Bytes()
}
