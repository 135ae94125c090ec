package storagetest

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// listings are tests of pages of objects.
var listings = map[string]func(*kit){
	"ListingIsInTheOrderOfBytes":   (*kit).listOrder,
	"ListingOfAPrefix":             (*kit).listPrefix,
	"PagesOfAListing":              (*kit).listPages,
	"ListingShowsWhatWasStored":    (*kit).listFresh,
	"ListingWithMetadata":          (*kit).listMetadata,
	"ListingWhileObjectsAreStored": (*kit).listWhile,
}

// listed is what the pages of a listing show.
type listed struct {
	keys, prefixes []string
	entries        []storage.Entry
}

// list reads a listing page by page.
func (k *kit) list(parameters map[string]string) (all listed) {
	k.Helper()
	q := map[string]string{}
	for name, value := range parameters {
		q[name] = value
	}
	for range 1000 {
		page, err := k.own.List(k.ctx(), &storage.List{Bucket: k.bucket, Parameters: q, Metadata: true, Owner: true})
		k.must("list", err)
		if most, _ := strconv.Atoi(q["max-keys"]); most > 0 && len(page.Entries)+len(page.Prefixes) > most {
			k.Fatalf("a page of %d entries and %d prefixes, of %d", len(page.Entries), len(page.Prefixes), most)
		}
		for _, e := range page.Entries {
			all.keys = append(all.keys, k.decoded(e.Key))
		}
		all.entries = append(all.entries, page.Entries...)
		for _, p := range page.Prefixes {
			all.prefixes = append(all.prefixes, k.decoded(p))
		}
		if !page.Truncated {
			return all
		}
		if page.NextToken == "" {
			k.Fatal("a truncated page has no token")
		}
		q["continuation-token"] = page.NextToken
	}
	k.Fatal("the listing does not end")
	return all
}

func (k *kit) decoded(name string) string {
	k.Helper()
	raw, err := url.QueryUnescape(name)
	if err != nil {
		k.Fatalf("%q is not URL-encoded", name)
	}
	return raw
}

// same fails the test unless two lists are the same.
func (k *kit) same(what string, got, want []string) {
	k.Helper()
	if !slices.Equal(got, want) {
		k.Errorf("%s: %.300q, not %.300q", what, got, want)
	}
}

func (k *kit) listOrder() {
	for _, key := range oddKeyNames {
		k.put(key, []byte("x"))
	}
	want := slices.Sorted(slices.Values(oddKeyNames))
	k.same("listing", k.list(nil).keys, want)
	k.same("pages of 4", k.list(map[string]string{"max-keys": "4"}).keys, want)
	for i, key := range want[:len(want)-1] {
		k.same(fmt.Sprintf("listing behind %q", key), k.list(map[string]string{"start-after": key}).keys, want[i+1:])
	}
	for _, key := range want {
		k.same(fmt.Sprintf("listing of %q", key), k.list(map[string]string{"prefix": key, "max-keys": "1"}).keys[:1], []string{key})
	}
}

// tree is a bucket with folders; none of its keys is a folder too.
var tree = []string{"a/1", "a/2", "a/b/3", "a/b/4", "a/c/5", "b-1", "b.1", "b/1", "b0", "c"}

func (k *kit) listPrefix() {
	for _, key := range tree {
		k.put(key, nil)
	}
	for _, test := range []struct{ prefix, delimiter, keys, prefixes string }{
		{"", "", strings.Join(tree, " "), ""},
		{"a/", "", "a/1 a/2 a/b/3 a/b/4 a/c/5", ""},
		{"a/b/", "", "a/b/3 a/b/4", ""},
		{"b", "", "b-1 b.1 b/1 b0", ""},
		{"none", "", "", ""},
		{"", "/", "b-1 b.1 b0 c", "a/ b/"},
		{"a/", "/", "a/1 a/2", "a/b/ a/c/"},
		{"a", "/", "", "a/"},
		{"b", "/", "b-1 b.1 b0", "b/"},
		{"a/b/", "/", "a/b/3 a/b/4", ""},
	} {
		for _, size := range []string{"", "1", "2"} {
			q := map[string]string{"prefix": test.prefix, "delimiter": test.delimiter}
			if size != "" {
				q["max-keys"] = size
			}
			all := k.list(q)
			k.same(fmt.Sprintf("keys of %v", q), all.keys, strings.Fields(test.keys))
			k.same(fmt.Sprintf("prefixes of %v", q), all.prefixes, strings.Fields(test.prefixes))
		}
	}
}

