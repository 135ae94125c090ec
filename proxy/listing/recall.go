package listing

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"net/url"

	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// promising says whether the page may be asked for without metadata, because all of its
// objects are likely to be known.
func (l *listing) promising() bool {
	return l.cache != nil && !l.list.Metadata && l.o.Storage.Capabilities().ListsMetadata &&
		l.cache.promises(l.list.Bucket, l.pageID(l.marker()))
}

// recall returns the page out of a listing without metadata and what is known of its
// objects. false if something is not known, or its key opens nothing any more: then the
// page is to be asked for with everything.
func (l *listing) recall(ctx context.Context) (*Page, bool, error) {
	page, err := l.ask(ctx, l.as(), false)
	if err != nil {
		return nil, false, err
	}
	epoch, err := l.o.Keys.Rekeyed().Epoch(ctx, l.list.Bucket)
	if err != nil {
		return nil, false, err
	}
	known := l.cache.get(l.list.Bucket, epoch, page.Entries, l.cache.statements(l.list.Bucket, epoch, page.Entries))
	if known.n+markers(page) < len(page.Entries) {
		return nil, false, nil
	}
	shown, ok, err := l.confirm(ctx, known.vouchers)
	if err != nil || !ok {
		return nil, false, err
	}
	out := &Page{Page: page, Known: make([]Known, len(page.Entries))}
	for i := range known.facts {
		if f := &known.facts[i]; f.known {
			out.Known[i] = f.show(&page.Entries[i], shown[f.voucher])
		}
	}
	return out, true, nil
}

// markers is how many delete markers a page has: nothing is remembered of them.
func markers(page *storage.Page) (n int) {
	for i := range page.Entries {
		if page.Entries[i].DeleteMarker {
			n++
		}
	}
	return n
}

// show gives an entry what is known of it, as it is shown to a caller who may, or may not,
// use the key.
func (f *fact) show(e *storage.Entry, may bool) Known {
	e.Size = f.size
	facts := f.facts()
	known := Known{Mode: f.told, Checksum: facts.Checksum}
	switch {
	case f.flags&isOpaque != 0:
		e.ETag = sealed.Opaque(f.tag)
		if f.flags&oneStream != 0 {
			known.Checksum = nil
		}
	case f.mode != sse.ModeS3:
	case may:
		e.ETag = sealed.ETag(&sse.Record{Mode: f.mode}, &facts, e.ETag)
	case f.flags&oneStream != 0:
		known.Checksum = nil
	}
	return known
}

// confirm asks of each voucher what is asked of every record that is opened: whether the
// caller may use its KMS key, and if so, whether that opens it. It says to whom of them the
// caller may be shown what they stand for. false if one can no longer be opened.
func (l *listing) confirm(ctx context.Context, vouchers map[uint32]voucher) (shown map[uint32]bool, ok bool, err error) {
	shown = make(map[uint32]bool, len(vouchers))
	for n, v := range vouchers {
		s, err := l.o.Keys.Sealing(ctx, v.name, v.record)
		if sealed.MayPass(err) {
			return nil, false, err
		}
		if err != nil {
			return nil, false, nil
		}
		as := s.Encryption()
		if underOf(&as) != v.under { // it is no word for the others
			return nil, false, nil
		}
		grant, err := l.grants.of(ctx, l, &as)
		if sealed.MayPass(err) {
			return nil, false, err
		}
		if err != nil {
			continue
		}
		key, _, err := grant.Open(ctx, s, nil)
		if sealed.MayPass(err) {
			return nil, false, fmt.Errorf("open %q: %w", v.name.Key, err)
		}
		if err != nil {
			return nil, false, nil
		}
		key.Zero()
		shown[n] = true
	}
	return shown, true, nil
}

