package kms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/kms/strictjson"
)

// ReservedContextPrefix begins the names, in whatever case, that only the proxy
// puts into an encryption context. A DEK under such a context is the proxy's
// own: the wire API neither makes nor opens one.
const ReservedContextPrefix = "bucketseal:"

// ContextUse is the entry of every encryption context that the proxy asks with. It says
// what for: nobody else gets a DEK under such a context, or one opened.
const ContextUse = ReservedContextPrefix + "use"

// MaxContextSize is the longest encryption context that ParseContext takes, in
// bytes. It is AWS KMS's limit.
const MaxContextSize = 8 << 10

// Context is an encryption context: names and values that are authenticated
// with a DEK, and without which it cannot be opened. It is not secret.
type Context map[string]string

// ParseContext reads a JSON object of strings. Names that appear twice, invalid
// UTF-8, anything but strings, anything after the object and more than
// MaxContextSize bytes are ErrInvalidContext. Reserved names pass.
func ParseContext(text []byte) (Context, error) {
	if len(text) > MaxContextSize {
		return nil, fmt.Errorf("%d bytes of at most %d: %w", len(text), MaxContextSize, ErrInvalidContext)
	}
	members, err := strictjson.Strings(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidContext, err)
	}
	return members, nil
}

// ParseClientContext is ParseContext for what a client sent: reserved names are
// ErrInvalidContext too.
func ParseClientContext(text []byte) (Context, error) {
	c, err := ParseContext(text)
	if err != nil {
		return nil, err
	}
	if c.HasReserved() {
		return nil, fmt.Errorf("names beginning with %q are reserved: %w", ReservedContextPrefix, ErrInvalidContext)
	}
	return c, nil
}

// HasReserved says whether a name is reserved.
func (c Context) HasReserved() bool {
	for name := range c {
		if isReserved(name) {
			return true
		}
	}
	return false
}

// Canonical returns the bytes that are authenticated: a JSON object without
// white space, names sorted bytewise, HTML-escaped. They are what MinIO sends to
// KES for the same context. They do not come from encoding/json, whose escapes
// differ between versions of Go. The empty context is {}.
func (c Context) Canonical() []byte {
	size := 2
	for name, value := range c {
		size += len(name) + len(value) + 6
	}
	out := append(make([]byte, 0, size), '{')
	for i, name := range slices.Sorted(maps.Keys(c)) {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendQuoted(out, name), ':')
		out = appendQuoted(out, c[name])
	}
	return append(out, '}')
}

func appendQuoted(out []byte, s string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case r == '\u2028' || r == '\u2029':
			out = append(out, `\u202`...)
			out = append(out, hex[r&0xf])
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < ' ' || r == '<' || r == '>' || r == '&':
			out = append(out, `\u00`...)
			out = append(out, hex[r>>4], hex[r&0xf])
		default:
			out = append(out, s[i:i+size]...)
		}
		i += size
	}
	return append(out, '"')
}

// ContainsReserved says whether an encryption context that came over the wire,
// and is just bytes there, is a JSON object with a reserved name. It reads
// laxly, so that bytes that another parser might take for such an object count:
// repeated names, values of any kind, a broken or missing end.
func ContainsReserved(aad []byte) bool {
	if !bytes.ContainsRune(aad, '\\') && !containsReservedText(aad) {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(aad, []byte("\ufeff"))))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return false
	}
	for {
		token, err := decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return false
		}
		if isReserved(name) {
			return true
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return false
		}
	}
}

// containsReservedText finds the prefix anywhere in text without escapes: most
// contexts have neither, and need no parsing.
func containsReservedText(text []byte) bool {
	for i, c := range text {
		if c|' ' != 'b' { // nothing else folds to the prefix's first letter
			continue
		}
		if isReserved(string(text[i:min(len(text), i+len(ReservedContextPrefix)*utf8.UTFMax)])) {
			return true
		}
	}
	return false
}

// isReserved compares by Unicode's case folding, rune by rune.
func isReserved(name string) bool {
	end := 0
	for range len(ReservedContextPrefix) {
		_, size := utf8.DecodeRuneInString(name[end:])
		end += size
	}
	return strings.EqualFold(name[:end], ReservedContextPrefix)
}
