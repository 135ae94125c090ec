package s3api

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

const copySourcePrefix = "X-Amz-Copy-Source-"

// copySourceOf is the object that a copy reads. Its customer key is to be zeroed.
func (s *API) copySourceOf(r *intake.Request) (source vault.Read, err error) {
	if source.Name, source.Version, err = parseSourceName(r.Header.Get("X-Amz-Copy-Source")); err != nil {
		return source, err
	}
	if strings.EqualFold(source.Name.Bucket, s.o.SystemBucket) {
		return source, errReservedBucket(r.Route.Op)
	}
	source.Conditions, source.Checksum = sourceConditions(r.Header), true
	source.Customer, err = s.sourceKey(r)
	return source, err
}

// parseSourceName returns the object that x-amz-copy-source names, and its version,
// "" for the current one.
func parseSourceName(header string) (name sse.Name, version string, err error) {
	path, query, _ := strings.Cut(header, "?")
	raw, err := url.PathUnescape(path)
	if err != nil {
		return name, "", errCopySource
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(raw, "/"), "/")
	if !ok || bucket == "" || key == "" {
		return name, "", errCopySource
	}
	if name, err = objectname.Of(bucket, key); err != nil {
		return name, "", err
	}
	if query == "" {
		return name, "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return name, "", errCopySource
	}
	// As at MinIO the first one counts, other parameters do not, and an id that none
	// can be is that of no version.
	if version = values.Get("versionId"); version != "" && version != "null" {
		if !isVersionID(version) {
			return name, "", errNoSuchVersion
		}
	}
	return name, version, nil
}

// isVersionID says whether text can be a version's id: MinIO's are UUIDs as RFC 9562
// writes them, in hex digits of either case.
func isVersionID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// sourceKey reads the customer key of a copy's source, nil for none. Its headers are those
// of a read with another prefix.
func (s *API) sourceKey(r *intake.Request) (*sse.Secret, error) {
	h := make(map[string][]string)
	for name, values := range r.Header {
		if rest, ok := strings.CutPrefix(name, copySourcePrefix); ok {
			h[textproto.CanonicalMIMEHeaderKey("X-Amz-"+rest)] = values
		}
	}
	if sse.HasCustomerKey(h) && !r.Origin.Secure && !s.o.CustomerKeysOverHTTP() {
		return nil, errPlainHTTP
	}
	customer, given, err := sse.ParseCustomer(h)
	switch {
	case err != nil:
		return nil, readHeaderError(err)
	case !given:
		return nil, nil
	}
	return &customer.CustomerKey, nil
}

// sourceConditions are x-amz-copy-source-if-*. A date that is none is no condition.
func sourceConditions(h http.Header) conditions.Read {
	at := func(name string) time.Time {
		t, _ := http.ParseTime(h.Get(copySourcePrefix + name))
		return t
	}
	return conditions.Read{
		IfMatch: h.Get(copySourcePrefix + "If-Match"), IfNoneMatch: h.Get(copySourcePrefix + "If-None-Match"),
		IfModifiedSince: at("If-Modified-Since"), IfUnmodifiedSince: at("If-Unmodified-Since"),
	}
}

// readingSource does a copy, and gives an account of its source: the request's own line is about
// the object that is made. do returns the version that was read, if it is known.
func readingSource(r *intake.Request, source *vault.Read, do func() (version string, err error)) error {
	of := []intake.Touched{{Bucket: source.Name.Bucket, Key: source.Name.Key, Version: source.Version}}
	if err := r.Touches(of); err != nil {
		return err
	}
	version, err := do()
	if version != "" {
		of[0].Version = version
	}
	if err != nil {
		answer := Describe(err)
		of[0].Code, of[0].Refused = answer.Code, answer.Status == http.StatusForbidden
	}
	r.HasTouched(of)
	return err
}
