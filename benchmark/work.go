package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// work is one thing that clients do again and again: a row of the table.
type work struct {
	// op is get, put, range, head, list, list-cold, multipart, copy or delete.
	op   string
	size int64
	// clients work at the same time, each over a connection of its own.
	clients int
	// secure is over TLS.
	secure bool
	// slot is how long a target is driven in a round, at the least one operation of
	// each client; rounds how many there are.
	slot   time.Duration
	rounds int
}

// name is what rows are called, as in "get-4k-16" or "put-1m-1-tls".
func (w work) name() string {
	parts := []string{w.op}
	if w.size > 0 {
		parts = append(parts, sizeName(w.size))
	}
	parts = append(parts, fmt.Sprint(w.clients))
	if w.secure {
		parts = append(parts, "tls")
	}
	return strings.Join(parts, "-")
}

func sizeName(n int64) string {
	if n >= mib {
		return fmt.Sprintf("%dm", n/mib)
	}
	return fmt.Sprintf("%dk", n/kib)
}

// title is how the table calls it.
func (w work) title() string {
	what := map[string]string{"range": "GET of 1 MiB in", "list": "LIST 1,000, warm", "list-cold": "LIST 1,000, cold", "multipart": "multipart", "head": "HEAD"}[w.op]
	if what == "" {
		what = strings.ToUpper(w.op)
	}
	if w.size >= mib {
		what += fmt.Sprintf(" %d MiB", w.size/mib)
	} else if w.size > 0 {
		what += fmt.Sprintf(" %d KiB", w.size/kib)
	}
	if w.clients == 1 {
		what += ", one client"
	} else {
		what += fmt.Sprintf(", %d clients", w.clients)
	}
	if w.secure {
		what += ", TLS"
	}
	return what
}

// payload is how many of an object's bytes one operation moves, 0 if that is not
// what it is about.
func (w work) payload() int64 {
	switch w.op {
	case "get", "put", "multipart":
		return w.size
	case "range":
		return mib
	}
	return 0
}

const (
	listed   = 1000
	partSize = 16 * mib
)

// keys is how many objects of a size the clients go round.
func keys(size int64) int {
	switch {
	case size <= 4*kib:
		return 512
	case size <= 64*kib:
		return 128
	case size <= mib:
		return 32
	}
	return 16
}

// content is what objects hold: nothing that compresses. An object of n bytes
// holds the first n.
var content = sync.OnceValue(func() []byte {
	b := make([]byte, 64*mib)
	r := rand.NewChaCha8([32]byte{14})
	_, _ = r.Read(b)
	return b
})

// requestFor makes a request about a key of the target's bucket.
func (t *target) requestFor(now time.Time, method, key, query string, body []byte, want int, length int64, extra ...header) *request {
	size := int64(-1)
	if method == "PUT" || method == "POST" {
		size = int64(len(body))
	}
	p := "/" + t.bucket
	if key != "" {
		p = path.Join(p, key)
	}
	r := ready(signedHead(now, method, t.front.addr, p, query, size, extra...), body, want, length)
	r.bodyless = method == "HEAD"
	return r
}

func (t *target) put(now time.Time, key string, size int64) *request {
	return t.requestFor(now, "PUT", key, "", content()[:size], 200, -1, t.headers...)
}

func (t *target) get(now time.Time, key string, size int64) *request {
	return t.requestFor(now, "GET", key, "", nil, 200, size)
}

// step does one operation over a connection.
type step func(*connection) error

func send(r *request) step {
	return func(c *connection) error {
		_, _, err := c.do(r)
		return err
	}
}

// steps makes what a worker goes round, all signed now. Each worker has keys of
// its own, but for what is only read.
func (w work) steps(t *target, worker int) []step {
	now := time.Now()
	var all []step
	n := keys(w.size)
	for i := worker % n; i < max(n, worker+1); i += w.clients {
		all = append(all, w.step(t, now, i))
	}
	if w.op == "list" || w.op == "list-cold" {
		return []step{w.step(t, now, worker)}
	}
	return all
}

func (w work) step(t *target, now time.Time, i int) step {
	stored, written := w.object(i), fmt.Sprintf("%s/%s/%04d", w.op, sizeName(w.size), i)
	switch w.op {
	case "get":
		return send(t.get(now, stored, w.size))
	case "head":
		return send(t.requestFor(now, "HEAD", stored, "", nil, 200, -1))
	case "range":
		at := (int64(i)*7*mib + 12345) % (w.size - mib)
		return send(t.requestFor(now, "GET", stored, "", nil, 206, mib, header{"range", fmt.Sprintf("bytes=%d-%d", at, at+mib-1)}))
	case "put":
		return send(t.put(now, written, w.size))
	case "copy":
		source := header{"x-amz-copy-source", "/" + t.bucket + "/" + stored}
		return send(t.requestFor(now, "PUT", written, "", nil, 200, -1, append([]header{source}, t.headers...)...))
	case "delete":
		return send(t.requestFor(now, "DELETE", written, "", nil, 204, -1))
	case "multipart":
		return func(c *connection) error { return t.upload(c, written, w.size) }
	default:
		return send(t.requestFor(now, "GET", "", "list-type=2&max-keys=1000&prefix=list%2F", nil, 200, -1))
	}
}

