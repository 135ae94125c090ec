package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Service is what a signature is good for.
type Service string

// The services that requests are signed for.
const (
	S3  Service = s3Service
	STS Service = stsService
)

// Signer signs requests to another server. It keeps signing keys, which cost
// more to derive than all the rest of a signature. The zero value is ready; it
// is safe for concurrent use.
type Signer struct {
	keys keyCache
	work sync.Pool // of *signWork
}

// Sign adds X-Amz-Date and Authorization to r, whose other headers are signed as
// they are. r's query must be written in signing order already. payload is the
// hash of r's body, or what stands for it.
func (s *Signer) Sign(r *http.Request, service Service, region, accessKey, secret, payload string, now time.Time) {
	now = now.UTC()
	stamp := now.Format(timeFormat)
	values := []string{stamp, ""}
	r.Header["X-Amz-Date"] = values[:1:1]
	c := &claim{
		accessKey: accessKey, day: stamp[:len(dayFormat)], region: region, service: string(service), date: now,
	}
	key, cached := s.keys.get(c, secret)
	if !cached {
		s.keys.put(c, secret, key)
	}
	w, _ := s.work.Get().(*signWork)
	if w == nil {
		w = new(signWork)
	}
	w.headersToSign(r)
	b := appendToSign(w.buf[:0], r, w.headers)
	b = append(appendNames(b, w.headers), '\n')
	w.buf = append(b, payload...)
	sum := key.sign(c, sha256.Sum256(w.buf), &w.buf)

	b = append(append(w.buf[:0], algorithm+" Credential="...), accessKey...)
	b = c.appendScope(append(b, '/'))
	b = appendNames(append(b, ", SignedHeaders="...), w.headers)
	w.buf = hex.AppendEncode(append(b, ", Signature="...), sum[:])
	values[1] = string(w.buf)
	r.Header["Authorization"] = values[1:2:2]
	clear(w.headers)
	if cap(w.buf) <= maxPooledScratch {
		s.work.Put(w)
	}
}

// signWork is memory that signatures are made in, one after the other.
type signWork struct {
	buf     []byte
	headers []headerToSign
}

// headerToSign is a header by its lower-case name.
type headerToSign struct {
	name   string
	values []string
}

// headersToSign finds a request's headers and its host, sorted, without those that
// are changed on the way.
func (w *signWork) headersToSign(r *http.Request) {
	headers := w.headers[:0]
	host, _ := headerValues(r, "host")
	headers = append(headers, headerToSign{"host", host})
	for name, values := range r.Header {
		switch name {
		case "Accept-Encoding", "Authorization", "User-Agent":
			continue
		}
		lower := lowerCase(name)
		switch lower {
		case "host", "content-length", "transfer-encoding": // net/http keeps them elsewhere
			values, _ = headerValues(r, lower)
		}
		headers = append(headers, headerToSign{lower, values})
	}
	slices.SortFunc(headers, func(a, b headerToSign) int { return strings.Compare(a.name, b.name) })
	w.headers = headers
}

// lowerCase returns a header's name as it is signed.
func lowerCase(name string) string {
	switch name { // what nearly every request has
	case "X-Amz-Date":
		return "x-amz-date"
	case "X-Amz-Content-Sha256":
		return "x-amz-content-sha256"
	case "X-Amz-Security-Token":
		return "x-amz-security-token"
	case "X-Forwarded-For":
		return "x-forwarded-for"
	case "X-Real-Ip":
		return "x-real-ip"
	case "Content-Type":
		return "content-type"
	case "Range":
		return "range"
	case "If-Match":
		return "if-match"
	}
	return strings.ToLower(name)
}

// appendNames appends the list of headers' names.
func appendNames(b []byte, headers []headerToSign) []byte {
	for i, h := range headers {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, h.name...)
	}
	return b
}

// appendToSign appends a canonical request up to the list of its headers. In a
// value every kind of space counts, as for who verifies it: MinIO.
func appendToSign(b []byte, r *http.Request, headers []headerToSign) []byte {
	b = append(append(b, r.Method...), '\n')
	b = append(AppendEscaped(b, r.URL.Path, true), '\n')
	b = append(append(b, r.URL.RawQuery...), '\n')
	for _, h := range headers {
		b = append(append(b, h.name...), ':')
		for i, value := range h.values {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendWords(b, value)
		}
		b = append(b, '\n')
	}
	return append(b, '\n')
}

// appendWords appends a value with one blank for each run of spaces.
func appendWords(b []byte, value string) []byte {
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f {
			first := true
			for word := range strings.FieldsSeq(value) {
				if !first {
					b = append(b, ' ')
				}
				b, first = append(b, word...), false
			}
			return b
		}
	}
	return append(b, value...)
}
