package proxy

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// maxLayouts bounds the number of objects whose manifests are remembered by name.
const maxLayouts = 16384

// layouts remembers which manifest describes an object of parts, so that a range
// or a part can be asked for where it lies. It only says what to ask for: what the
// answer means, its own record says. It is safe for concurrent use.
type layouts struct {
	mu    sync.Mutex
	known map[objectVersion]layoutHint
}

// objectVersion is an object as a request names it.
type objectVersion struct {
	name    sse.Name
	version string
}

// layoutHint is what an object was when it was last read.
type layoutHint struct {
	ref manifest.Ref
	// stored is upstream's ETag as it answered it.
	stored string
}

func (l *layouts) get(o objectVersion) (layoutHint, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hint, ok := l.known[o]
	return hint, ok
}

func (l *layouts) remember(o objectVersion, hint layoutHint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil {
		l.known = make(map[objectVersion]layoutHint)
	}
	if len(l.known) >= maxLayouts {
		for victim := range l.known { // any: the map's order is random
			delete(l.known, victim)
			break
		}
	}
	l.known[o] = hint
}

func (l *layouts) forget(o objectVersion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, o)
}

// asked is a request for encrypted bytes whose place was known beforehand.
type asked struct {
	layoutHint
	sse.Range
}

func (d *download) objectVersion() objectVersion {
	return objectVersion{d.request.name(), d.request.query.Get("versionId")}
}

// fetchKnown asks for exactly the packages of the range or part that is wanted, of
// the object that was there last. It returns nil if that is not known, or if
// another object is there now.
func (d *download) fetchKnown(ctx context.Context) (*http.Response, error) {
	d.asked = nil
	hint, ok := d.server.layouts.get(d.objectVersion())
	if !ok || d.cold || d.head || d.rng == nil && d.part == 0 {
		return nil, nil
	}
	need, ok := d.needOf(d.server.manifests.Known(hint.ref))
	if !ok {
		return nil, nil
	}
	resp, err := d.requestRange(ctx, hint.stored, need)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		d.asked = &asked{hint, need}
		return resp, nil
	case http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
		upstream.Discard(resp)
		d.server.layouts.forget(d.objectVersion())
		return nil, nil
	default:
		return nil, upstream.ReadError(resp)
	}
}

// needOf returns the encrypted bytes that the request needs of an object of these
// parts, and whether there are any.
func (d *download) needOf(parts *sse.Parts) (sse.Range, bool) {
	if parts == nil {
		return sse.Range{}, false
	}
	var plain sse.Range
	if d.part > 0 {
		for i, p := range parts.List() {
			if int(p.Number) == d.part {
				plain = parts.Range(i)
			}
		}
	} else {
		var err error
		if plain, err = d.rng.of(parts.PlainSize()); err != nil {
			return sse.Range{}, false
		}
	}
	return parts.Encrypted(plain), plain.Length > 0
}

// requestRange asks for encrypted bytes of the object whose upstream ETag is
// stored.
func (d *download) requestRange(ctx context.Context, stored string, r sse.Range) (*http.Response, error) {
	up := d.upstreamRequest()
	up.Header.Set("If-Match", stored)
	up.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1))
	return d.server.opts.Upstream.Do(ctx, up)
}

// answered returns which encrypted bytes upstream was asked for, of encSize, and
// whether that is a range.
func (d *download) answered(encSize int64) (sse.Range, bool) {
	switch {
	case d.asked != nil:
		return d.asked.Range, true
	case d.rng != nil:
		return d.rng.encrypted(encSize), true
	default:
		return sse.Range{Length: encSize}, false
	}
}