func (k *kit) listPages() {
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("key-%02d", i)
		k.put(key, nil)
		want = append(want, key)
	}
	page, err := k.own.List(k.ctx(), &storage.List{Bucket: k.bucket, Parameters: map[string]string{"max-keys": "10"}})
	k.must("list", err)
	if len(page.Entries) != 10 || !page.Truncated || page.MaxKeys != "10" || page.KeyCount != "10" {
		k.Errorf("%d entries, truncated %t, max-keys %q, key count %q", len(page.Entries), page.Truncated, page.MaxKeys, page.KeyCount)
	}
	for _, size := range []string{"1", "5", "24", "25", "26", "1000"} {
		k.same("pages of "+size, k.list(map[string]string{"max-keys": size}).keys, want)
	}
	page, err = k.own.List(k.ctx(), &storage.List{Bucket: k.bucket, Parameters: map[string]string{"max-keys": "0"}})
	k.must("list", err)
	if len(page.Entries) != 0 || page.Truncated {
		k.Errorf("a page of nothing has %d entries, truncated %t", len(page.Entries), page.Truncated)
	}
}

func (k *kit) listFresh() {
	for i := range 20 {
		key := fmt.Sprintf("key-%02d", i)
		stored := k.put(key, data(uint64(i), i)) //nolint:gosec // not negative
		all := k.list(nil)
		last := all.entries[len(all.entries)-1]
		if len(all.keys) != i+1 || last.ETag != stored.ETag || last.Size != int64(i) || last.DeleteMarker {
			k.Fatalf("after %d writes %q are listed, the last as %s, %d bytes", i+1, all.keys, last.ETag, last.Size)
		}
		if when, err := time.Parse(time.RFC3339, last.LastModified); err != nil || when.IsZero() {
			k.Errorf("listed as of %q", last.LastModified)
		}
	}
	for i := range 20 {
		_, err := k.own.Delete(k.ctx(), &storage.Delete{Name: k.name(fmt.Sprintf("key-%02d", i))})
		k.must("delete", err)
		if n := len(k.list(nil).keys); n != 19-i {
			k.Fatalf("after %d deletions of 20 there are %d", i+1, n)
		}
	}
}

func (k *kit) listMetadata() {
	if !k.s.Capabilities().ListsMetadata {
		k.Skip("the storage lists no metadata")
	}
	record := strings.Repeat("r", 1000)
	_, err := k.own.Put(k.ctx(), &storage.Put{
		Name:   k.name("o"),
		Meta:   storage.Metadata{"X-Amz-Meta-Colour": {"red"}, "Content-Type": {"text/plain"}, "X-Amz-Tagging": {"a=b"}},
		Record: record, Body: body([]byte("x")),
	})
	k.must("put", err)
	k.put("p", []byte("y"))
	all := k.list(nil)
	want := map[string]string{"X-Amz-Meta-Bucketseal": record, "X-Amz-Meta-Colour": "red", "content-type": "text/plain"}
	for _, m := range all.entries[0].Metadata {
		if value, ok := want[m.Name]; ok && value == m.Value {
			delete(want, m.Name)
		}
	}
	if e := all.entries[0]; len(want) > 0 || !e.HasMetadata || e.UserTags != "a=b" || e.OwnerID == "" {
		k.Errorf("not listed: %v; listed %+v", want, e)
	}
	if e := all.entries[1]; !e.HasMetadata {
		k.Errorf("an object without metadata is listed as one whose metadata may not be read: %+v", e)
	}
	page, err := k.own.List(k.ctx(), &storage.List{Bucket: k.bucket})
	k.must("list", err)
	if e := page.Entries[0]; len(e.Metadata) > 0 || e.HasMetadata {
		k.Errorf("a listing without metadata has %+v", e)
	}
}

// listWhile holds that a listing shows every object that was there before it began, and
// each once, while others are written.
func (k *kit) listWhile() {
	var there []string
	for i := range 30 {
		there = append(there, fmt.Sprintf("there-%02d", i))
		k.put(there[i], nil)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			key := fmt.Sprintf("there-%02d-new-%d", i%30, i)
			if _, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name(key), Body: body(nil)}); err != nil {
				k.Error(err)
				return
			}
			if _, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name(there[i%30]), Body: body([]byte(key))}); err != nil {
				k.Error(err)
				return
			}
		}
	})
	for range 5 {
		all := k.list(map[string]string{"max-keys": "7"})
		if !slices.IsSorted(all.keys) || len(slices.Compact(slices.Clone(all.keys))) != len(all.keys) {
			k.Errorf("out of order, or twice: %q", all.keys)
		}
		k.same("objects that were there", slices.DeleteFunc(all.keys, func(key string) bool { return strings.Contains(key, "new") }), there)
	}
	stop.Store(true)
	wg.Wait()
}
