// Package objectname knows the names that buckets and objects have. One object has many
// names at MinIO: "/a", "//a" and "a" are the same. This package alone turns what a
// client, a listing or a command line says into the one name that keys, manifests and the
// ledger are bound to, and that goes upstream.
package objectname

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels.
var (
	// ErrBucket says that MinIO has no bucket of this name, and lets nobody make one.
	ErrBucket = errors.New("invalid bucket name")
	// ErrKey says that MinIO stores nothing under a key.
	ErrKey = errors.New("invalid object name")
	// ErrNotS3 says that what looks like a bucket is MinIO's own API or storage.
	ErrNotS3 = errors.New("operation is not offered")
)

const (
	// MaxKey is the length in bytes that a key may have.
	MaxKey = 1024
	// DirSuffix is what MinIO stores a key's trailing slash as.
	DirSuffix = "__XLDIR__"
)

// Canonical returns the one name of a key as MinIO sees it, or ErrKey if it has none. As
// MinIO does, it resolves a key that begins with a slash like a path, and leaves others
// as they are: "/b//c" is "b/c", and "b//c" something that MinIO refuses to store (see
// HasEmptySegment).
func Canonical(raw string) (string, error) {
	key := raw
	if strings.HasPrefix(key, "/") {
		folder := len(key) > 1 && strings.HasSuffix(key, "/")
		key = path.Clean(key)[1:]
		if folder {
			key += "/"
		}
	}
	if key == "/" { // what stands between two slashes, or more
		return DirSuffix, nil
	}
	if stem, ok := strings.CutSuffix(key, DirSuffix); ok && stem != "" && !strings.HasSuffix(stem, "/") {
		key = stem + "/"
	}
	if key == "" || HasDotSegment(key) || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return "", fmt.Errorf("key %.1100q: %w", raw, ErrKey)
	}
	return key, nil
}

// Of returns the name of an object that is named other than by a request's path. ErrBucket,
// ErrKey, ErrNotS3.
func Of(bucket, raw string) (sse.Name, error) {
	if err := CheckBucket(bucket); err != nil {
		return sse.Name{}, err
	}
	key, err := Canonical(raw)
	if err == nil && HasEmptySegment(key) {
		err = ErrKey
	}
	return sse.Name{Bucket: bucket, Key: key}, err
}

// Listed returns the name of an object that upstream lists as key. It never fails: what is
// listed is there.
func Listed(bucket, key string) sse.Name {
	if canonical, err := Canonical(key); err == nil {
		key = canonical
	}
	return sse.Name{Bucket: bucket, Key: key}
}

// CheckBucket refuses names that MinIO refuses, before anything is done with them. ErrBucket,
// ErrNotS3.
func CheckBucket(bucket string) error {
	switch {
	case bucket == "minio" || bucket == ".minio.sys": // MinIO's own API and storage, not S3
		return fmt.Errorf("path /%s: %w", bucket, ErrNotS3)
	case !ValidBucket(bucket):
		return ErrBucket
	}
	return nil
}

// ValidBucket accepts what MinIO accepts, names from before today's rules
// included; whether a new bucket may have it is MinIO's to say.
func ValidBucket(name string) bool {
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

// HasEmptySegment finds two slashes side by side.
func HasEmptySegment(key string) bool { return strings.Contains(key, "//") }

// HasDotSegment finds "." and ".." between slashes or backslashes, with white space
// around them too: MinIO refuses them, and something on the way to it might resolve them.
func HasDotSegment(key string) bool {
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
