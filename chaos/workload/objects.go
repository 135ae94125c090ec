package workload

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

const (
	writeHeader = "X-Amz-Meta-Chaos-Write"
	sseHeader   = "X-Amz-Server-Side-Encryption"
	kmsHeader   = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	ssecHeader  = "X-Amz-Server-Side-Encryption-Customer-"
)

func kmsSeal(key string) string { return "aws:kms:" + key }

// askFor puts a seal into a request's header: AES256, aws:kms:KEY, or none.
func askFor(h http.Header, seal string) {
	if key, ok := strings.CutPrefix(seal, "aws:kms:"); ok {
		h.Set(sseHeader, "aws:kms")
		h.Set(kmsHeader, key)
	} else if seal != "" {
		h.Set(sseHeader, seal)
	}
}

// sealOf reads the seal that an answer tells.
func sealOf(h http.Header) string {
	switch {
	case h.Get(ssecHeader+"Algorithm") != "":
		return "C"
	case h.Get(sseHeader) == "aws:kms":
		return kmsSeal(strings.TrimPrefix(h.Get(kmsHeader), "arn:aws:kms:"))
	}
	return h.Get(sseHeader)
}

// customerKey puts the key of an SSE-C object into a header: it is a function of the object's name.
func customerKey(h http.Header, prefix, bucket, key string) {
	sum := CustomerKey(bucket, key)
	digest := md5.Sum(sum)
	h.Set(prefix+"Algorithm", "AES256")
	h.Set(prefix+"Key", base64.StdEncoding.EncodeToString(sum))
	h.Set(prefix+"Key-Md5", base64.StdEncoding.EncodeToString(digest[:]))
}

// acknowledged is what an answer to a write shows.
func acknowledged(o *history.Op, a answer) {
	if a.outcome != history.OK {
		return
	}
	o.Saw = &history.Value{
		Write: o.Write, ETag: strings.Trim(a.header.Get("ETag"), `"`), Version: a.header.Get("X-Amz-Version-Id"),
	}
	if o.Kind != history.Delete {
		o.Saw.Seal = sealOf(a.header)
	}
}

// registerBucket chooses where a register key lies: each key lies in one bucket only by its letter.
func (c *client) register() (bucket, key string) {
	b := []string{bucketS3, bucketKMS, bucketVer}[c.rng.IntN(3)]
	return b, c.key("r")
}

// size chooses how much to write: mostly little, now and then more than is read whole beforehand.
func (c *client) size() int64 {
	switch n := c.rng.IntN(20); {
	case n < 1:
		return 0
	case n < 12:
		return 1 + c.rng.Int64N(5000)
	case n < 17:
		return 60_000 + c.rng.Int64N(80_000)
	case n < 19:
		return 500_000 + c.rng.Int64N(900_000)
	default:
		return 6<<20 + c.rng.Int64N(4<<20)
	}
}

// seal chooses what to ask for; empty: the bucket's rule decides.
func (c *client) seal() string {
	if len(c.r.Keys) == 0 {
		return ""
	}
	switch c.rng.IntN(4) {
	case 0:
		return "AES256"
	case 1:
		return kmsSeal(c.r.Keys[c.rng.IntN(len(c.r.Keys))])
	}
	return ""
}

// variant is how a request is signed and framed.
func (c *client) variant(q request) request {
	switch c.rng.IntN(8) {
	case 0:
		q.presigned = q.method == http.MethodGet || q.method == http.MethodPut
	case 1:
		if c.session.alive() {
			q.session = c.session
		}
	case 2:
		q.chunked = q.method == http.MethodPut && len(q.body) > 0
	}
	return q
}

// put writes an object and records it.
func (c *client) put(ctx context.Context, o history.Op, w *way, size int64, h http.Header) answer {
	o.Write = c.next()
	o.Body = history.Body{}.Append(history.Segment{Write: o.Write, Len: size})
	c.r.book.note(o.Write, o.Body)
	h.Set(writeHeader, strconv.FormatInt(int64(o.Write), 10))
	q := request{method: http.MethodPut, bucket: o.Bucket, key: o.Key, header: h, body: bytesOf(o.Body), limit: shortLimit}
	if size > 1<<20 {
		q.limit = longLimit
	}
	q = c.variant(q)
	o.Start = c.r.since()
	a := w.do(ctx, q)
	acknowledged(&o, a)
	c.end(o, a)
	return a
}

