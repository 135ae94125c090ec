package workload

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// upload is an upload whose parts are there.
type upload struct {
	bucket, key, id string
	write           history.Write
	seal            string
	parts           map[int]piece
	resent          bool // some part was sent more than once
}

type piece struct {
	write history.Write
	size  int64
	etag  string
}

// body is the object that it becomes.
func (u *upload) body() history.Body {
	var b history.Body
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		b = b.Append(history.Segment{Write: u.parts[n].write, Len: u.parts[n].size})
	}
	return b
}

func (u *upload) document() []byte {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", n, u.parts[n].etag)
	}
	b.WriteString("</CompleteMultipartUpload>")
	return []byte(b.String())
}

// shared are uploads that any client may complete or abort.
type shared struct {
	mu  sync.Mutex
	all []*upload
}

func newShared() *shared { return &shared{} }

func (s *shared) add(u *upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all = append(s.all, u); len(s.all) > 16 {
		s.all = s.all[1:]
	}
}

func (s *shared) any(rng *rand.Rand) *upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return nil
	}
	return s.all[rng.IntN(len(s.all))]
}

const partMinimum = 5 << 20

// multipart uploads parts, with gaps in their numbers and some of them twice, and mostly completes.
func (c *client) multipart(ctx context.Context) {
	b, k := c.register()
	u := &upload{bucket: b, key: k, write: c.next(), seal: c.seal(), parts: map[int]piece{}}
	h := http.Header{}
	askFor(h, u.seal)
	h.Set(writeHeader, strconv.FormatInt(int64(u.write), 10))
	a := c.way().do(ctx, request{method: http.MethodPost, bucket: b, key: k, query: url.Values{"uploads": {""}}, header: h, limit: shortLimit})
	if a.outcome != history.OK {
		return
	}
	u.id = element(a.body, "UploadId")
	number := 0
	for i, n := 0, 1+c.rng.IntN(3); i < n; i++ {
		number += 1 + c.rng.IntN(3)
		size := int64(partMinimum) + c.rng.Int64N(70_000)
		if i == n-1 {
			size = 1 + c.rng.Int64N(200_000)
		}
		for again := range 1 + c.rng.IntN(5)/4 {
			u.resent = u.resent || again > 0
			if !c.part(ctx, u, number, size) {
				return
			}
		}
	}
	c.r.book.note(u.write, u.body())
	c.r.uploads.add(u)
	if c.rng.IntN(4) > 0 {
		c.complete(ctx, u)
	}
}

func (c *client) part(ctx context.Context, u *upload, number int, size int64) bool {
	p := piece{write: c.next(), size: size}
	a := c.way().do(ctx, c.variant(request{
		method: http.MethodPut, bucket: u.bucket, key: u.key, limit: longLimit,
		query: url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {u.id}},
		body:  bytesOf(history.Body{{Write: p.write, Len: size}}),
	}))
	// A part whose fate is unknown may still arrive, in place of the one that replaces it; the ETag
	// that Complete names tells them apart.
	p.etag = strings.Trim(a.header.Get("ETag"), `"`)
	u.parts[number] = p
	return a.outcome == history.OK
}

func (c *client) complete(ctx context.Context, u *upload) {
	w := c.way()
	o := c.begin(history.Complete, w, u.bucket, u.key)
	o.Write, o.Body, o.Seal, o.Upload, o.Resent = u.write, u.body(), u.seal, u.id, u.resent
	a := w.do(ctx, request{
		method: http.MethodPost, bucket: u.bucket, key: u.key, query: url.Values{"uploadId": {u.id}},
		body: u.document(), limit: longLimit,
	})
	acknowledged(&o, a)
	if o.Saw != nil {
		o.Saw.ETag = strings.Trim(element(a.body, "ETag"), `"`)
	}
	c.end(o, a)
}

func (c *client) completeOfAnother(ctx context.Context) {
	if u := c.r.uploads.any(c.rng); u != nil {
		c.complete(ctx, u)
	}
}

func (c *client) abortOfAnother(ctx context.Context) {
	u := c.r.uploads.any(c.rng)
	if u == nil || c.rng.IntN(3) > 0 {
		return
	}
	w := c.way()
	o := c.begin(history.Abort, w, u.bucket, u.key)
	o.Upload = u.id
	c.end(o, w.do(ctx, request{method: http.MethodDelete, bucket: u.bucket, key: u.key, query: url.Values{"uploadId": {u.id}}, limit: shortLimit}))
}
