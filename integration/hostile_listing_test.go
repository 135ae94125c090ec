package integration

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// isListing says whether a request lists the bucket.
func isListing(r *http.Request, bucket string) bool {
	return r.Method == http.MethodGet && strings.Trim(r.URL.Path, "/") == bucket
}

// listed is what a client knows of the objects that a listing may show.
type listed map[string]stored

// check asks for every kind of listing. Whatever upstream says, an entry that
// shows an object's authentic ETag shows its size too, and no entry shows
// another object's; nothing of the records gets out.
func (l listed) check(t *testing.T, h *hostile, bucket string) {
	t.Helper()
	etags := map[string]string{}
	for key, o := range l {
		etags[o.etag] = key
	}
	for _, q := range []string{"list-type=2", "", "versions=", query("list-type", "2", "metadata", "true"), query("encoding-type", "url", "list-type", "2")} {
		began := time.Now()
		a, err := h.root.try(request{method: http.MethodGet, bucket: bucket, query: q, limit: hostileLimit})
		if took := time.Since(began); err != nil || took > hostileLimit-time.Second {
			t.Errorf("?%s: %v after %v", q, err, took)
			continue
		}
		if body := strings.ToLower(string(a.body)); strings.Contains(body, "x-amz-meta-bucketseal") {
			t.Errorf("?%s: shows a record", q)
		}
		if a.status >= 400 && a.code != "" {
			continue
		}
		var list struct {
			Contents, Version []struct {
				Key, ETag string
				Size      int64
			}
		}
		if err := xml.Unmarshal(a.body, &list); err != nil || a.status != http.StatusOK {
			t.Errorf("?%s: status %d, %v", q, a.status, err)
			continue
		}
		for _, e := range append(list.Contents, list.Version...) {
			owner, known := etags[e.ETag]
			if known && (owner != e.Key || e.Size != int64(len(l[owner].data))) {
				t.Errorf("?%s: %q is listed with %d bytes and the ETag of %q", q, e.Key, e.Size, owner)
			}
		}
	}
}