// putRegister writes, and now and then looks at once whether that is there.
func (c *client) putRegister(ctx context.Context) {
	b, k := c.register()
	w := c.way()
	o := c.begin(history.Put, w, b, k)
	o.Seal = c.seal()
	h := http.Header{}
	askFor(h, o.Seal)
	if c.put(ctx, o, w, c.size(), h).outcome == history.OK && c.rng.IntN(3) == 0 {
		w = c.way()
		c.head(ctx, c.begin(history.Head, w, b, k), w, http.Header{})
	}
}

func (c *client) putByMovingRule(ctx context.Context) {
	w := c.way()
	o := c.begin(history.Put, w, bucketMoving, c.key("r"))
	o.ByRule = len(c.r.Keys) > 0
	c.put(ctx, o, w, 1+c.rng.Int64N(3000), http.Header{})
}

// get reads an object, or the range first to end of it where end is not 0, and records it.
func (c *client) get(ctx context.Context, o history.Op, w *way, h http.Header, first, end int64) *history.Value {
	q := request{method: http.MethodGet, bucket: o.Bucket, key: o.Key, header: h, limit: longLimit}
	if o.Version != "" {
		q.query = url.Values{"versionId": {o.Version}}
	}
	if end > 0 {
		o.Range = &history.Span{First: first, End: end}
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", first, end-1))
	} else if c.rng.IntN(2) == 0 {
		h.Set("X-Amz-Checksum-Mode", "ENABLED")
	}
	q = c.variant(q)
	o.Start = c.r.since()
	a := w.do(ctx, q)
	o.Saw = c.r.seen(&a, end > 0)
	c.end(o, a)
	if a.outcome != history.OK {
		return nil
	}
	return o.Saw
}

// seen is the value that an answer to GET shows. An absent object is an answer, not a failure.
func (r *runner) seen(a *answer, ranged bool) *history.Value {
	switch {
	case a.code == "NoSuchKey" || a.code == "NoSuchVersion" || (a.status == http.StatusMethodNotAllowed && a.header.Get("X-Amz-Delete-Marker") != ""):
		a.outcome = history.OK
		return &history.Value{}
	case a.status == http.StatusRequestedRangeNotSatisfiable && ranged:
		return nil
	case a.status/100 != 2 || (a.code != "" && !a.cut):
		return nil
	}
	v := value(a.header)
	var from int64
	if text := a.header.Get("Content-Range"); text != "" {
		var last int64
		if _, err := fmt.Sscanf(text, "bytes %d-%d/%d", &from, &last, &v.Size); err != nil {
			return nil
		}
	}
	v.First, v.Partial = from, ranged || a.cut
	v.Body = r.book.recognise(a.body, v.Write, from)
	if sum := a.header.Get("X-Amz-Checksum-Crc32c"); sum != "" && !v.Partial && !strings.Contains(sum, "-") && sum != crc32c(a.body) {
		v.Digest = "CRC32C is told as " + sum + " and is " + crc32c(a.body)
	}
	return v
}

// value is what headers tell of an object.
func value(h http.Header) *history.Value {
	w, _ := strconv.ParseInt(h.Get(writeHeader), 10, 64)
	size, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	return &history.Value{
		Write: history.Write(w), Size: size, ETag: strings.Trim(h.Get("ETag"), `"`),
		Version: h.Get("X-Amz-Version-Id"), Seal: sealOf(h),
	}
}

func (c *client) getRegister(ctx context.Context) {
	b, k := c.register()
	w := c.way()
	c.get(ctx, c.begin(history.Get, w, b, k), w, http.Header{}, 0, 0)
}

// rangeRegister reads ranges, most of them across the borders of packages of 64 KiB.
func (c *client) rangeRegister(ctx context.Context) {
	b, k := c.register()
	w := c.way()
	first := c.rng.Int64N(3000)
	if c.rng.IntN(2) == 0 {
		first = 65536*(1+c.rng.Int64N(3)) + c.rng.Int64N(128) - 64
	}
	c.get(ctx, c.begin(history.Get, w, b, k), w, http.Header{}, first, first+1+c.rng.Int64N(100_000))
}

func (c *client) headRegister(ctx context.Context) {
	b, k := c.register()
	w := c.way()
	o := c.begin(history.Head, w, b, k)
	c.head(ctx, o, w, http.Header{})
}

