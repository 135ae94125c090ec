package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// listKind is which of S3's three listings is served.
type listKind int

const (
	listV1 listKind = iota
	listV2
	listVersions
)

// listing is one listing on its way.
type listing struct {
	server  *Server
	request *request
	kind    listKind
	// encode says that the client wants names URL-encoded.
	encode bool
	// metadata says that the client asked for the objects' metadata.
	metadata bool
	owner    bool
	marker   string // of V1
}

// listEntry is an entry with what the proxy knows of it.
type listEntry struct {
	*storage.Entry
	record *sse.Record // nil for a plain object
	stored string      // upstream's ETag
	name   sse.Name
	facts  sse.Facts
	opened bool // facts are known, but for a manifest's
	shown  bool // the caller may see the ETag that the facts give
}

func (e *listEntry) ref() manifest.Ref { return manifestRef(e.name, e.record, e.stored) }

func (e *listEntry) hasManifest() bool { return e.opened && needsManifest(e.record, false) }

// listObjectsV2 serves ListObjectsV2.
func (s *Server) listObjectsV2(w http.ResponseWriter, r *request) error {
	l := &listing{server: s, request: r, kind: listV2, owner: r.query.Get("fetch-owner") == "true"}
	return l.serve(w)
}

// listObjectsV1 serves ListObjects, through V2: only that tells metadata.
func (s *Server) listObjectsV1(w http.ResponseWriter, r *request) error {
	l := &listing{server: s, request: r, kind: listV1, owner: true, marker: r.query.Get("marker")}
	return l.serve(w)
}

// listObjectVersions serves ListObjectVersions.
func (s *Server) listObjectVersions(w http.ResponseWriter, r *request) error {
	l := &listing{server: s, request: r, kind: listVersions, owner: true}
	return l.serve(w)
}

func (l *listing) serve(w http.ResponseWriter) error {
	if v := l.request.query.Get("encoding-type"); v != "" && !strings.EqualFold(v, "url") {
		return errEncodingType
	} else if v != "" {
		l.encode = true
	}
	l.metadata = l.request.query.Get("metadata") == "true"
	ctx := l.request.Context()
	page, err := l.fetch(ctx, l.request.caller.credential, true)
	switch {
	case errors.Is(err, storage.ErrListing):
		if page, err = l.fetch(ctx, l.request.caller.credential, false); err != nil {
			return err
		}
		err = l.headEach(ctx, page)
	case err == nil:
		err = l.completeMetadata(ctx, page)
	}
	if err != nil {
		return err
	}
	entries, err := l.open(ctx, page)
	if err != nil {
		return err
	}
	writeXML(w, http.StatusOK, l.render(page, entries))
	return nil
}

// fetch asks upstream for the page as the given identity.
func (l *listing) fetch(ctx context.Context, cred *storage.Credential, metadata bool) (*storage.Page, error) {
	r := l.request.upstreamRequest(http.MethodGet)
	r.Credential = cred
	query := url.Values{}
	names := []string{"prefix", "delimiter", "max-keys"}
	switch l.kind {
	case listVersions:
		query.Set("versions", "")
		names = append(names, "key-marker", "version-id-marker")
	case listV2:
		names = append(names, "start-after", "continuation-token")
	}
	if l.kind != listVersions {
		query.Set("list-type", "2")
	}
	for _, name := range names {
		if v, ok := l.request.query[name]; ok {
			query[name] = v
		}
	}
	if metadata {
		query.Set("metadata", "true")
	}
	if l.owner && l.kind != listVersions {
		query.Set("fetch-owner", "true")
	}
	if l.kind == listV1 && l.marker != "" {
		query.Set("start-after", l.marker)
	}
	return l.server.opts.Upstream.List(ctx, r, query)
}

