package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/sse"
)

// name is the object that the request names.
func (r *request) name() sse.Name { return sse.Name{Bucket: r.bucket, Key: r.key} }

// setName decodes the escaped path segments once, and sets the names of bucket and
// object. It refuses what MinIO refuses before it looks at anything else.
func (r *request) setName(sc scope, bucket, key string) (err error) {
	if sc == scopeService {
		return nil
	}
	if r.bucket, err = url.PathUnescape(bucket); err == nil {
		r.key, err = url.PathUnescape(key)
	}
	if err != nil {
		return errMalformedPath
	}
	if err := objectname.CheckBucket(r.bucket); err != nil || sc != scopeObject {
		return err
	}
	if objectname.HasDotSegment(r.key) {
		return errDotSegment
	}
	canonical, err := objectname.Canonical(r.key)
	if err != nil {
		return err
	}
	r.key = canonical
	return nil
}

// checkKey refuses, in requests that are not MinIO's to answer, the keys that MinIO
// stores nothing under. Nothing must be written for them before MinIO is asked.
func (r *request) checkKey() error {
	if r.scope != scopeObject || r.route.action != translate {
		return nil
	}
	parts := r.query.Has("uploads") || r.query.Has("uploadId")
	switch {
	case objectname.HasEmptySegment(r.key):
		return objectname.ErrKey
	case len(r.key) > objectname.MaxKey && (parts || r.Method == http.MethodPut || r.Method == http.MethodPost):
		return errKeyTooLong
	case parts && strings.HasSuffix(r.key, "/"):
		return objectname.ErrKey // a folder comes in one piece
	}
	return nil
}

// listEncoded writes a name as MinIO does where a listing is asked for with
// encoding-type=url.
func listEncoded(name string) string {
	return strings.NewReplacer("%2F", "/", "%2A", "*", "~", "%7E").Replace(url.QueryEscape(name))
}
