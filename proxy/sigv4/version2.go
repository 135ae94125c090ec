package sigv4

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what version 2 signs with
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// version2 is the word that an Authorization header of signature version 2 begins
// with.
const version2 = "AWS"

// isVersion2 says so of an Authorization header.
func isVersion2(auth string) bool { return auth == version2 || strings.HasPrefix(auth, version2+" ") }

// The parameters of a query presigned with version 2.
const (
	v2AccessKey = "AWSAccessKeyId"
	v2Expires   = "Expires"
	v2Signature = "Signature"
)

// v2Claim is what a request says of its signature of version 2. That covers the
// method, Content-MD5, Content-Type, the date, every x-amz-* header and parameter,
// the path and the parameters that say what is asked for; no other header, no host
// and no other parameter.
//
// Source: "Signing and Authenticating REST Requests" of the Amazon S3 API
// reference.
type v2Claim struct {
	accessKey, signature string
	date                 string // as it is signed; "" if x-amz-date is
	amz                  map[string][]string
}

// verifyHeaderV2 verifies a request with an Authorization header of version 2.
func (v *Verifier) verifyHeaderV2(r *http.Request, auth []string, q query) (*Request, error) {
	if len(auth) != 1 {
		return nil, fmt.Errorf("%w: Authorization", ErrDuplicateAuth)
	}
	date, signed, err := v2Date(r.Header)
	if err != nil {
		return nil, err
	}
	if err := v.checkSkew(date); err != nil {
		return nil, err
	}
	credential := strings.TrimPrefix(strings.TrimPrefix(auth[0], version2), " ")
	accessKey, signature, ok := strings.Cut(credential, ":")
	if !ok || strings.ContainsAny(credential, " \t") || strings.Contains(signature, ":") {
		return nil, ErrMissingFields
	}
	out, err := v.checkV2(r, &v2Claim{accessKey: accessKey, signature: signature, date: signed}, q)
	if err != nil {
		return nil, err
	}
	out.Kind, out.Date = HeaderV2, date
	return out.declaring(r.Header)
}

// verifyPresignedV2 verifies a request with its signature of version 2 in the
// query.
func (v *Verifier) verifyPresignedV2(r *http.Request, q query) (*Request, error) {
	var values [3]string
	for i, name := range []string{v2AccessKey, v2Expires, v2Signature} {
		value, ok, err := q.auth(name)
		if err != nil {
			return nil, err
		}
		if !ok || value == "" {
			return nil, fmt.Errorf("%w: %s", ErrMissingQueryParams, name)
		}
		values[i] = value
	}
	expires, err := strconv.ParseInt(values[1], 10, 64)
	if err != nil {
		return nil, ErrMalformedExpires
	}
	if v.now().Unix() > expires {
		return nil, ErrExpiredPresign
	}
	out, err := v.checkV2(r, &v2Claim{accessKey: values[0], date: values[1], signature: values[2]}, q)
	if err != nil {
		return nil, err
	}
	out.Kind = PresignedV2
	return out.declaring(r.Header)
}

// v2Date returns when a request was signed and how the date is signed: x-amz-date
// is among the headers and leaves that line empty.
func v2Date(h http.Header) (date time.Time, signed string, err error) {
	value, ok, err := singleHeader(h, "X-Amz-Date")
	if err == nil && !ok {
		value, ok, err = singleHeader(h, "Date")
		signed = value
	}
	if err != nil {
		return time.Time{}, "", err
	}
	if !ok {
		return time.Time{}, "", ErrMissingDate
	}
	for _, format := range []string{timeFormat, time.RFC1123, time.RFC1123Z} {
		if t, err := time.Parse(format, value); err == nil {
			return t.UTC(), signed, nil
		}
	}
	return time.Time{}, "", ErrMalformedDate
}

// declaring takes over what a request of version 2 declares of its body, in a
// header, which is signed like all of x-amz-*.
func (q *Request) declaring(h http.Header) (*Request, error) {
	declared, _, err := singleHeader(h, "X-Amz-Content-Sha256")
	if err != nil {
		return nil, err
	}
	if err := q.setPayload(declared); err != nil {
		return nil, err
	}
	return q, nil
}

// checkV2 verifies a claim over r.
func (v *Verifier) checkV2(r *http.Request, c *v2Claim, q query) (*Request, error) {
	secret, err := v.credentials.Secret(r.Context(), c.accessKey)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"Content-Md5", "Content-Type"} {
		if _, _, err := singleHeader(r.Header, name); err != nil {
			return nil, err // only one of them would be signed
		}
	}
	if c.amz, err = v2Headers(r.Header, q); err != nil {
		return nil, err
	}
	if name, ok := q.absorbs(); ok {
		return nil, fmt.Errorf("%w: the value of %q may hold other parameters", ErrSignatureDoesNotMatch, name)
	}
	if !c.matches(r, v.pathOf(r), q, secret) {
		return nil, ErrSignatureDoesNotMatch
	}
	out := &Request{AccessKey: c.accessKey, SignedHeaders: []string{"content-md5", "content-type", "date"}, verifier: v}
	for name := range c.amz {
		out.SignedHeaders = append(out.SignedHeaders, name)
	}
	slices.Sort(out.SignedHeaders)
	if token := c.amz["x-amz-security-token"]; len(token) > 1 {
		return nil, fmt.Errorf("%w: X-Amz-Security-Token", ErrDuplicateAuth)
	} else if len(token) == 1 {
		out.SessionToken = token[0]
	}
	return out, nil
}