// completeMetadata gets what upstream left out for a caller that may list but
// not read: the same page once more under the service identity, of which only
// sizes and ETags reach the caller. errServiceRights, rather than sizes that are not
// the plaintext's, if that identity may not read the objects either.
func (l *listing) completeMetadata(ctx context.Context, page *storage.Page) error {
	missing := false
	for i := range page.Entries {
		missing = missing || !page.Entries[i].HasMetadata && !page.Entries[i].DeleteMarker
	}
	if !missing {
		return nil
	}
	full, err := l.fetch(ctx, &l.server.opts.Service, true)
	if errors.Is(err, storage.ErrListing) {
		return l.headEach(ctx, page)
	}
	if err != nil {
		return err
	}
	type version struct{ key, id string }
	known := make(map[version]*storage.Entry, len(full.Entries))
	for i := range full.Entries {
		known[version{full.Entries[i].Key, full.Entries[i].VersionID}] = &full.Entries[i]
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		same := known[version{e.Key, e.VersionID}]
		if e.HasMetadata || same == nil || same.ETag != e.ETag {
			continue
		}
		if !same.HasMetadata && !same.DeleteMarker {
			return fmt.Errorf("list %q: %w", e.Key, errServiceRights)
		}
		e.Metadata = reservedOnly(same.Metadata)
	}
	return nil
}

func reservedOnly(all []storage.MetaEntry) []storage.MetaEntry {
	var out []storage.MetaEntry
	for _, m := range all {
		if isReservedName(m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// headRequests bounds the look-ups of one listing that run at a time.
const headRequests = 16

// headEach gets the records of a page one by one, under the service identity:
// for pages that upstream cannot write with metadata.
func (l *listing) headEach(ctx context.Context, page *storage.Page) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(headRequests)
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.DeleteMarker {
			continue
		}
		group.Go(func() error { return l.head(ctx, e) })
	}
	return group.Wait()
}

func (l *listing) head(ctx context.Context, e *storage.Entry) error {
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	r := l.request.upstreamRequest(http.MethodHead)
	r.Key, r.Credential = listedName(l.request.bucket, key).Key, &l.server.opts.Service
	if e.VersionID != "" {
		r.Query = url.Values{"versionId": {e.VersionID}}
	}
	resp, err := l.server.opts.Upstream.Do(ctx, r)
	if err != nil {
		return err
	}
	defer upstream.Discard(resp)
	if resp.StatusCode == http.StatusForbidden {
		return fmt.Errorf("look %q up for a listing: %w", e.Key, errServiceRights)
	}
	if resp.Header.Get("ETag") != e.ETag {
		return nil // gone or changed meanwhile: listed as upstream lists it
	}
	for name, values := range resp.Header {
		for _, v := range values {
			if isReservedName(name) {
				e.Metadata = append(e.Metadata, storage.MetaEntry{Name: name, Value: v})
			}
		}
	}
	return nil
}

// open replaces upstream's sizes and ETags by those the client knows. An entry
// whose record or manifest can never be opened keeps upstream's: one bad object
// must not make a whole listing fail. What may pass fails the listing, since
// clients compare sizes and ETags, and copy or delete where they differ.
func (l *listing) open(ctx context.Context, page *storage.Page) ([]listEntry, error) {
	entries, err := l.openRecords(ctx, page)
	if err != nil {
		return nil, err
	}
	var refs []manifest.Ref
	for i := range entries {
		if e := &entries[i]; e.hasManifest() {
			refs = append(refs, e.ref())
		}
	}
	var late map[manifest.Ref]sse.Facts
	var failed map[manifest.Ref]error
	if len(refs) > 0 {
		late, failed = l.server.manifests.GetMany(ctx, refs, storedOf(l.server, entries))
	}
	for i := range entries {
		e := &entries[i]
		if e.hasManifest() {
			if err := failed[e.ref()]; mayPass(err) {
				return nil, fmt.Errorf("manifest of %q: %w", e.Key, err)
			} else if err != nil {
				l.warn(ctx, e, err)
				continue
			}
			e.facts = late[e.ref()]
			if own := l.server.ownETag(e.ref(), e.stored); own != e.stored {
				e.stored = own
				if e.record.Mode != sse.ModeS3 {
					e.ETag = clientETag(e.record, nil, own)
				}
			}
			if e.record.Layout != sse.OneStream {
				e.Size = e.facts.PlainSize
			}
		}
		if e.opened && e.shown {
			e.ETag = clientETag(e.record, &e.facts, e.stored)
		}
	}
	return entries, nil
}

// storedOf says what upstream has of the objects of a page.
func storedOf(s *Server, entries []listEntry) func(manifest.Ref) manifest.Data {
	data := make(map[manifest.Ref]manifest.Data)
	for i := range entries {
		if e := &entries[i]; e.hasManifest() && e.record.Layout == sse.Uploaded { // else its name holds no ETag
			data[e.ref()] = s.storedData(e.name, e.VersionID, e.stored, e.Size)
		}
	}
	return func(ref manifest.Ref) manifest.Data { return data[ref] }
}

// mayPass says whether an error is one of who cannot be reached for now, or of another
// KMS key than before, and says nothing of an object.
func mayPass(err error) bool {
	return errors.Is(err, kms.ErrUnavailable) || errors.Is(err, kms.ErrKeyReplaced) || errors.Is(err, storage.ErrUnreachable) || errors.Is(err, identity.ErrUnavailable) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// openers bounds the records of one listing that are opened at a time.
const openers = 8

// openRecords opens what of each entry lies in its record. After the first error
// that may pass, nothing more is asked.
func (l *listing) openRecords(ctx context.Context, page *storage.Page) ([]listEntry, error) {
	entries := make([]listEntry, len(page.Entries))
	var next atomic.Int64
	var group errgroup.Group
	for range min(openers, len(entries)) {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(len(entries)); i = next.Add(1) - 1 {
				e := &entries[i]
				e.Entry, e.stored = &page.Entries[i], page.Entries[i].ETag
				err := l.openRecord(ctx, e)
				if mayPass(err) {
					next.Store(int64(len(entries)))
					return fmt.Errorf("open %q: %w", e.Key, err)
				}
				if err != nil {
					l.warn(ctx, e, err)
				}
			}
			return nil
		})
	}
	return entries, group.Wait()
}