// object names the stored object that the i-th step is about. Few of 64 MiB are
// stored, for they are only read.
func (w work) object(i int) string {
	if w.size > mib {
		i %= 4
	}
	return fmt.Sprintf("stored/%s/%04d", sizeName(w.size), i)
}

// upload stores an object in parts, over one connection.
func (t *target) upload(c *connection, key string, size int64) error {
	var answerBody strings.Builder
	c.keep = func(b []byte) { answerBody.Write(b) }
	defer func() { c.keep = nil }()
	if _, _, err := c.do(t.requestFor(time.Now(), "POST", key, "uploads=", nil, 200, -1, t.headers...)); err != nil {
		return err
	}
	_, rest, _ := strings.Cut(answerBody.String(), "<UploadId>")
	id, _, ok := strings.Cut(rest, "</UploadId>")
	if !ok {
		return fmt.Errorf("no upload id in %q", answerBody.String())
	}
	var list strings.Builder
	list.WriteString("<CompleteMultipartUpload>")
	for number, at := 1, int64(0); at < size; number, at = number+1, at+partSize {
		query := fmt.Sprintf("partNumber=%d&uploadId=%s", number, escape(id))
		a, _, err := c.do(t.requestFor(time.Now(), "PUT", key, query, content()[at:min(at+partSize, size)], 200, -1))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number, a.etag)
	}
	list.WriteString("</CompleteMultipartUpload>")
	answerBody.Reset()
	if _, _, err := c.do(t.requestFor(time.Now(), "POST", key, "uploadId="+escape(id), []byte(list.String()), 200, -1)); err != nil {
		return err
	}
	if !strings.Contains(answerBody.String(), "<CompleteMultipartUploadResult") {
		return fmt.Errorf("complete: %s", answerBody.String())
	}
	return nil
}

// escape encodes what upload ids may hold besides letters and digits.
func escape(id string) string {
	return strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D", " ", "%20").Replace(id)
}

// makeBucket creates the target's bucket.
func (t *target) makeBucket(ctx context.Context) error {
	c, err := dial(ctx, t.front.addr, t.front.secure)
	if err != nil {
		return err
	}
	defer c.Close()
	_, _, err = c.do(t.requestFor(time.Now(), "PUT", "", "", nil, 200, -1))
	return err
}

// prepare stores what the work reads or removes.
func (w work) prepare(ctx context.Context, t *target) error {
	var names []string
	size := w.size
	switch w.op {
	case "get", "head", "range", "copy":
		n := keys(w.size)
		if w.size > mib {
			n = 4
		}
		for i := range n {
			names = append(names, w.object(i))
		}
	case "delete":
		for i := range keys(w.size) {
			names = append(names, fmt.Sprintf("%s/%s/%04d", w.op, sizeName(w.size), i))
		}
	case "list", "list-cold":
		size = kib
		for i := range listed {
			names = append(names, fmt.Sprintf("list/%04d", i))
		}
	}
	const clients = 16
	return each(ctx, t, clients, func(worker int, c *connection) error {
		for i := worker; i < len(names); i += clients {
			if _, _, err := c.do(t.put(time.Now(), names[i], size)); err != nil {
				return err
			}
		}
		return nil
	})
}

// each runs f for each of so many clients, each with a new connection to the
// target, and returns the first error.
func each(ctx context.Context, t *target, clients int, f func(worker int, c *connection) error) error {
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for worker := range clients {
		wg.Go(func() {
			c, err := dial(ctx, t.front.addr, t.front.secure)
			if err != nil {
				errs[worker] = err
				return
			}
			defer c.Close()
			errs[worker] = f(worker, c)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return nil
}

// prepareOnce prepares what was not prepared before: works share what they read.
func (w work) prepareOnce(ctx context.Context, t *target) error {
	name := "stored-" + sizeName(w.size)
	switch w.op {
	case "put", "multipart", "delete":
		return nil
	case "list", "list-cold":
		name = "list"
	}
	if t.prepared[name] {
		return nil
	}
	if err := w.prepare(ctx, t); err != nil {
		return err
	}
	if t.prepared == nil {
		t.prepared = map[string]bool{}
	}
	t.prepared[name] = true
	return nil
}