func (c *client) head(ctx context.Context, o history.Op, w *way, h http.Header) *history.Value {
	o.Start = c.r.since()
	a := w.do(ctx, request{method: http.MethodHead, bucket: o.Bucket, key: o.Key, header: h, limit: shortLimit})
	switch {
	case a.status == http.StatusNotFound:
		a.outcome, o.Saw = history.OK, &history.Value{}
	case a.outcome == history.OK:
		o.Saw = value(a.header)
	}
	c.end(o, a)
	return o.Saw
}

func (c *client) deleteRegister(ctx context.Context) {
	b, k := c.register()
	c.delete(ctx, b, k)
}

func (c *client) delete(ctx context.Context, bucket, key string) {
	w := c.way()
	o := c.begin(history.Delete, w, bucket, key)
	a := w.do(ctx, request{method: http.MethodDelete, bucket: bucket, key: key, limit: shortLimit})
	acknowledged(&o, a)
	c.end(o, a)
}

// copyRegister copies between buckets, or an object onto itself under another key.
func (c *client) copyRegister(ctx context.Context) {
	b, k := c.register()
	from, source := b, k
	o := history.Op{Seal: c.seal()}
	if self := c.rng.IntN(3) == 0; !self {
		from, source = c.register()
	} else if o.Seal == "" && len(c.r.Keys) > 0 {
		o.Seal = kmsSeal(c.r.Keys[c.rng.IntN(len(c.r.Keys))])
	}
	w := c.way()
	seal := o.Seal
	o = c.begin(history.Copy, w, b, k)
	o.Seal, o.Source, o.Write = seal, from+"/"+source, c.next()
	h := http.Header{}
	askFor(h, seal)
	h.Set("X-Amz-Copy-Source", "/"+from+"/"+source)
	h.Set("X-Amz-Metadata-Directive", "REPLACE")
	h.Set(writeHeader, strconv.FormatInt(int64(o.Write), 10))
	a := w.do(ctx, request{method: http.MethodPut, bucket: b, key: k, header: h, limit: longLimit})
	acknowledged(&o, a)
	if o.Saw != nil {
		o.Saw.ETag = strings.Trim(element(a.body, "ETag"), `"`)
	}
	c.end(o, a)
}

// counter reads a value and replaces it if it is still there.
func (c *client) counter(ctx context.Context) {
	key := c.key("n")
	w := c.way()
	saw := c.get(ctx, c.begin(history.Get, w, bucketS3, key), w, http.Header{}, 0, 0)
	if saw == nil {
		return
	}
	w = c.way()
	o := c.begin(history.Put, w, bucketS3, key)
	h := http.Header{}
	if o.OnlyIf = &saw.Write; saw.Write == history.Absent {
		h.Set("If-None-Match", "*")
	} else {
		h.Set("If-Match", `"`+saw.ETag+`"`)
	}
	c.put(ctx, o, w, 16+c.rng.Int64N(200_000), h)
}

// lock takes a lock that nobody else may hold then, and gives it back.
func (c *client) lock(ctx context.Context) {
	key := c.key("l")
	w := c.way()
	o := c.begin(history.Put, w, bucketVer, key)
	absent := history.Absent
	o.OnlyIf = &absent
	a := c.put(ctx, o, w, 64, http.Header{"If-None-Match": {"*"}})
	if a.outcome == history.Failed {
		w = c.way()
		c.get(ctx, c.begin(history.Get, w, bucketVer, key), w, http.Header{}, 0, 0)
		return
	}
	if a.outcome == history.OK {
		time.Sleep(time.Duration(c.rng.IntN(200)) * time.Millisecond)
		c.delete(ctx, bucketVer, key)
	}
}

// customerKey writes or reads an object under a key of the client's own.
func (c *client) customerKey(ctx context.Context) {
	if c.r.EndKey == nil {
		return // MinIO alone takes none without TLS
	}
	key := c.key("c")
	w := c.way()
	h := http.Header{}
	if len(c.r.Keys) > 0 {
		customerKey(h, ssecHeader, bucketS3, key)
	}
	switch c.rng.IntN(4) {
	case 0:
		o := c.begin(history.Put, w, bucketS3, key)
		c.put(ctx, o, w, c.size(), h)
	case 1:
		c.head(ctx, c.begin(history.Head, w, bucketS3, key), w, h)
	case 2:
		first := c.rng.Int64N(70_000)
		c.get(ctx, c.begin(history.Get, w, bucketS3, key), w, h, first, first+1000)
	default:
		c.get(ctx, c.begin(history.Get, w, bucketS3, key), w, h, 0, 0)
	}
}
