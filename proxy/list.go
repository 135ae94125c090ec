package proxy

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// listing is one ListObjects on its way: V1 and V2 differ in their first and
// last lines only.
type listing struct {
	server  *Server
	request *request
	v1      bool
	// encode says that the client wants names URL-encoded.
	encode bool
	// metadata says that the client asked for the objects' metadata.
	metadata bool
	owner    bool
	marker   string // of V1
}

// listObjectsV2 serves ListObjectsV2.
func (s *Server) listObjectsV2(w http.ResponseWriter, r *request) error {
	l := &listing{server: s, request: r, owner: r.query.Get("fetch-owner") == "true", metadata: r.query.Get("metadata") == "true"}
	return l.serve(w)
}

// listObjectsV1 serves ListObjects, through V2: only that tells metadata.
func (s *Server) listObjectsV1(w http.ResponseWriter, r *request) error {
	l := &listing{server: s, request: r, v1: true, owner: true, marker: r.query.Get("marker")}
	return l.serve(w)
}

func (l *listing) serve(w http.ResponseWriter) error {
	switch l.request.query.Get("encoding-type") {
	case "":
	case "url":
		l.encode = true
	default:
		return errEncodingType
	}
	ctx := l.request.Context()
	page, err := l.fetch(ctx, l.request.caller.credential)
	if err != nil {
		return err
	}
	if err := l.completeRecords(ctx, page); err != nil {
		return err
	}
	for i := range page.Contents {
		l.translate(ctx, &page.Contents[i])
	}
	writeXML(w, http.StatusOK, l.render(page))
	return nil
}

// fetch asks upstream for the page as the given identity. Names always come
// URL-encoded: a single control character in one makes the page unreadable
// otherwise.
func (l *listing) fetch(ctx context.Context, cred *upstream.Credential) (*listPage, error) {
	up := l.request.upstreamRequest(http.MethodGet)
	up.Credential = cred
	up.Query = url.Values{"list-type": {"2"}, "metadata": {"true"}, "encoding-type": {"url"}}
	for _, name := range []string{"prefix", "delimiter", "start-after", "continuation-token", "max-keys"} {
		if v, ok := l.request.query[name]; ok {
			up.Query[name] = v
		}
	}
	if l.owner {
		up.Query.Set("fetch-owner", "true")
	}
	if l.v1 && l.marker != "" {
		up.Query.Set("start-after", l.marker)
	}
	resp, err := l.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	page, err := parseListPage(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("parse listing: %w (%w)", upstream.ErrUnreachable, err)
	}
	return page, nil
}

// completeRecords gets what upstream left out for a caller that may list but
// not read: the same page once more under the service identity, of which only
// sizes and ETags reach the caller.
func (l *listing) completeRecords(ctx context.Context, page *listPage) error {
	missing := false
	for i := range page.Contents {
		missing = missing || !page.Contents[i].hasMetadata
	}
	if !missing {
		return nil
	}
	full, err := l.fetch(ctx, &l.server.opts.Service)
	if err != nil {
		return err
	}
	records := make(map[string]*listEntry, len(full.Contents))
	for i := range full.Contents {
		records[full.Contents[i].Key] = &full.Contents[i]
	}
	for i := range page.Contents {
		e := &page.Contents[i]
		if same := records[e.Key]; !e.hasMetadata && same != nil && same.ETag == e.ETag {
			e.records = same.records
		}
	}
	return nil
}

// translate replaces upstream's size and ETag by those the client knows. An
// entry whose record cannot be opened keeps upstream's ETag: one bad object, or a
// key that is out of reach, must not make a whole listing fail.
func (l *listing) translate(ctx context.Context, e *listEntry) {
	if len(e.records) == 0 {
		return
	}
	err := l.translateRecord(ctx, e)
	if err != nil {
		l.server.log.WarnContext(ctx, "listing: record cannot be opened", "id", l.request.id,
			"bucket", l.request.bucket, "key", e.Key, "error", err)
	}
}

func (l *listing) translateRecord(ctx context.Context, e *listEntry) error {
	if len(e.records) > 1 {
		return fmt.Errorf("%d records on one object: %w", len(e.records), sse.ErrRecord)
	}
	rec, err := sse.ParseRecord(e.records[0])
	if err != nil {
		return err
	}
	if sse.EncSize(rec.PlainSize) != e.Size {
		return fmt.Errorf("listed with %d bytes: %w", e.Size, errUpstreamLied)
	}
	e.Size, e.record = rec.PlainSize, rec
	if rec.Mode != sse.ModeS3 {
		return nil
	}
	stored := e.ETag
	e.ETag = clientETag(rec, nil, stored)
	if err := l.server.mayUseKeys(l.request.caller, l.request.bucket); err != nil {
		return nil //nolint:nilerr // such a caller sees an ETag that is no MD5
	}
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return fmt.Errorf("decode key: %w", err)
	}
	object, private, err := l.server.keys.open(ctx, sse.Name{Bucket: l.request.bucket, Key: key}, rec, nil)
	if err != nil {
		return err
	}
	object.Zero()
	e.ETag = clientETag(rec, private.MD5, stored)
	return nil
}

// nextMarker is V1's marker for the next page: the key inside upstream's token.
func (p *listPage) nextMarker() string {
	if token, err := base64.StdEncoding.DecodeString(p.NextToken); err == nil && len(token) > 0 {
		return string(token)
	}
	last := ""
	if n := len(p.Contents); n > 0 {
		last, _ = url.QueryUnescape(p.Contents[n-1].Key)
	}
	if n := len(p.Prefixes); n > 0 {
		if prefix, _ := url.QueryUnescape(p.Prefixes[n-1]); prefix > last {
			last = prefix
		}
	}
	return last
}

// name writes one of upstream's URL-encoded names in the client's encoding.
func (l *listing) name(encoded string) string {
	if l.encode {
		return encoded
	}
	raw, err := url.QueryUnescape(encoded)
	if err != nil {
		return encoded
	}
	return raw
}

// raw writes a name of the client's own request in the client's encoding.
func (l *listing) raw(name string) string {
	if l.encode {
		return strings.ReplaceAll(url.QueryEscape(name), "%2F", "/")
	}
	return name
}