// learn remembers what was found out about a page that was asked for with metadata, and
// whether this page and the next are worth being asked for without.
func (l *listing) learn(ctx context.Context, page *storage.Page, entries []entry) {
	if l.cache == nil || !l.o.Storage.Capabilities().ListsMetadata {
		return
	}
	var all []learned
	for i := range entries {
		e := &entries[i]
		if e.DeleteMarker {
			continue
		}
		if f, ok := l.factOf(ctx, e); ok {
			all = append(all, learned{l.ids[i], f, voucher{e.name, e.record, underOf(&e.as)}})
		}
	}
	before, markers := l.known, markers(page)
	l.cache.put(l.list.Bucket, l.epoch, all)
	l.cache.mark(l.pageID(l.marker()), len(all)+markers < len(entries))
	if page.Truncated {
		l.cache.mark(l.pageID(nextMarker(page, l.list.Versions)), 2*(before+markers) < len(entries))
	}
}

// factOf returns what was found out about an entry, if it is certain: of an object that
// cannot be opened, or whose manifest was found by its data, nothing is.
func (l *listing) factOf(ctx context.Context, e *entry) (fact, bool) {
	f := fact{known: true, size: e.Size}
	switch {
	case !e.complete || e.failed || e.restored:
		return fact{}, false
	case e.record == nil:
		return f, true
	case !l.o.Keys.Rekeyed().Settled(ctx, e.name, e.record):
		return fact{}, false
	}
	f.shape(e.record, e.as.Mode)
	switch {
	case !f.needsVoucher() && e.record.Layout == sse.OneStream:
		return f, true
	case f.needsVoucher() && (!e.shown || !l.proven(ctx, e)):
		return fact{}, false
	case !e.known || !f.take(&e.facts):
		return fact{}, false
	}
	return f, true
}

// proven says whether a record is authentic for its object. One of several streams was not
// opened: all that is shown is in its manifest.
func (l *listing) proven(ctx context.Context, e *entry) bool {
	if e.record.Layout == sse.OneStream {
		return true
	}
	grant, err := l.grants.of(ctx, l, &e.as)
	if err != nil {
		return false
	}
	key, _, err := grant.Open(ctx, e.sealing, nil)
	key.Zero()
	return err == nil
}

// shape notes what a record says of the object for all to see, and the mode that is told.
func (f *fact) shape(r *sse.Record, told sse.Mode) {
	f.mode, f.told = r.Mode, told
	if r.Layout == sse.OneStream {
		f.flags |= oneStream
	}
	if r.OpaqueETag && !r.MD5ETag() {
		f.tag, f.flags = r.ETag(), f.flags|isOpaque
	}
}

// take takes the facts over, if they fit.
func (f *fact) take(facts *sse.Facts) bool {
	if facts.Parts < 0 || facts.Parts > math.MaxUint16 || facts.MD5 != nil && len(facts.MD5) != len(f.tag) {
		return false
	}
	f.parts = uint16(facts.Parts)
	if facts.MD5 != nil && f.flags&isOpaque == 0 {
		f.tag, f.flags = [16]byte(facts.MD5), f.flags|hasMD5
	}
	if sum := facts.Checksum; sum != nil {
		f.sum = sum.Type
		if sum.Composite {
			f.flags |= isComposite
		}
	}
	return true
}

// pageID names the page of a listing that begins behind a marker.
func (l *listing) pageID(marker string) statementID {
	kind := byte('p')
	if l.list.Versions {
		kind = 'v'
	}
	h := hasher{secret: &l.cache.secret}
	return h.of(kind, l.list.Bucket, l.list.Parameters["prefix"], l.list.Parameters["delimiter"], marker)
}

// marker is what the page begins behind.
func (l *listing) marker() string {
	p := l.list.Parameters
	switch {
	case l.list.Versions:
		return p["key-marker"] + "\x00" + p["version-id-marker"]
	case p["continuation-token"] != "":
		return tokenKey(p["continuation-token"])
	default:
		return p["start-after"]
	}
}

// nextMarker is the marker of the page behind one.
func nextMarker(page *storage.Page, versions bool) string {
	if !versions {
		return tokenKey(page.NextToken)
	}
	key, err := url.QueryUnescape(page.NextKeyMarker)
	if err != nil {
		key = page.NextKeyMarker
	}
	return key + "\x00" + page.NextVersionMarker
}

// tokenKey is the key inside a token: clients of ListObjects send it as their marker.
func tokenKey(token string) string {
	if key, err := base64.StdEncoding.DecodeString(token); err == nil {
		return string(key)
	}
	return token
}
