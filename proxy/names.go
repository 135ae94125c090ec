package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// One object has many names at MinIO: "/a", "//a" and "a" are the same. This file
// alone turns what a client, a listing or a command line says into the one name that
// keys, manifests and the ledger are bound to, and that goes upstream.

const (
	// maxKey is the length in bytes that a key may have.
	maxKey = 1024
	// dirSuffix is what MinIO stores a key's trailing slash as.
	dirSuffix = "__XLDIR__"
)

// canonicalKey returns the one name of a key as MinIO sees it, or
// errInvalidObjectName if it has none. As MinIO does, it resolves a key that begins
// with a slash like a path, and leaves others as they are: "/b//c" is "b/c", and
// "b//c" something that MinIO refuses to store (see request.checkKey).
func canonicalKey(raw string) (string, error) {
	key := raw
	if strings.HasPrefix(key, "/") {
		folder := len(key) > 1 && strings.HasSuffix(key, "/")
		key = path.Clean(key)[1:]
		if folder {
			key += "/"
		}
	}
	if key == "/" { // what stands between two slashes, or more
		return dirSuffix, nil
	}
	if stem, ok := strings.CutSuffix(key, dirSuffix); ok && stem != "" && !strings.HasSuffix(stem, "/") {
		key = stem + "/"
	}
	if key == "" || hasDotSegment(key) || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return "", fmt.Errorf("key %.1100q: %w", raw, errInvalidObjectName)
	}
	return key, nil
}

// objectName returns the name of an object that is named other than by a request's
// path. errInvalidBucketName, errInvalidObjectName.
func objectName(bucket, raw string) (sse.Name, error) {
	if err := checkBucket(bucket); err != nil {
		return sse.Name{}, err
	}
	key, err := canonicalKey(raw)
	if err == nil && hasEmptySegment(key) {
		err = errInvalidObjectName
	}
	return sse.Name{Bucket: bucket, Key: key}, err
}

// listedName returns the name of an object that upstream lists as key.
func listedName(bucket, key string) sse.Name {
	if canonical, err := canonicalKey(key); err == nil {
		key = canonical
	}
	return sse.Name{Bucket: bucket, Key: key}
}

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
	if err := checkBucket(r.bucket); err != nil || sc != scopeObject {
		return err
	}
	if hasDotSegment(r.key) {
		return errDotSegment
	}
	canonical, err := canonicalKey(r.key)
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
	case hasEmptySegment(r.key):
		return errInvalidObjectName
	case len(r.key) > maxKey && (parts || r.Method == http.MethodPut || r.Method == http.MethodPost):
		return errKeyTooLong
	case parts && strings.HasSuffix(r.key, "/"):
		return errInvalidObjectName // a folder comes in one piece
	}
	return nil
}

// checkBucket refuses names that MinIO refuses, before anything is done with them.
func checkBucket(bucket string) error {
	switch {
	case bucket == "minio" || bucket == ".minio.sys": // MinIO's own API and storage, not S3
		return fmt.Errorf("path /%s: %w", bucket, errNotOffered)
	case !validBucketName(bucket):
		return errInvalidBucketName
	}
	return nil
}

// validBucketName accepts what MinIO accepts, names from before today's rules
// included; whether a new bucket may have it is MinIO's to say.
func validBucketName(name string) bool {
	const inner = ".-_:"
	if strings.HasPrefix(strings.ToLower(name), kms.ReservedContextPrefix) { // bucket names are names in encryption contexts
		return false
	}
	if len(name) < 3 || len(name) > 63 || strings.IndexByte(inner, name[0]) >= 0 || strings.IndexByte(inner, name[len(name)-1]) >= 0 {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(inner, c) >= 0:
		default:
			return false
		}
	}
	return true
}

// listEncoded writes a name as MinIO does where a listing is asked for with
// encoding-type=url.
func listEncoded(name string) string {
	return strings.NewReplacer("%2F", "/", "%2A", "*", "~", "%7E").Replace(url.QueryEscape(name))
}

// hasEmptySegment finds two slashes side by side.
func hasEmptySegment(key string) bool { return strings.Contains(key, "//") }

// hasDotSegment finds "." and ".." between slashes or backslashes, with white space
// around them too: MinIO refuses them, and something on the way to it might resolve them.
func hasDotSegment(key string) bool {
	if strings.IndexByte(key, '.') < 0 {
		return false
	}
	for segment := range strings.FieldsFuncSeq(key, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment = strings.Trim(segment, " \t\n\v\f\r"); segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
