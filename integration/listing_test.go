package integration

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"sort"
	"strings"
	"testing"
)

type listing struct {
	Name, Prefix, Delimiter, Marker, NextMarker, StartAfter string
	ContinuationToken, NextContinuationToken, EncodingType  string
	KeyCount, MaxKeys                                       int
	IsTruncated                                             bool
	Contents                                                []struct {
		Key, ETag, StorageClass, LastModified string
		Size                                  int64
		Owner                                 struct{ ID, DisplayName string }
	}
	CommonPrefixes []struct{ Prefix string }
}

func (c *client) list(t *testing.T, bucket string, pairs ...string) listing {
	t.Helper()
	a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: query(pairs...)}).wantStatus(t, http.StatusOK)
	var l listing
	if err := xml.Unmarshal(a.body, &l); err != nil {
		t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	if strings.Contains(strings.ToLower(string(a.body)), "x-amz-meta-bucketseal") {
		t.Errorf("%s: shows the record: %s", a.what, a.body)
	}
	return l
}

// fillBucket stores objects of several modes and sizes and returns, by key,
// their sizes and the ETags that PUT gave.
func fillBucket(t *testing.T, c *client, bucket string) (sizes map[string]int64, etags map[string]string) {
	t.Helper()
	sizes, etags = map[string]int64{}, map[string]string{}
	modes := sseModes()
	for i, key := range []string{
		"a", "a-1", "b/1", "b/2", "b/c/3", "d e+f", "g&<>\"", "üñí", "z/last", "zz",
	} {
		size := borderSizes()[i%len(borderSizes())]
		put := c.put(t, bucket, key, testData(size, uint64(i)), modes[i%len(modes)].put).wantStatus(t, http.StatusOK)
		sizes[key], etags[key] = int64(size), put.header.Get("Etag")
	}
	return sizes, etags
}

func TestListingsShowPlaintextSizesAndTheClientsETags(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	sizes, etags := fillBucket(t, c, bucket)
	for name, pairs := range map[string][]string{
		"V1": nil, "V2": {"list-type", "2"}, "V2 url": {"list-type", "2", "encoding-type", "url"}, "V1 url": {"encoding-type", "url"},
		"V2 owner": {"list-type", "2", "fetch-owner", "true"}, "V2 empty prefix": {"list-type", "2", "prefix", "", "delimiter", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := c.list(t, bucket, pairs...)
			if l.Name != bucket || l.IsTruncated || len(l.Contents) != len(sizes) {
				t.Errorf("%d of %d entries, truncated %t, name %s", len(l.Contents), len(sizes), l.IsTruncated, l.Name)
			}
			var keys []string
			for _, o := range l.Contents {
				key := o.Key
				if l.EncodingType == "url" {
					key, _ = url.QueryUnescape(o.Key)
				}
				keys = append(keys, key)
				if o.Size != sizes[key] || o.ETag != etags[key] {
					t.Errorf("%q: size %d, ETag %s; want %d, %s", key, o.Size, o.ETag, sizes[key], etags[key])
				}
				if o.LastModified == "" || o.StorageClass != "STANDARD" {
					t.Errorf("%q: modified %q, class %q", key, o.LastModified, o.StorageClass)
				}
			}
			if !sort.StringsAreSorted(keys) {
				t.Errorf("not in order: %q", keys)
			}
		})
	}
}

func TestListingsFoldAndPageAsMinIODoes(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	fillBucket(t, c, bucket)
	ref := referenceClient(t)
	newBucketOnce(t, ref, bucket)
	fillBucket(t, ref, bucket)
	for _, pairs := range [][]string{
		{},
		{"delimiter", "/"},
		{"prefix", "b/", "delimiter", "/"},
		{"prefix", "b"},
		{"prefix", "nothing"},
		{"max-keys", "0"},
		{"max-keys", "3"},
		{"marker", "b/1"},
		{"start-after", "b/1"},
		{"prefix", "d ", "encoding-type", "url"},
		{"delimiter", "c"},
		{"max-keys", "2", "delimiter", "/"},
		{"max-keys", "1000"},
		{"max-keys", "5000"},
		{"prefix", "ü"},
	} {
		for _, version := range []string{"", "2"} {
			all := pairs
			if version != "" {
				all = append([]string{"list-type", version}, pairs...)
			}
			t.Run(version+strings.Join(pairs, " "), func(t *testing.T) {
				g, w := shape(c.list(t, bucket, all...)), shape(ref.list(t, bucket, all...))
				if !reflect.DeepEqual(g, w) {
					t.Errorf("\n got %v\nwant %v", g, w)
				}
			})
		}
	}
	for _, bad := range []string{"max-keys=-1", "max-keys=x", "encoding-type=foo", "list-type=2&encoding-type=foo", "list-type=2&max-keys=-1", "list-type=2&continuation-token="} {
		r := request{method: http.MethodGet, bucket: bucket, query: bad}
		wantAsReference(t, c.do(t, r), ref.do(t, r))
	}
}

// shape is what two servers' listings of the same objects have in common.
func shape(l listing) []string {
	out := []string{fmt.Sprint(l.Prefix, "|", l.Delimiter, "|", l.Marker, "|", l.StartAfter, "|", l.EncodingType, "|", l.KeyCount, "|", l.MaxKeys, "|", l.IsTruncated)}
	for _, o := range l.Contents {
		out = append(out, fmt.Sprint(o.Key, " ", o.Size, " ", o.StorageClass))
	}
	for _, p := range l.CommonPrefixes {
		out = append(out, "prefix "+p.Prefix)
	}
	return out
}

func TestPagesTogetherAreTheWholeListing(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	sizes, _ := fillBucket(t, c, bucket)
	for name, next := range map[string]func(listing) []string{
		"V2 token": func(l listing) []string {
			return []string{"list-type", "2", "continuation-token", l.NextContinuationToken}
		},
		"V1 last key": func(l listing) []string {
			return []string{"marker", l.Contents[len(l.Contents)-1].Key}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var keys []string
			pairs := []string{"max-keys", "3"}
			if strings.HasPrefix(name, "V2") {
				pairs = append(pairs, "list-type", "2")
			}
			for range 10 {
				l := c.list(t, bucket, pairs...)
				for _, o := range l.Contents {
					keys = append(keys, o.Key)
				}
				if !l.IsTruncated {
					break
				}
				pairs = append(next(l), "max-keys", "3")
			}
			if len(keys) != len(sizes) || !sort.StringsAreSorted(keys) {
				t.Errorf("%d keys of %d: %q", len(keys), len(sizes), keys)
			}
		})
	}
}

func TestListingOfNothing(t *testing.T) {
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	if l := c.list(t, bucket, "list-type", "2"); len(l.Contents) != 0 || l.KeyCount != 0 || l.IsTruncated {
		t.Errorf("%+v", l)
	}
	r := request{method: http.MethodGet, bucket: bucket + "-none", query: "list-type=2"}
	c.do(t, r).wantError(t, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
}
