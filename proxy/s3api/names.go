package s3api

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/sse"
)

// name is the object that the request names.
func name(r *intake.Request) sse.Name { return sse.Name{Bucket: r.Bucket, Key: r.Key} }

// setName decodes the escaped path segments once, and sets the names of bucket and
// object. It refuses what MinIO refuses before it looks at anything else.
func setName(r *intake.Request, scope route.Scope, bucket, key string) (err error) {
	if scope == route.Service {
		return nil
	}
	if r.Bucket, err = url.PathUnescape(bucket); err == nil {
		r.Key, err = url.PathUnescape(key)
	}
	if err != nil {
		return intake.ErrMalformedPath
	}
	if err := objectname.CheckBucket(r.Bucket); err != nil || scope != route.Object {
		return err
	}
	if objectname.HasDotSegment(r.Key) {
		return errDotSegment
	}
	canonical, err := objectname.Canonical(r.Key)
	if err != nil {
		return err
	}
	r.Key = canonical
	return nil
}

// checkKey refuses, in requests that are not MinIO's to answer, the keys that MinIO
// stores nothing under. Nothing must be written for them before MinIO is asked.
func checkKey(r *intake.Request, found *row) error {
	if found.Scope != route.Object || found.Action != route.Translate {
		return nil
	}
	parts := r.Query.Has("uploads") || r.Query.Has("uploadId")
	switch {
	case objectname.HasEmptySegment(r.Key):
		return objectname.ErrKey
	case len(r.Key) > objectname.MaxKey && (parts || r.Method == http.MethodPut || r.Method == http.MethodPost):
		return errKeyTooLong
	case parts && strings.HasSuffix(r.Key, "/"):
		return objectname.ErrKey // a folder comes in one piece
	}
	return nil
}

// listEncoded writes a name as MinIO does where a listing is asked for with
// encoding-type=url.
func listEncoded(name string) string {
	return strings.NewReplacer("%2F", "/", "%2A", "*", "~", "%7E").Replace(url.QueryEscape(name))
}
