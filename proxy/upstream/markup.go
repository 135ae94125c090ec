package upstream

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// errMarkup says that a document is not the plain XML that MinIO writes.
var errMarkup = errors.New("not the XML that MinIO writes")

// markup walks a document of the plain kind that MinIO writes: elements without
// attributes but for the root's, text, the five named entities and numeric
// references. Everything else that XML knows (comments, CDATA, processing
// instructions, declarations) is errMarkup, as is what XML forbids: here nothing
// is guessed. A listing is a megabyte of it, and encoding/xml takes ten times as
// long.
type markup struct {
	rest  string
	depth int
	// closing is the name of an element that ended where it began.
	closing string
	began   bool
}

// rootAttribute is the only attribute that is accepted, on the root.
const rootAttribute = ` xmlns="http://s3.amazonaws.com/doc/2006-03-01/"`

// tokenKind is what a token is.
type tokenKind int

const (
	tokenEnd   tokenKind = iota // of a complete document
	tokenOpen                   // of the element that value names
	tokenClose                  // of the element that value names
	tokenText                   // value is the text, decoded
)

// newMarkup checks the document's characters. errMarkup.
func newMarkup(text string) (*markup, error) {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\n' && c != '\t' {
			return nil, errMarkup
		}
	}
	if !utf8.ValidString(text) || strings.Contains(text, "\uFFFE") || strings.Contains(text, "\uFFFF") {
		return nil, errMarkup
	}
	if strings.HasPrefix(text, "<?xml ") {
		end := strings.Index(text, "?>")
		if end < 0 {
			return nil, errMarkup
		}
		text = text[end+len("?>"):]
	}
	return &markup{rest: text}, nil
}

// next returns the next token. Values share the document's memory.
func (m *markup) next() (kind tokenKind, value string, err error) {
	if m.closing != "" {
		value, m.closing = m.closing, ""
		m.depth--
		return tokenClose, value, nil
	}
	if m.depth == 0 {
		m.rest = strings.TrimLeft(m.rest, " \t\n")
		if m.rest == "" && m.began {
			return tokenEnd, "", nil
		}
		if m.began { // one root, and nothing behind it
			return 0, "", errMarkup
		}
	}
	i := strings.IndexByte(m.rest, '<')
	switch {
	case i < 0, i > 0 && m.depth == 0:
		return 0, "", errMarkup
	case i > 0:
		value, m.rest = m.rest[:i], m.rest[i:]
		value, err = decodeText(value)
		return tokenText, value, err
	}
	end := strings.IndexByte(m.rest, '>')
	if end < 0 {
		return 0, "", errMarkup
	}
	tag := m.rest[1:end]
	m.rest = m.rest[end+1:]
	return m.tag(tag)
}

// tag returns the token of what stands between < and >.
func (m *markup) tag(tag string) (kind tokenKind, name string, err error) {
	if name, ok := strings.CutPrefix(tag, "/"); ok {
		if m.depth--; !isElementName(name) || m.depth < 0 {
			return 0, "", errMarkup
		}
		return tokenClose, name, nil
	}
	name, empty := strings.CutSuffix(tag, "/")
	if m.depth == 0 {
		name = strings.TrimSuffix(name, rootAttribute)
	}
	if !isElementName(name) {
		return 0, "", errMarkup
	}
	m.depth++
	m.began = true
	if empty {
		m.closing = name
	}
	return tokenOpen, name, nil
}

// isElementName accepts the names that MinIO's own elements have, and those of
// metadata that XML can carry. Names with colons would be namespaces.
func isElementName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.'):
		default:
			return false
		}
	}
	return name != ""
}

// decodeText resolves references.
func decodeText(text string) (string, error) {
	if strings.Contains(text, "]]>") {
		return "", errMarkup
	}
	i := strings.IndexByte(text, '&')
	if i < 0 {
		return text, nil
	}
	var b strings.Builder
	b.Grow(len(text))
	for ; i >= 0; i = strings.IndexByte(text, '&') {
		b.WriteString(text[:i])
		name, rest, ok := strings.Cut(text[i+1:], ";")
		r, known := reference(name)
		if !ok || !known {
			return "", errMarkup
		}
		b.WriteRune(r)
		text = rest
	}
	b.WriteString(text)
	return b.String(), nil
}

// reference returns the character that a reference stands for.
func reference(name string) (rune, bool) {
	switch name {
	case "amp":
		return '&', true
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, base := strings.TrimPrefix(name, "#"), 10
	if digits == name {
		return 0, false
	}
	if strings.HasPrefix(digits, "x") {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	return rune(n), err == nil && isCharacter(rune(n))
}

// isCharacter says whether XML 1.0 allows a character (section 2.2).
func isCharacter(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= ' ' && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}