func (l *listing) warn(ctx context.Context, e *listEntry, err error) {
	l.server.log.WarnContext(ctx, "listing: object cannot be opened", "id", l.request.id,
		"bucket", l.request.bucket, "key", e.Key, "error", err)
}

func (l *listing) openRecord(ctx context.Context, e *listEntry) error {
	text := ""
	for _, m := range e.Metadata {
		if !isReservedName(m.Name) {
			continue
		}
		if text != "" || m.Name != recordHeader {
			return fmt.Errorf("more than one record, or one of another name: %w", sse.ErrRecord)
		}
		text = m.Value
	}
	if text == "" {
		return nil
	}
	rec, err := sse.ParseRecord(text)
	if err != nil {
		return err
	}
	if rec.Layout == sse.OneStream && sse.EncSize(rec.PlainSize) != e.Size {
		return fmt.Errorf("listed with %d bytes: %w", e.Size, errUpstreamLied)
	}
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	e.record, e.name = rec, listedName(l.request.bucket, key)
	var grant keyring.Grant
	if rec.Mode == sse.ModeS3 { // other ETags are upstream's
		grant, err = l.server.keys.MayOpen(ctx, l.request.caller.keys(), l.request.bucket, rec)
		if mayPass(err) {
			return err
		}
		e.shown = err == nil
	}
	if rec.Layout != sse.OneStream {
		e.opened = true // size and ETag are in the manifest
		return nil
	}
	e.Size = rec.PlainSize
	if !e.shown {
		return nil
	}
	object, private, err := grant.Open(ctx, e.name, rec, nil)
	if err != nil {
		return err
	}
	object.Zero()
	e.facts, e.opened = private.Facts, true
	return nil
}

// nextMarker is V1's marker for the next page: the key inside upstream's token.
func nextMarker(p *storage.Page) string {
	if token, err := base64.StdEncoding.DecodeString(p.NextToken); err == nil && len(token) > 0 {
		return string(token)
	}
	last := ""
	if n := len(p.Entries); n > 0 {
		last, _ = url.QueryUnescape(p.Entries[n-1].Key)
	}
	if n := len(p.Prefixes); n > 0 {
		if prefix, _ := url.QueryUnescape(p.Prefixes[n-1]); prefix > last {
			last = prefix
		}
	}
	return last
}

// encoded writes one of upstream's URL-encoded names in the client's encoding.
func (l *listing) encoded(name string) string {
	if l.encode {
		return name
	}
	raw, err := url.QueryUnescape(name)
	if err != nil {
		return name
	}
	return raw
}

// raw writes a name of the client's own request in the client's encoding.
func (l *listing) raw(name string) string {
	if l.encode {
		return listEncoded(name)
	}
	return name
}
