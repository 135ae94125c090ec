package workload

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// page is what ListObjects, ListObjectsV2 and ListObjectVersions answer, as far as it is looked at.
type page struct {
	IsTruncated           bool
	NextContinuationToken string
	NextMarker            string
	NextKeyMarker         string
	NextVersionIDMarker   string `xml:"NextVersionIdMarker"`
	Contents              []listed
	Version               []listed
	DeleteMarker          []listed
}

type listed struct {
	Key       string
	ETag      string
	Size      int64
	VersionID string `xml:"VersionId"`
}

// list walks through the keys of an epoch page by page; each page is an operation of its own.
func (c *client) list(ctx context.Context) {
	bucket := buckets[c.rng.IntN(len(buckets))]
	prefix, _, _ := strings.Cut(c.key([]string{"r", "c", "n", "l"}[c.rng.IntN(4)]), "-")
	second := c.rng.IntN(2) == 0
	query := url.Values{"prefix": {prefix}, "max-keys": {strconv.Itoa(1 + c.rng.IntN(5))}}
	if second {
		query.Set("list-type", "2")
	}
	after, walk := "", time.Duration(0)
	for {
		w := c.way()
		o := c.begin(history.List, w, bucket, "")
		o.Prefix, o.After, o.Walk = prefix, after, walk
		var p page
		a := w.do(ctx, request{method: http.MethodGet, bucket: bucket, query: query, limit: shortLimit})
		if a.outcome == history.OK && xml.Unmarshal(a.body, &p) != nil {
			a.outcome, a.code = history.Unknown, "client: no listing"
		}
		for _, e := range p.Contents {
			o.Listed = append(o.Listed, history.Entry{Key: e.Key, ETag: strings.Trim(e.ETag, `"`), Size: e.Size})
			after = e.Key
		}
		if p.IsTruncated {
			o.Last = after
		}
		c.end(o, a)
		if a.outcome != history.OK || !p.IsTruncated || len(p.Contents) == 0 {
			return
		}
		walk = o.Listing()
		if second {
			query.Set("continuation-token", p.NextContinuationToken)
		} else {
			query.Set("marker", after)
		}
	}
}

func (c *client) listVersions(ctx context.Context) {
	prefix, _, _ := strings.Cut(c.key("v"), "-")
	query := url.Values{"versions": {""}, "prefix": {prefix}, "max-keys": {strconv.Itoa(2 + c.rng.IntN(30))}}
	after, walk := "", time.Duration(0)
	for {
		w := c.way()
		o := c.begin(history.ListVersions, w, bucketVer, "")
		// A page may begin inside a key's versions: it speaks of the keys that follow.
		o.Prefix, o.After, o.Walk = prefix, after, walk
		var p page
		a := w.do(ctx, request{method: http.MethodGet, bucket: bucketVer, query: query, limit: shortLimit})
		if a.outcome == history.OK && xml.Unmarshal(a.body, &p) != nil {
			a.outcome, a.code = history.Unknown, "client: no listing"
		}
		for _, e := range p.Version {
			o.Listed = append(o.Listed, history.Entry{Key: e.Key, ETag: strings.Trim(e.ETag, `"`), Size: e.Size, Version: e.VersionID})
			after = max(after, e.Key)
		}
		for _, e := range p.DeleteMarker {
			o.Listed = append(o.Listed, history.Entry{Key: e.Key, Version: e.VersionID, Marker: true})
			after = max(after, e.Key)
		}
		if p.IsTruncated {
			o.Last = after
		}
		c.end(o, a)
		if a.outcome != history.OK || !p.IsTruncated || p.NextKeyMarker == "" {
			return
		}
		walk = o.Listing()
		query.Set("key-marker", p.NextKeyMarker)
		query.Set("version-id-marker", p.NextVersionIDMarker)
	}
}

// version works on keys whose versions are deleted one by one: they are only read by version.
func (c *client) version(ctx context.Context) {
	key := c.key("v")
	w := c.way()
	id, at := c.r.versions.any(c.rng, key)
	switch {
	case c.rng.IntN(3) == 0 || id == "":
		o := c.begin(history.Put, w, bucketVer, key)
		a := c.put(ctx, o, w, 1+c.rng.Int64N(100_000), http.Header{})
		if v := a.header.Get("X-Amz-Version-Id"); a.outcome == history.OK && v != "" {
			c.r.versions.add(key, v)
		}
	case c.rng.IntN(5) == 0:
		o := c.begin(history.DeleteVersion, w, bucketVer, at)
		o.Version = id
		c.end(o, w.do(ctx, request{method: http.MethodDelete, bucket: bucketVer, key: at, query: url.Values{"versionId": {id}}, limit: shortLimit}))
	default:
		o := c.begin(history.GetVersion, w, bucketVer, at)
		o.Version = id
		first, end := int64(0), int64(0)
		if c.rng.IntN(3) == 0 {
			first = c.rng.Int64N(100)
			end = first + 70_000
		}
		c.get(ctx, o, w, http.Header{}, first, end)
	}
}
