package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// race is objects that are written, copied onto themselves, re-keyed and read
// at the same time, in a bucket without versions.
type race struct {
	c      *client
	bucket string
	keys   []string
	// contents are all the states that an object may have, by MD5 ETag.
	contents map[string][]byte
	order    []string // of the ETags
	until    time.Time

	puts, copies, refused, reads, lists, restored atomic.Int64
	mu                                            sync.Mutex
	wrong                                         map[string]int
}

func (r *race) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong[fmt.Sprintf(format, args...)]++
}

func (r *race) running() bool { return time.Now().Before(r.until) }

func (r *race) each(f func(i int, key string)) {
	for i := 0; r.running(); i++ {
		f(i, r.keys[i%len(r.keys)])
	}
}

// write overwrites; each object has one writer, which knows what it wrote last.
func (r *race) write(worker int, last map[string]string) {
	for i := worker; r.running(); i++ {
		key := r.keys[(2*i+worker)%len(r.keys)]
		etag := r.order[i%len(r.order)]
		a, err := r.c.try(request{method: http.MethodPut, bucket: r.bucket, key: key, body: r.contents[etag], header: sseModes()[i%2].put})
		if err != nil || a.status != http.StatusOK {
			r.fail("PUT: %d %s %v", a.status, a.code, err)
			continue
		}
		r.puts.Add(1)
		last[key] = etag
		time.Sleep(2 * time.Millisecond)
	}
}

// touch copies an object onto itself with headers of its own choice.
func (r *race) touch(header func(i int) map[string]string) {
	r.each(func(i int, key string) {
		h := header(i)
		h["X-Amz-Copy-Source"] = "/" + r.bucket + "/" + key
		a, err := r.c.try(request{method: http.MethodPut, bucket: r.bucket, key: key, header: h})
		switch {
		case err == nil && a.status == http.StatusOK && strings.Contains(string(a.body), "<CopyObjectResult"):
			r.copies.Add(1)
		case err == nil && (a.status == http.StatusPreconditionFailed || a.status == http.StatusServiceUnavailable && a.code == "SlowDownRead"):
			r.refused.Add(1) // overwritten in between: before MinIO looked, or while it read
		default:
			r.fail("self-copy: %d %s %v", a.status, a.code, err)
		}
	})
}

// read checks that every object is there, whole, and what its ETag says.
func (r *race) read() {
	r.each(func(i int, key string) {
		a, err := r.c.try(request{method: http.MethodGet, bucket: r.bucket, key: key})
		if err != nil || a.status != http.StatusOK || a.bodyErr != nil {
			r.fail("GET: %d %s %v %v", a.status, a.code, err, a.bodyErr)
			return
		}
		r.reads.Add(1)
		etag := md5ETag(a.body)
		if _, known := r.contents[etag]; !known {
			r.fail("GET: %d bytes that nobody wrote", len(a.body))
		}
		// A copy from SSE-KMS has an ETag that says it is no MD5: docs/compatibility.md.
		if got := a.header.Get("Etag"); a.header.Get("X-Amz-Server-Side-Encryption") == "AES256" && got != etag && !strings.HasSuffix(got, `-1"`) {
			r.fail("GET: ETag %s on the content of %s", got, etag)
		}
		if i%8 == 0 {
			r.list()
		}
	})
}

func (r *race) list() {
	a, err := r.c.try(request{method: http.MethodGet, bucket: r.bucket, query: "list-type=2"})
	if err != nil || a.status != http.StatusOK {
		r.fail("LIST: %d %s %v", a.status, a.code, err)
		return
	}
	r.lists.Add(1)
	entries := strings.Split(string(a.body), "<Contents>")[1:]
	if len(entries) != len(r.keys) {
		r.fail("LIST: %d of %d objects", len(entries), len(r.keys))
	}
	sizes := map[string]bool{}
	for _, data := range r.contents {
		sizes[fmt.Sprintf("<Size>%d</Size>", len(data))] = true
	}
	for _, e := range entries {
		size := e[strings.Index(e, "<Size>") : strings.Index(e, "</Size>")+len("</Size>")]
		if !sizes[size] {
			r.fail("LIST: %s is no object's", size)
		}
		for etag, data := range r.contents {
			if strings.Contains(e, strings.Trim(etag, `"`)) && size != fmt.Sprintf("<Size>%d</Size>", len(data)) {
				r.fail("LIST: %s with the ETag of %d bytes", size, len(data))
			}
		}
	}
}

func TestSelfCopiesRacingWithWritesLeaveEveryObjectReadable(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "bucketseal.yml")
	if err := os.WriteFile(file, []byte("small_object: {size: 64KiB}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStack(t, stackOptions{args: []string{"--config", file}})
	r := &race{c: s.client(), contents: map[string][]byte{}, wrong: map[string]int{}}
	r.bucket = newBucket(t, r.c)
	// Buffered and streamed, inline in MinIO's metadata and not; equal sizes too.
	for i, size := range []int{2000, 2000, 40_000, 70_000, 70_000, 200_000} {
		data := testData(size, uint64(300+i))
		r.contents[md5ETag(data)] = data
		r.order = append(r.order, md5ETag(data))
	}
	for i := range 6 {
		r.keys = append(r.keys, fmt.Sprintf("o%d", i))
		r.c.put(t, r.bucket, r.keys[i], r.contents[r.order[i]], nil).wantStatus(t, http.StatusOK)
	}
	d := 12 * time.Second
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		d = 3 * time.Minute
	}
	r.until = time.Now().Add(d)
	var wg sync.WaitGroup
	last := []map[string]string{{}, {}}
	for worker := range last {
		wg.Go(func() { r.write(worker, last[worker]) })
	}
	for range 2 { // as rclone sets a modification time
		wg.Go(func() {
			r.touch(func(i int) map[string]string {
				return map[string]string{"X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-Mtime": fmt.Sprint(1700000000 + i), "Content-Type": "text/plain"}
			})
		})
	}
	wg.Go(func() { // from SSE-S3 to SSE-KMS and back
		r.touch(func(i int) map[string]string {
			h := map[string]string{"X-Amz-Metadata-Directive": "COPY"}
			for name, value := range sseModes()[i/len(r.keys)%3].put {
				h[name] = value
			}
			return h
		})
	})
	for range 2 {
		wg.Go(r.read)
	}
	wg.Wait()
	for _, of := range last {
		for key, etag := range of {
			if a := r.c.get(t, r.bucket, key, nil).wantStatus(t, http.StatusOK); md5ETag(a.body) != etag {
				r.restored.Add(1)
			}
		}
	}
	r.list()
	t.Logf("%d PUTs, %d self-copies and %d refused, %d GETs, %d LISTs; %d objects end with older data than was written last",
		r.puts.Load(), r.copies.Load(), r.refused.Load(), r.reads.Load(), r.lists.Load(), r.restored.Load())
	for what, n := range r.wrong {
		t.Errorf("%d times: %s", n, what)
	}
	if r.copies.Load() < 50 || r.puts.Load() < 50 || r.reads.Load() < 50 {
		t.Error("too few rounds to tell")
	}
}
