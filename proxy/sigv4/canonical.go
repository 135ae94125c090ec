package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxPooledScratch is the largest buffer that is kept for the next request.
const maxPooledScratch = 64 << 10

// check verifies a claim over r and returns the signing key. payloads are the
// values that the client may have signed for the body, the likeliest first.
func (v *Verifier) check(r *http.Request, c *claim, q query, kind AuthKind, payloads ...string) (*signingKey, error) {
	if err := coverage(r, c.signedHeaders, kind); err != nil {
		return nil, err
	}
	secret, err := v.credentials.Secret(r.Context(), c.accessKey)
	if err != nil {
		return nil, err
	}
	// A signing key is good for one day; the day it was made for must be the
	// day of the request, or a leaked one would be good for ever.
	if c.date.Format(dayFormat) != c.day {
		return nil, ErrSignatureDoesNotMatch
	}
	key, cached := v.keys.get(c, secret)

	scratch := v.scratch.Get().(*[]byte)
	defer func() {
		if cap(*scratch) <= maxPooledScratch {
			v.scratch.Put(scratch)
		}
	}()
	sorted, ambiguous := q.canonical(false)
	queries := []query{sorted}
	if ambiguous {
		asSent, _ := q.canonical(true)
		queries = append(queries, asSent)
	}
	for _, payload := range payloads {
		for _, params := range queries {
			buf, ok := appendCanonical((*scratch)[:0], r, params, c.signedHeaders, payload)
			*scratch = buf
			if !ok {
				return nil, ErrUnsignedHeaders
			}
			if !key.matches(c, sha256.Sum256(buf), scratch) {
				continue
			}
			if !cached { // only a caller who has the secret takes up room
				v.keys.put(c, secret, key)
			}
			return key, nil
		}
	}
	return nil, ErrSignatureDoesNotMatch
}

// matches compares the claim's signature with that of the canonical request.
func (k *signingKey) matches(c *claim, canonical [sha256.Size]byte, scratch *[]byte) bool {
	sum := k.sign(c, canonical, scratch)
	return equalHex(sum[:], c.signature)
}

// sign returns the signature of a canonical request.
func (k *signingKey) sign(c *claim, canonical [sha256.Size]byte, scratch *[]byte) (sum [sha256.Size]byte) {
	buf := append((*scratch)[:0], algorithm...)
	buf = append(buf, '\n')
	buf = c.date.AppendFormat(buf, timeFormat)
	buf = append(buf, '\n')
	buf = c.appendScope(buf)
	buf = append(buf, '\n')
	buf = hex.AppendEncode(buf, canonical[:])
	*scratch = buf

	mac := k.mac()
	mac.Write(buf)
	mac.Sum(sum[:0])
	k.done(mac)
	return sum
}

// equalHex compares a sum with a signature in lower-case hex, in constant time.
func equalHex(sum []byte, signature string) bool {
	var want [2 * sha256.Size]byte
	hex.Encode(want[:], sum)
	return subtle.ConstantTimeCompare(want[:], []byte(signature)) == 1
}

// coverage checks that the host and every x-amz-* header present are signed.
// A presigned request may declare its payload outside the signature.
func coverage(r *http.Request, signed []string, kind AuthKind) error {
	if _, ok := slices.BinarySearch(signed, "host"); !ok {
		return ErrUnsignedHeaders
	}
	for name := range r.Header {
		if !hasAmzPrefix(name) || kind == Presigned && strings.EqualFold(name, "x-amz-content-sha256") {
			continue
		}
		if _, ok := slices.BinarySearch(signed, strings.ToLower(name)); !ok {
			return ErrUnsignedHeaders
		}
	}
	return nil
}

// appendCanonical appends the canonical request to b. It returns false if a
// signed header is not present.
func appendCanonical(b []byte, r *http.Request, q query, signed []string, payload string) ([]byte, bool) {
	b = append(b, r.Method...)
	b = append(b, '\n')
	if r.URL.Path == "" {
		b = append(b, '/')
	} else {
		b = append(b, escape(r.URL.Path, true)...)
	}
	b = append(b, '\n')
	for i, p := range q {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(b, p.encName...)
		b = append(b, '=')
		b = append(b, p.encValue...)
	}
	b = append(b, '\n')
	for _, name := range signed {
		values, ok := headerValues(r, name)
		if !ok {
			return b, false
		}
		b = append(b, name...)
		b = append(b, ':')
		for i, value := range values {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendFolded(b, value)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	for i, name := range signed {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, payload...), true
}

// headerValues returns a header by its lower-case name, including those that
// net/http keeps elsewhere.
func headerValues(r *http.Request, name string) ([]string, bool) {
	switch name {
	case "host":
		return []string{r.Host}, true
	case "content-length":
		if r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}, true
		}
	case "transfer-encoding":
		if len(r.TransferEncoding) > 0 {
			return r.TransferEncoding, true
		}
	}
	values, ok := r.Header[http.CanonicalHeaderKey(name)]
	if !ok && name == "expect" {
		// HTTP/2 in net/http drops it; no other value reaches a handler.
		return []string{"100-continue"}, true
	}
	return values, ok
}

// appendFolded appends a header value without spaces at its ends, runs of
// spaces within being one.
func appendFolded(b []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	space := false
	for i := range len(value) {
		c := value[i]
		if c == ' ' || c == '\t' {
			space = true
			continue
		}
		if space {
			b, space = append(b, ' '), false
		}
		b = append(b, c)
	}
	return b
}

// escape encodes every byte but letters, digits and "-_.~" as %XX, as S3
// does; in a path, slashes stay.
func escape(s string, path bool) string {
	n := 0
	for i := range len(s) {
		if !isUnreserved(s[i], path) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	return string(AppendEscaped(make([]byte, 0, len(s)+2*n), s, path))
}

// AppendEscaped appends s with every byte but letters, digits and "-_.~" as %XX, as
// S3 signs it and MinIO takes it; in a path, slashes stay.
func AppendEscaped(b []byte, s string, path bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		if c := s[i]; isUnreserved(c, path) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

func isUnreserved(c byte, path bool) bool {
	return isAlphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~' || path && c == '/'
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
