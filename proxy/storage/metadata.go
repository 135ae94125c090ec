package storage

import (
	"mime"
	"strings"
	"unicode"
)

// AsStored undoes the encoding of RFC 2047 in which MinIO answers metadata that is
// not ASCII: stored so, the copy's would be another text in a listing. What no
// header can carry was sent encoded by the client, and stays so.
func AsStored(values []string) []string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = value
		raw, err := new(mime.WordDecoder).DecodeHeader(value)
		if err != nil || mime.QEncoding.Encode("UTF-8", raw) != value {
			continue
		}
		if strings.TrimSpace(raw) == raw && !strings.ContainsFunc(raw, unicode.IsControl) {
			out[i] = raw
		}
	}
	return out
}