// pathOf returns the path that version 2 signs: as it was sent, behind the bucket
// that the host names, if it does.
func (v *Verifier) pathOf(r *http.Request) string {
	path := cmp.Or(r.URL.EscapedPath(), "/")
	if v.bucket != nil {
		if bucket, ok := v.bucket(r.Host); ok {
			return "/" + bucket + path
		}
	}
	return path
}

// matches compares the claim's signature with those that clients may have made of
// r: they do not agree on the later sub-resources, without which what only reads
// passes, nor on the slash behind a bucket.
func (c *v2Claim) matches(r *http.Request, path string, q query, secret string) bool {
	paths := []string{path}
	if path != "/" && strings.Count(path, "/") == 1 {
		paths = append(paths, path+"/")
	}
	known := []func(string) bool{IsSubResource}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		known = append(known, isOldSubResource)
	}
	for _, path := range paths {
		for _, counts := range known {
			if matchesV2(secret, c.stringToSign(r, path, q.resources(counts)), c.signature) {
				return true
			}
		}
	}
	return false
}

// v2Headers returns the x-amz-* headers by their names in lower case, and the
// parameters of such names, which stand for headers: SDKs put headers there when
// they presign. One that is given as both must be the same.
func v2Headers(h http.Header, q query) (map[string][]string, error) {
	all := make(map[string][]string)
	for name, values := range h {
		if hasAmzPrefix(name) {
			all[strings.ToLower(name)] = values
		}
	}
	for _, p := range q {
		if !hasAmzPrefix(p.name) {
			continue
		}
		name := strings.ToLower(p.name)
		if given, ok := all[name]; ok && (len(given) != 1 || given[0] != p.value) {
			return nil, fmt.Errorf("%w: %q", ErrConflictingHeader, name)
		}
		all[name] = []string{p.value}
	}
	return all, nil
}

// resources returns the parameters that counts names, in signing order.
func (q query) resources(counts func(name string) bool) query {
	var out query
	for _, p := range q {
		if counts(p.name) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b param) int { return strings.Compare(a.name, b.name) })
	return out
}

// absorbs returns a parameter whose value can be read as more parameters that
// count. Version 2 signs values decoded and joined by '&', so that the signature of
// "response-expires=a&versionId=v" fits a single value "a&versionId=v" too, which
// asks for another version.
func (q query) absorbs() (name string, ok bool) {
	for _, p := range q.resources(IsSubResource) {
		for i, more := range strings.Split(p.value, "&") {
			if other, _, _ := strings.Cut(more, "="); i > 0 && IsSubResource(other) {
				return p.name, true
			}
		}
	}
	return "", false
}

// verifyPolicyV2 checks a form's policy that is signed with version 2: HMAC-SHA1 of
// its base64 text under the secret.
func (v *Verifier) verifyPolicyV2(ctx context.Context, p SignedPolicy) (*Request, error) {
	switch {
	case !v.live.Load().Version2:
		return nil, ErrSigV2NotSupported
	case p.Algorithm != "" || p.Credential != "" || p.Signature != "":
		return nil, ErrMultipleAuth
	}
	secret, err := v.credentials.Secret(ctx, p.AccessKeyV2)
	if err != nil {
		return nil, err
	}
	if !matchesV2(secret, []byte(p.Policy), p.SignatureV2) {
		return nil, ErrSignatureDoesNotMatch
	}
	return &Request{Kind: Form, AccessKey: p.AccessKeyV2, SessionToken: p.SessionToken, verifier: v}, nil
}

// matchesV2 compares a signature with that of a text.
func matchesV2(secret string, text []byte, signature string) bool {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write(text)
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1
}

// stringToSign is what the signature is of, with the parameters that count.
func (c *v2Claim) stringToSign(r *http.Request, path string, resources query) []byte {
	var b []byte
	for _, line := range []string{r.Method, r.Header.Get("Content-Md5"), r.Header.Get("Content-Type"), c.date} {
		b = append(append(b, line...), '\n')
	}
	names := make([]string, 0, len(c.amz))
	for name := range c.amz {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b = append(append(b, name...), ':')
		for i, value := range c.amz[name] {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, strings.Trim(value, " \t")...)
		}
		b = append(b, '\n')
	}
	b = append(b, path...)
	for i, p := range resources {
		separator := byte('&')
		if i == 0 {
			separator = '?'
		}
		b = append(append(b, separator), p.name...)
		if p.value != "" {
			b = append(append(b, '='), p.value...)
		}
	}
	return b
}

// oldSubResources are the parameters that every client of version 2 signs, those
// that begin with response- besides.
var oldSubResources = []string{
	"acl", "cors", "delete", "encryption", "legal-hold", "lifecycle", "location", "logging", "notification", "partNumber",
	"policy", "requestPayment", "retention", "select", "select-type", "tagging", "torrent", "uploadId", "uploads",
	"versionId", "versioning", "versions", "website",
}

// laterSubResources are those on which clients do not agree.
var laterSubResources = []string{
	"accelerate", "analytics", "attributes", "defaultObjectAcl", "events", "intelligent-tiering", "inventory", "lambdaArn", "metrics",
	"object-lock", "ownershipControls", "policyStatus", "publicAccessBlock", "replication", "replication-metrics",
	"replication-reset", "replication-reset-status", "restore", "session", "storageClass",
}

func isOldSubResource(name string) bool {
	return slices.Contains(oldSubResources, name) || strings.HasPrefix(name, "response-")
}

// IsSubResource says whether a parameter changes what a request asks for, and
// counts in signatures of version 2.
func IsSubResource(name string) bool {
	return isOldSubResource(name) || slices.Contains(laterSubResources, name)
}
