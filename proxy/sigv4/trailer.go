package sigv4

import (
	"fmt"
	"strings"
)

// signatureTrailer is the name of the line that signs the trailer.
const signatureTrailer = "x-amz-trailer-signature"

// trailer is what stands between the last chunk and the end of a body: one
// field at most, in the signed variants with its signature.
type trailer struct {
	name, value string // "" if there is none
	signature   string // "" if unsigned
}

// parseTrailer parses all that follows the last chunk's header line. Lines
// end in "\n" or "\r\n", as minio-go and the AWS pages differ there, and one
// empty line may stand between field and signature, or field and end, as
// minio-go sends it. The end is an empty line; without it the body was cut.
func parseTrailer(rest []byte) (trailer, error) {
	var t trailer
	if len(rest) > 2 && strings.HasPrefix(string(rest), "\r\n") {
		return t, fmt.Errorf("%w: bytes after the end", ErrMalformedChunk)
	}
	s, ok := strings.CutSuffix(string(rest), "\r\n")
	if !ok || s != "" && s[len(s)-1] != '\n' {
		return t, ErrIncompleteBody
	}
	blank := false
	for line := range strings.Lines(s) {
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			if t.name == "" || t.signature != "" || blank {
				return t, fmt.Errorf("%w: empty line in trailer", ErrMalformedChunk)
			}
			blank = true
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !validHeaderName(name) || !validHeaderValue(value) {
			return t, fmt.Errorf("%w: trailer line", ErrMalformedChunk)
		}
		switch {
		case strings.EqualFold(name, signatureTrailer):
			if t.name == "" || t.signature != "" || !isSignature([]byte(value)) {
				return t, fmt.Errorf("%w: trailer signature", ErrMalformedChunk)
			}
			t.signature = value
		case t.name != "":
			return t, fmt.Errorf("%w: more than one trailer", ErrMalformedChunk)
		default:
			t.name, t.value = strings.ToLower(name), value
		}
	}
	return t, nil
}
