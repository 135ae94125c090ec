package integration

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// putParts uploads parts from first to last, some at a time.
func (u *mp) putParts(t *testing.T, first, last int, data func(n int) []byte) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	numbers := make(chan int)
	for range 8 {
		wg.Go(func() {
			for n := range numbers {
				a, err := u.c.try(u.partRequest(n, data(n)))
				if err != nil || a.status != http.StatusOK {
					t.Errorf("part %d: %d %s, %v", n, a.status, a.code, err)
				}
				mu.Lock()
				u.etags[n] = a.header.Get("Etag")
				mu.Unlock()
			}
		})
	}
	for n := first; n <= last; n++ {
		numbers <- n
	}
	close(numbers)
	wg.Wait()
}

// Only Complete looks at sizes: many tiny parts exercise the ledger as many large
// ones would.
func TestManyPartsInTheLedger(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	count, limit := 1100, 10*time.Second
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		count, limit = 10_000, 20*time.Second
	}
	u := c.createUpload(t, bucket, "k", nil)
	began := time.Now()
	u.put(t, 1, []byte("first"))
	firstPart := time.Since(began)
	u.putParts(t, 2, count, func(n int) []byte { return []byte(fmt.Sprint("part ", n)) })
	all := time.Since(began)
	began = time.Now()
	u.put(t, count, []byte("last"))
	lastPart := time.Since(began)

	listed := 0
	began = time.Now()
	for marker := 0; ; {
		parts, more, next := u.parts(t, "part-number-marker", fmt.Sprint(marker))
		for _, p := range parts {
			if listed++; p.PartNumber != listed || p.ETag != u.etags[listed] {
				t.Fatalf("part %d is listed as %v", listed, p)
			}
		}
		if marker = next; !more {
			break
		}
	}
	listing := time.Since(began)
	if listed != count {
		t.Errorf("%d of %d parts are listed", listed, count)
	}
	began = time.Now()
	c.do(t, u.completeRequest()).wantError(t, http.StatusBadRequest, "EntityTooSmall", "")
	took := time.Since(began)
	t.Logf("%d parts in %v, the first in %v, the last in %v; ListParts %v, Complete refused in %v", count, all, firstPart, lastPart, listing, took)
	if took > limit {
		t.Errorf("Complete took %v", took)
	}
	c.do(t, u.completeRequest(count)).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("last"))
	c.get(t, bucket, "k", map[string]string{"Range": "bytes=1-2"}).wantStatus(t, http.StatusPartialContent).wantBody(t, []byte("as"))
	if s.seal == nil {
		return
	}
	eventually(t, "the ledger is dropped", func() bool {
		l := s.raw().list(t, systemBucket, "list-type", "2", "prefix", "uploads/"+bucket, "max-keys", "1", "encoding-type", "url")
		return len(l.Contents) == 0
	})
}

