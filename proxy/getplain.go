package proxy

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// servePlain answers with an object that carries no record, where the
// configuration allows it.
func (d *download) servePlain(w http.ResponseWriter, resp *http.Response) error {
	r := d.request
	if !d.server.opts.PlainRead.Match(r.bucket) {
		return errPlainObject
	}
	if d.hasKey {
		return errCustomerKeyUnused
	}
	etag := clientETag(nil, nil, resp.Header.Get("ETag"))
	modified, _ := http.ParseTime(resp.Header.Get("Last-Modified"))
	if err := readConditions(w, r.Header, etag, modified); err != nil {
		return err
	}
	if (d.rng != nil || d.part > 0) && resp.Header.Get("Content-Range") != d.plainContentRange(resp) {
		again, err := d.fetchPlain(r.Context(), etag, rangeStillValid(r.Header, etag, modified))
		if err != nil {
			return err
		}
		defer upstream.Discard(again)
		resp = again
	}
	if _, size, ok := parseContentRange(resp.Header.Get("Content-Range")); ok && size == 0 && d.rng != nil {
		return d.rng.unsatisfiable()
	}
	if resp.ContentLength < 0 {
		return errNoLength
	}
	h := w.Header()
	copyObjectHeaders(h, resp.Header)
	for name, values := range resp.Header {
		if isChecksumHeader(name) || name == "X-Amz-Mp-Parts-Count" || name == "Content-Range" {
			h[name] = values
		}
	}
	h.Set("ETag", etag)
	h.Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	if d.head {
		w.WriteHeader(resp.StatusCode)
		return nil
	}
	part := answerPart{Range: sse.Range{Length: resp.ContentLength}, status: resp.StatusCode}
	return d.send(w, resp.Body, part, 0)
}

// errNoLength says that upstream does not tell how long a plain object is: nothing
// else could tell a client that its answer was cut off.
var errNoLength = fmt.Errorf("upstream answered without a length: %w", errUpstreamLied)

// plainContentRange is the Content-Range that the request's own range has in
// resp's object, or something that no answer has.
func (d *download) plainContentRange(resp *http.Response) string {
	_, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || d.rng == nil {
		return "none"
	}
	r, err := d.rng.of(size)
	if err != nil {
		return "none"
	}
	return contentRange(r, size)
}

// fetchPlain asks for the client's own range or part of the plain object that
// was just seen.
func (d *download) fetchPlain(ctx context.Context, etag string, rangeValid bool) (*http.Response, error) {
	up := d.upstreamRequest()
	up.Header.Set("If-Match", etag)
	if d.part > 0 {
		up.Query.Set("partNumber", strconv.Itoa(d.part))
	} else if rangeValid {
		up.Header.Set("Range", d.request.Header.Get("Range"))
	}
	resp, err := d.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.part > 0 {
		upstream.Discard(resp) // an answer to HEAD does not name its error
		return nil, errPartNumber
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return nil, readChanged(resp)
	}
	if rec, err := recordOf(resp); err != nil || rec != nil {
		upstream.Discard(resp)
		return nil, errChanged
	}
	return resp, nil
}
