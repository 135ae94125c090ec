package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeObject is an object of fakeMinIO.
type fakeObject struct {
	body []byte
	etag string
	meta url.Values
}

// fakeBucket keeps what the proxy's own system bucket needs, as MinIO does: objects
// with metadata from the query, copies, uploads of one part, conditions, a listing.
type fakeBucket struct {
	mu      sync.Mutex
	objects map[string]*fakeObject
	uploads map[string]*fakeObject
}

// fakeMinIO starts one and returns its URL.
func fakeMinIO(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(&fakeBucket{objects: map[string]*fakeObject{}, uploads: map[string]*fakeObject{}})
	t.Cleanup(s.Close)
	return s.URL
}

func fakeETag(body []byte) string {
	sum := md5.Sum(body)
	return hex.EncodeToString(sum[:])
}

func (b *fakeBucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	query := r.URL.Query()
	isObject := strings.Count(strings.Trim(r.URL.Path, "/"), "/") > 0 && !strings.HasPrefix(r.URL.Path, "/minio/")
	switch {
	case query.Get("list-type") == "2":
		b.list(w, r)
	case !isObject: // the bucket, its versioning, health
	case r.Method == http.MethodPut:
		b.put(w, r, body)
	case r.Method == http.MethodPost && query.Has("uploads"):
		b.uploads[r.URL.Path] = &fakeObject{meta: metadata(query)}
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		o := b.uploads[r.URL.Path]
		raw, _ := hex.DecodeString(fakeETag(o.body))
		o.etag = fakeETag(raw) + "-1"
		b.objects[r.URL.Path] = o
		_, _ = fmt.Fprintf(w, "<CompleteMultipartUploadResult><ETag>%s</ETag></CompleteMultipartUploadResult>", o.etag)
	case b.objects[r.URL.Path] == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(b.objects, r.URL.Path)
	default:
		o := b.objects[r.URL.Path]
		for name, values := range o.meta {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		w.Header().Set("ETag", `"`+o.etag+`"`)
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		_, _ = w.Write(o.body)
	}
}

func metadata(query url.Values) url.Values {
	meta := url.Values{}
	for name, values := range query {
		if strings.HasPrefix(strings.ToLower(name), "x-amz-meta-") {
			meta[name] = values
		}
	}
	return meta
}

func (b *fakeBucket) put(w http.ResponseWriter, r *http.Request, body []byte) {
	there := b.objects[r.URL.Path]
	o := &fakeObject{body: body, etag: fakeETag(body), meta: metadata(r.URL.Query())}
	switch {
	case r.URL.Query().Has("uploadId"):
		b.uploads[r.URL.Path].body = body
	case r.Header.Get("X-Amz-Copy-Source") != "":
		there.meta = o.meta
		_, _ = io.WriteString(w, "<CopyObjectResult></CopyObjectResult>")
		return
	case r.Header.Get("If-None-Match") == "*" && there != nil, r.Header.Get("If-Match") != "" && (there == nil || strings.Trim(r.Header.Get("If-Match"), `"`) != there.etag):
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	default:
		b.objects[r.URL.Path] = o
	}
	w.Header().Set("ETag", `"`+o.etag+`"`)
}

func (b *fakeBucket) list(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "<ListBucketResult>")
	for path, o := range b.objects {
		key, below := strings.CutPrefix(path, strings.TrimSuffix(r.URL.Path, "/")+"/")
		if !below || !strings.HasPrefix(key, r.URL.Query().Get("prefix")) {
			continue
		}
		_, _ = io.WriteString(w, "<Contents><Key>"+url.QueryEscape(key)+"</Key><UserMetadata>")
		for name, values := range o.meta {
			_ = xml.NewEncoder(w).EncodeElement(values[0], xml.StartElement{Name: xml.Name{Local: name}})
		}
		_, _ = io.WriteString(w, "</UserMetadata></Contents>")
	}
	_, _ = io.WriteString(w, "</ListBucketResult>")
}
