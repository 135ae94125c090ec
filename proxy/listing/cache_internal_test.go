package listing

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

func entriesOf(from, to int) (entries []storage.Entry) {
	for i := from; i < to; i++ {
		entries = append(entries, storage.Entry{Key: fmt.Sprint("key ", i), ETag: fmt.Sprintf("%q", fmt.Sprint(i)), LastModified: "2026-01-01T00:00:00.000Z"})
	}
	return entries
}

// teach has a cache remember entries of a bucket under a KMS key.
func teach(c *cache, bucket, kmsKey string, entries []storage.Entry) {
	var all []learned
	for i, id := range c.statements(bucket, 0, entries) {
		f := fact{known: true, mode: sse.ModeS3, size: int64(i)}
		all = append(all, learned{id, f, voucher{sse.Name{Bucket: bucket, Key: entries[i].Key}, &sse.Record{KMSKey: kmsKey}, under{kmsKey: kmsKey}}})
	}
	c.put(bucket, 0, all)
}

func (c *cache) recall(bucket string, entries []storage.Entry) *recalled {
	return c.get(bucket, 0, entries, c.statements(bucket, 0, entries))
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(100 * factBytes)
	for i := range 20 {
		teach(c, "b", "k", entriesOf(i*50, i*50+50))
	}
	for i := range 1000 {
		c.wrote(&Written{Name: sse.Name{Bucket: fmt.Sprint("bucket ", i), Key: "k"}, Stored: &storage.Stored{After: time.Now(), Before: time.Now()}}, fact{known: true}, 0)
		c.mark(statementID{byte(i), byte(i >> 8)}, true)
	}
	if len(c.facts) != c.limit || len(c.written) != c.writtenLimit {
		t.Errorf("%d facts of %d, %d writes of %d", len(c.facts), c.limit, len(c.written), c.writtenLimit)
	}
	if newCache(0) != nil || newCache(factBytes) != nil {
		t.Error("a cache without memory")
	}
}

// Each fact has a voucher of its own bucket and KMS key, also once all was forgotten.
func TestVouchersAreThoseOfTheirFacts(t *testing.T) {
	t.Parallel()
	c := newCache(1 << 20)
	entries := entriesOf(0, 3)
	for i := range maxVouchers + 10 {
		bucket := fmt.Sprint("bucket ", i/2)
		teach(c, bucket, fmt.Sprint("key ", i%2), entries)
		r := c.recall(bucket, entries)
		if r.n != 3 || len(r.vouchers) != 1 {
			t.Fatalf("%d: %d known, %d vouchers", i, r.n, len(r.vouchers))
		}
		for _, v := range r.vouchers {
			if v.name.Bucket != bucket || v.record.KMSKey != fmt.Sprint("key ", i%2) {
				t.Fatalf("%d: the voucher is of %v under %q", i, v.name, v.record.KMSKey)
			}
		}
	}
	if r := c.recall("bucket 0", entries); r.n != 0 {
		t.Error("nothing was forgotten")
	}
}

func TestFactsOfOneBucketAreNoOthers(t *testing.T) {
	t.Parallel()
	c := newCache(1 << 20)
	entries := entriesOf(0, 3)
	teach(c, "b", "k", entries)
	if r := c.recall("bk", entries); r.n != 0 {
		t.Error("known in another bucket")
	}
	entries[0].Key, entries[0].VersionID = "key 0v", ""
	entries[1].VersionID = "v"
	entries[2].Size++
	if r := c.recall("b", entries); r.n != 0 {
		t.Errorf("%d of other statements are known", r.n)
	}
}

func TestCacheMayBeUsedByMany(t *testing.T) {
	t.Parallel()
	c := newCache(200 * factBytes)
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 200 {
				bucket := fmt.Sprint("bucket ", (i*7+worker)%600)
				entries := entriesOf(0, 5)
				teach(c, bucket, fmt.Sprint(i), entries)
				now := time.Now()
				c.wrote(&Written{
					Name: sse.Name{Bucket: bucket, Key: "key 7"}, Record: &sse.Record{KMSKey: fmt.Sprint(i)},
					Stored: &storage.Stored{ETag: `"7"`, After: now, Before: now.Add(time.Hour)},
				}, fact{known: true, mode: sse.ModeS3}, 0)
				later := entriesOf(5, 9)
				later[2].LastModified = now.Add(time.Minute).UTC().Format(time.RFC3339Nano)
				for _, v := range c.recall(bucket, append(entries, later...)).vouchers {
					if v.name.Bucket != bucket {
						t.Errorf("%s: a voucher of %s", bucket, v.name.Bucket)
					}
				}
			}
		})
	}
	wg.Wait()
}

// A voucher is remembered for as long as the process runs, and the page that it was found on is
// three thousand times as long.
func TestVouchersKeepNoPage(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("bucket key ", 1000)
	within := func(text string) bool {
		at, from := uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(unsafe.Pointer(unsafe.StringData(page)))
		return at >= from && at < from+uintptr(len(page))
	}
	bucket, key := page[:6], page[7:10]
	if !within(bucket) || !within(key) {
		t.Fatal("the test is wrong")
	}
	c := newCache(100 * factBytes)
	teach(c, bucket, "k", []storage.Entry{{Key: key, ETag: `"e"`, LastModified: "2026-01-01T00:00:00.000Z"}})
	if len(c.vouchers) != 1 || len(c.voucher) != 1 || len(c.buckets) != 1 {
		t.Fatalf("remembered: %+v %+v %+v", c.vouchers, c.voucher, c.buckets)
	}
	texts := []string{c.vouchers[0].name.Bucket, c.vouchers[0].name.Key}
	for what := range c.voucher {
		texts = append(texts, what.bucket)
	}
	for name := range c.buckets {
		texts = append(texts, name)
	}
	if want := []string{"bucket", "key", "bucket", "bucket"}; !slices.Equal(texts, want) || slices.ContainsFunc(texts, within) {
		t.Errorf("kept are %q, of the page: %v", texts, slices.ContainsFunc(texts, within))
	}
}