// A thousand parts of different sizes: the record stays small, the layout is right,
// and memory does not grow with the object.
func TestThousandRealParts(t *testing.T) {
	needsSeal(t)
	needsTime(t)
	const count = 1000
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	base := partData(minPart+count+1, 45)
	data := func(n int) []byte { return base[n%7 : minPart+n] } // sizes differ
	c.put(t, bucket, "warm", testData(1<<20, 32), nil)
	before := memoryOf(t, s.seal.pid())
	resetPeak(t, s.seal.pid())
	u := c.createUpload(t, bucket, "k", nil)
	began := time.Now()
	u.putParts(t, 1, count, func(n int) []byte { return data(n) })
	put := time.Since(began)
	began = time.Now()
	etag := u.complete(t)
	complete := time.Since(began)
	peak := memoryOf(t, s.seal.pid()).peak
	t.Logf("%d parts in %v, Complete in %v, memory grew by %d KiB", count, put, complete, (peak-before.rss)>>10)
	if complete > 10*time.Second || peak-before.rss > 64<<20 {
		t.Errorf("Complete took %v, memory grew by %d MiB", complete, (peak-before.rss)>>20)
	}
	raw := s.raw().head(t, bucket, "k", nil)
	if _, record := recordOf(t, raw.header); len(record) > 4096 {
		t.Errorf("record of %d bytes", len(record))
	}
	at := int64(0)
	for n := 1; n <= count; n++ {
		at += int64(len(data(n)))
		if n%97 != 0 {
			continue
		}
		want := string(data(n)[len(data(n))-3:]) + string(data(n + 1)[:4])
		a := c.get(t, bucket, "k", map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", at-3, at+3)}).wantStatus(t, http.StatusPartialContent)
		if string(a.body) != want || a.header.Get("Etag") != etag {
			t.Errorf("the boundary behind part %d is not where it belongs", n)
		}
	}
	if a := c.head(t, bucket, "k", nil); a.size(t) != at || !strings.HasSuffix(etag, fmt.Sprintf(`-%d"`, count)) {
		t.Errorf("%d bytes, want %d, ETag %s", a.size(t), at, etag)
	}
}

// Ten thousand parts of their real sizes, equal and all different: the record stays
// small, the manifest holds little for each, Complete takes seconds, memory does not
// grow with the object.
func TestTenThousandRealParts(t *testing.T) {
	needsTime(t)
	const count = 10_000
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	base := partData(minPart+count+8, 46)
	h.root.put(t, bucket, "warm", testData(1<<20, 32), nil).wantStatus(t, http.StatusOK)
	for name, data := range map[string]func(n int) []byte{
		"equal":     func(n int) []byte { return base[n%7 : minPart+n%7] },
		"different": func(n int) []byte { return base[n%7 : minPart+n+n%7] },
	} {
		t.Run(name, func(t *testing.T) { h.tenThousand(t, bucket, name, count, data) })
	}
}

func (h *hostile) tenThousand(t *testing.T, bucket, key string, count int, data func(n int) []byte) {
	o := &hollow{bucket: bucket, key: key}
	h.up.order(o.act)
	defer h.up.honest()
	c, before := h.root, memoryOf(t, h.seal.pid())
	resetPeak(t, h.seal.pid())
	u := c.createUpload(t, bucket, key, sseModes()[1].put)
	began := time.Now()
	u.putParts(t, 1, count, data)
	put := time.Since(began)
	began = time.Now()
	etag := u.complete(t)
	complete := time.Since(began)
	grown := (memoryOf(t, h.seal.pid()).peak - before.rss) >> 20
	table := h.stack.raw().get(t, systemBucket, h.noteOf(t, bucket, key), nil).wantStatus(t, http.StatusOK)
	t.Logf("%d parts in %v, Complete in %v, memory grew by %d MiB, record of %d bytes, table of %d", count, put, complete, grown, len(o.record), len(table.body))
	if complete > 20*time.Second || grown > 64 || len(o.record) > 4096 || len(table.body) > 20*count {
		t.Error("too much")
	}
	at := int64(0)
	for n := 1; n < count; n++ {
		at += int64(len(data(n)))
		if n%97 != 0 && n != count-1 {
			continue
		}
		want := string(data(n)[len(data(n))-3:]) + string(data(n + 1)[:4])
		a := c.get(t, bucket, key, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", at-3, at+3)}).wantStatus(t, http.StatusPartialContent)
		if string(a.body) != want || a.header.Get("Etag") != etag {
			t.Errorf("the boundary behind part %d is not where it belongs", n)
		}
		part := c.do(t, request{method: http.MethodHead, bucket: bucket, key: key, query: fmt.Sprint("partNumber=", n)}).wantStatus(t, http.StatusPartialContent)
		if part.size(t) != int64(len(data(n))) || part.header.Get("X-Amz-Mp-Parts-Count") != fmt.Sprint(count) {
			t.Errorf("HEAD of part %d: %d bytes of %s parts", n, part.size(t), part.header.Get("X-Amz-Mp-Parts-Count"))
		}
	}
	at += int64(len(data(count)))
	if a := c.head(t, bucket, key, nil); a.size(t) != at || !strings.HasSuffix(etag, fmt.Sprintf(`-%d"`, count)) {
		t.Errorf("%d bytes, want %d, ETag %s", a.size(t), at, etag)
	}
	listed := 0
	for marker := 0; ; {
		a := c.do(t, request{method: http.MethodGet, bucket: bucket, key: key, query: "attributes=", header: map[string]string{
			"X-Amz-Object-Attributes": "ObjectParts", "X-Amz-Max-Parts": "999", "X-Amz-Part-Number-Marker": fmt.Sprint(marker),
		}}).wantStatus(t, http.StatusOK)
		var page struct {
			ObjectParts struct {
				IsTruncated                      bool
				NextPartNumberMarker, PartsCount int
				Part                             []listedPart
			}
		}
		if err := xml.Unmarshal(a.body, &page); err != nil || page.ObjectParts.PartsCount != count {
			t.Fatalf("%v: %d parts", err, page.ObjectParts.PartsCount)
		}
		for _, p := range page.ObjectParts.Part {
			if listed++; p.PartNumber != listed || p.Size != int64(len(data(listed))) {
				t.Fatalf("part %d is shown as %v", listed, p)
			}
		}
		if marker = page.ObjectParts.NextPartNumberMarker; !page.ObjectParts.IsTruncated {
			break
		}
	}
	if listed != count {
		t.Errorf("%d of %d parts are shown", listed, count)
	}
}