func TestHostileUpstreamLiesInListings(t *testing.T) {
	h := commonHostile(t)
	bucket := newBucket(t, h.root)
	h.unharmed(t)
	objects := listed{}
	for i := range 8 {
		size := 5000
		if i > 2 {
			size = 300_000 // with a manifest
		}
		o := stored{key: "o" + strconv.Itoa(i), data: testData(size, uint64(70+i))}
		o.etag = h.root.put(t, bucket, o.key, o.data, nil).wantStatus(t, http.StatusOK).header.Get("Etag")
		objects[o.key] = o
	}
	record := regexp.MustCompile(`<X-Amz-Meta-Bucketseal>([^<]*)</X-Amz-Meta-Bucketseal>`)
	note := regexp.MustCompile(`<X-Amz-Meta-Sealed>([^<]*)</X-Amz-Meta-Sealed>`)
	replace := func(pattern, with string) func([]byte) []byte {
		re := regexp.MustCompile(pattern)
		return func(b []byte) []byte { return re.ReplaceAll(b, []byte(with)) }
	}
	// rotate gives every entry the value of the next one.
	rotate := func(re *regexp.Regexp) func([]byte) []byte {
		return func(b []byte) []byte {
			all := re.FindAll(b, -1)
			i := 0
			return re.ReplaceAllFunc(b, func([]byte) []byte { i++; return all[i%len(all)] })
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"another size":         replace(`<Size>\d+</Size>`, "<Size>4242</Size>"),
		"a size of another":    rotate(regexp.MustCompile(`<Size>\d+</Size>`)),
		"negative size":        replace(`<Size>\d+</Size>`, "<Size>-1</Size>"),
		"size that is none":    replace(`<Size>\d+</Size>`, "<Size>many</Size>"),
		"no size":              replace(`<Size>\d+</Size>`, ""),
		"another ETag":         replace(`<ETag>[^<]*</ETag>`, "<ETag>&#34;0&#34;</ETag>"),
		"another one's key":    rotate(regexp.MustCompile(`<Key>[^<]*</Key>`)),
		"another one's record": rotate(record),
		"records and sizes": func(b []byte) []byte {
			return rotate(record)(rotate(regexp.MustCompile(`<Size>\d+</Size>`))(b))
		},
		"no records":         replace(record.String(), ""),
		"no metadata":        replace(`<UserMetadata>.*?</UserMetadata>`, ""),
		"two records":        replace(record.String(), "$0$0"),
		"small letters":      replace(record.String(), "<x-amz-meta-bucketseal>$1</x-amz-meta-bucketseal>"),
		"in both cases":      replace(record.String(), "$0<x-amz-meta-bucketseal>$1</x-amz-meta-bucketseal>"),
		"records flipped":    func(b []byte) []byte { return record.ReplaceAllFunc(b, func(m []byte) []byte { m[60] ^= 1; return m }) },
		"manifests of other": rotate(note),
		"no manifests":       replace(note.String(), ""),
		"manifests flipped":  func(b []byte) []byte { return note.ReplaceAllFunc(b, func(m []byte) []byte { m[50] ^= 1; return m }) },
		"keys that escape":   replace(`<Key>o`, "<Key>%2F..%2F%3Cscript%3E"),
		"key not encoded":    replace(`<Key>o`, "<Key>%zz"),
		"cut":                func(b []byte) []byte { return b[:len(b)/2] },
		"empty":              func([]byte) []byte { return nil },
		"not XML":            func([]byte) []byte { return []byte("plain words") },
		"an error in 200":    func([]byte) []byte { return []byte("<Error><Code>x</Code></Error>") },
		"entities":           func(b []byte) []byte { return append([]byte(`<!DOCTYPE x [<!ENTITY a "b">]>`), b...) },
		"twice":              func(b []byte) []byte { return append(b, b...) },
		"without end":        replace(`</List\w+Result>`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			h.up.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				if isListing(r, bucket) || isListing(r, systemBucket) {
					alterBody(resp, change)
				}
			}})
			objects.check(t, h, bucket)
		})
	}
	h.up.honest()
	list := h.root.list(t, bucket, "list-type", "2")
	for _, e := range list.Contents {
		if o := objects[e.Key]; e.ETag != o.etag || e.Size != int64(len(o.data)) {
			t.Errorf("%s: listed with %d bytes and %s", e.Key, e.Size, e.ETag)
		}
	}
	if len(list.Contents) != len(objects) {
		t.Errorf("%d objects listed", len(list.Contents))
	}
}

func TestHostileUpstreamListsWithoutEnd(t *testing.T) {
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	h.root.put(t, bucket, "k", []byte("x"), nil).wantStatus(t, http.StatusOK)
	h.unharmed(t)
	const limit = 128 << 20
	for _, tc := range []struct{ name, head, piece, path string }{
		{"names", "<ListBucketResult><Contents><Key>", "aaaaaaaaaaaaaaaa", "/" + bucket},
		{"entries", "<ListBucketResult>", "<Contents/>", "/" + bucket},
		{"depth", "<ListBucketResult>", "<a>", "/" + bucket},
		{"metadata", "<ListBucketResult><Contents><UserMetadata>", "<a>b</a>", "/" + bucket},
		{"white space", "<ListBucketResult>", " ", "/" + bucket},
		{"buckets", "<ListAllMyBucketsResult><Buckets>", "<Bucket><Name>abc</Name></Bucket>", "/"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := memoryOf(t, h.seal.pid())
			resetPeak(t, h.seal.pid())
			h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || strings.TrimSuffix(r.URL.Path, "/") != strings.TrimSuffix(tc.path, "/") {
					return false
				}
				_, _ = fmt.Fprint(w, tc.head)
				return endless(w, tc.piece)
			})
			began := time.Now()
			a, err := h.root.try(request{method: http.MethodGet, path: tc.path, query: map[bool]string{true: "list-type=2"}[tc.path != "/"], limit: 20 * time.Second})
			t.Logf("%d %s %v after %v, %d MiB more", a.status, a.code, err, time.Since(began), (memoryOf(t, h.seal.pid()).peak-before.rss)>>20)
			if err == nil && a.status < 400 {
				t.Errorf("status %d for a listing without end", a.status)
			}
			if grown := memoryOf(t, h.seal.pid()).peak - before.rss; grown > limit {
				t.Errorf("the server grew by %d MiB", grown>>20)
			}
		})
	}
}
