package sigv4

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// maxQueryParams bounds the work for one query. No S3 request comes near it,
// and net/url gives up silently at a higher number.
const maxQueryParams = 1024

// param is one parameter of a query, decoded and encoded by S3's rules.
type param struct {
	name, value       string
	encName, encValue string
	raw               string
}

// query is a parsed query in the order in which it was sent.
type query []param

// parseQuery splits and decodes a query just as net/url does, '+' being a
// space, but refuses what net/url drops: a handler must never see another
// query than the one that was signed.
func parseQuery(raw string) (query, error) {
	if raw == "" {
		return nil, nil
	}
	if strings.IndexByte(raw, ';') >= 0 {
		return nil, fmt.Errorf("%w: semicolon", ErrMalformedQuery)
	}
	n := strings.Count(raw, "&") + 1
	if n > maxQueryParams {
		return nil, fmt.Errorf("%w: too many parameters", ErrMalformedQuery)
	}
	q := make(query, 0, n)
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		p := param{raw: pair}
		var err error
		if p.name, err = url.QueryUnescape(name); err == nil {
			p.value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: invalid escape", ErrMalformedQuery)
		}
		p.encName, p.encValue = escape(p.name, false), escape(p.value, false)
		q = append(q, p)
	}
	return q, nil
}

// has says whether a parameter of exactly this name is given.
func (q query) has(name string) bool {
	return slices.ContainsFunc(q, func(p param) bool { return p.name == name })
}

// presigned says whether the query claims to carry a signature.
func (q query) presigned() bool {
	return slices.ContainsFunc(q, func(p param) bool {
		return strings.EqualFold(p.name, "X-Amz-Signature") || strings.EqualFold(p.name, "X-Amz-Credential") ||
			strings.EqualFold(p.name, "X-Amz-Algorithm")
	})
}

// auth returns an authentication parameter. Its name is matched exactly, but
// every spelling counts as a repetition.
func (q query) auth(name string) (value string, ok bool, err error) {
	seen := false
	for _, p := range q {
		if !strings.EqualFold(p.name, name) {
			continue
		}
		if seen {
			return "", false, fmt.Errorf("%w: %s", ErrDuplicateAuth, name)
		}
		seen = true
		if p.name == name {
			value, ok = p.value, true
		}
	}
	return value, ok, nil
}

// canonical returns the parameters in signing order, without X-Amz-Signature:
// by encoded name, then by encoded value or, with keepOrder, in the order in
// which they were sent. It reports whether that choice makes a difference.
//
// AWS sorts by value, but minio-go signs repeated parameters (as in bucket
// notification listening) in the order given.
func (q query) canonical(keepOrder bool) (sorted query, ambiguous bool) {
	sorted = q
	if q.has("X-Amz-Signature") {
		sorted = slices.DeleteFunc(slices.Clone(q), func(p param) bool { return p.name == "X-Amz-Signature" })
	}
	byName := func(a, b param) int { return strings.Compare(a.encName, b.encName) }
	byBoth := func(a, b param) int {
		if c := byName(a, b); c != 0 {
			return c
		}
		return strings.Compare(a.encValue, b.encValue)
	}
	order := byBoth
	if keepOrder {
		order = byName
	}
	if !slices.IsSortedFunc(sorted, order) {
		sorted = slices.Clone(sorted)
		slices.SortStableFunc(sorted, order)
	}
	for i := 1; i < len(sorted); i++ {
		if sorted[i].encName == sorted[i-1].encName {
			ambiguous = true
		}
	}
	return sorted, ambiguous
}

// IsAuthParameter says whether a query parameter, in any case, belongs to a
// presigned signature.
func IsAuthParameter(name string) bool {
	switch strings.ToLower(name) {
	case "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-signedheaders",
		"x-amz-signature", "x-amz-security-token", "x-amz-content-sha256", "x-amz-s3session-token":
		return true
	}
	return false
}

// HoistQuery moves x-amz-* parameters that do not belong to the signature
// from r's query into r.Header, where SDKs took them from when they made a
// presigned URL, and counts them as signed, as the query is. The rest of the
// query keeps its exact text. Call it after Verify and before Body.
//
// The error wraps ErrConflictingHeader if a parameter is repeated, also given
// as a header or not valid as one; r is unchanged then. An anonymous caller's
// parameters move too, and are no more signed than its headers.
func (q *Request) HoistQuery(r *http.Request) error {
	params, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	hoisted := http.Header{}
	var kept []string
	for _, p := range params {
		if q.signatureV2(p.name) {
			continue
		}
		if !hasAmzPrefix(p.name) || IsAuthParameter(p.name) {
			kept = append(kept, p.raw)
			continue
		}
		name := http.CanonicalHeaderKey(p.name)
		given, inHeader := r.Header[name]
		if inHeader && q.Kind.version2() && len(given) == 1 && given[0] == p.value {
			continue // signed once, as a header
		}
		_, twice := hoisted[name]
		if inHeader || twice || !validHeaderName(p.name) || !validHeaderValue(p.value) {
			return fmt.Errorf("%w: %q", ErrConflictingHeader, name)
		}
		hoisted[name] = []string{p.value}
	}
	if len(kept) == len(params) {
		return nil
	}
	for name, values := range hoisted {
		r.Header[name] = values
		if q.Kind != Anonymous {
			q.SignedHeaders = append(q.SignedHeaders, strings.ToLower(name))
		}
	}
	slices.Sort(q.SignedHeaders)
	r.URL.RawQuery = strings.Join(kept, "&")
	return nil
}

// version2 says whether signatures of this kind are of version 2.
func (k AuthKind) version2() bool { return k == HeaderV2 || k == PresignedV2 }

// signatureV2 says whether a parameter is only there for a signature of version 2.
func (q *Request) signatureV2(name string) bool {
	switch name {
	case v2AccessKey, v2Expires, v2Signature:
		return q.Kind == PresignedV2
	}
	return q.Kind.version2() && IsAuthParameter(name)
}

// hasAmzPrefix says whether a header or parameter is one of AWS's.
func hasAmzPrefix(name string) bool {
	return len(name) > 6 && strings.EqualFold(name[:6], "x-amz-")
}

// validHeaderName says whether name is a token (RFC 9110, section 5.6.2).
func validHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if isAlphanumeric(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return name != ""
}

// validHeaderValue says whether value is free of control bytes, which could
// end a header when it is sent on.
func validHeaderValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c == 0x7f || c < ' ' && c != '\t' {
			return false
		}
	}
	return true
}
