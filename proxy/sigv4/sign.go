package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
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
type Signer struct{ keys keyCache }

// Sign adds X-Amz-Date and Authorization to r, whose other headers are signed as
// they are. r's query must be written in signing order already. payload is the
// hash of r's body, or what stands for it.
func (s *Signer) Sign(r *http.Request, service Service, region, accessKey, secret, payload string, now time.Time) {
	now = now.UTC()
	r.Header.Set("X-Amz-Date", now.Format(timeFormat))
	c := &claim{
		accessKey: accessKey, day: now.Format(dayFormat), region: region, service: string(service),
		date: now, signedHeaders: headersToSign(r.Header),
	}
	key, cached := s.keys.get(c, secret)
	if !cached {
		s.keys.put(c, secret, key)
	}
	names := strings.Join(c.signedHeaders, ";")
	scratch := make([]byte, 0, 2<<10)
	scratch = appendToSign(scratch, r, c.signedHeaders)
	scratch = append(append(scratch, names...), '\n')
	scratch = append(scratch, payload...)
	sum := key.sign(c, sha256.Sum256(scratch), &scratch)
	r.Header.Set("Authorization", algorithm+" Credential="+accessKey+"/"+c.scope()+", SignedHeaders="+names+", Signature="+hex.EncodeToString(sum[:]))
}

// headersToSign returns the lower-case names of a request's headers and of its
// host, sorted, without those that are changed on the way.
func headersToSign(h http.Header) []string {
	names := make([]string, 1, len(h)+1)
	names[0] = "host"
	for name := range h {
		switch name {
		case "Accept-Encoding", "Authorization", "User-Agent":
		default:
			names = append(names, strings.ToLower(name))
		}
	}
	slices.Sort(names)
	return names
}

// appendToSign appends a canonical request up to the list of its headers. In a
// value every kind of space counts, as for who verifies it: MinIO.
func appendToSign(b []byte, r *http.Request, names []string) []byte {
	for _, line := range []string{r.Method, escape(r.URL.Path, true), r.URL.RawQuery} {
		b = append(append(b, line...), '\n')
	}
	for _, name := range names {
		b = append(append(b, name...), ':')
		values, _ := headerValues(r, name)
		for i, value := range values {
			if i > 0 {
				b = append(b, ',')
			}
			first := true
			for word := range strings.FieldsSeq(value) {
				if !first {
					b = append(b, ' ')
				}
				b, first = append(b, word...), false
			}
		}
		b = append(b, '\n')
	}
	return append(b, '\n')
}
