package intake

import "bytes"

const (
	// maxXMLDepth and maxXMLElements bound a client's document. The deepest that S3
	// has is a lifecycle configuration; the longest, a list of 10,000 parts with all
	// their checksums.
	maxXMLDepth    = 32
	maxXMLElements = 100_000
)

// checkXML refuses documents that are made to cost those who parse them, here and
// at MinIO: declarations of types and entities, deep nesting, endless elements.
// ErrMalformedXML. It says nothing of whether a document is XML otherwise, nor of
// what is no XML at all.
func checkXML(doc []byte) error {
	depth, elements := 0, 0
	for {
		i := bytes.IndexByte(doc, '<')
		if i < 0 {
			return nil
		}
		doc = doc[i+1:]
		var end string
		switch {
		case bytes.HasPrefix(doc, []byte("?")):
			end = "?>"
		case bytes.HasPrefix(doc, []byte("!--")):
			end = "-->"
		case bytes.HasPrefix(doc, []byte("![CDATA[")):
			end = "]]>"
		case bytes.HasPrefix(doc, []byte("!")):
			return ErrMalformedXML // DOCTYPE, ENTITY and their like: no S3 document has one
		case bytes.HasPrefix(doc, []byte("/")):
			depth--
			continue
		default:
			rest, empty := afterTag(doc)
			if elements++; !empty {
				depth++
			}
			if depth > maxXMLDepth || elements > maxXMLElements {
				return ErrMalformedXML
			}
			doc = rest
			continue
		}
		i = bytes.Index(doc, []byte(end))
		if i < 0 {
			return nil
		}
		doc = doc[i+len(end):]
	}
}

// afterTag returns what follows a start tag, whose attributes may hold '>', and
// whether the tag is an element of its own.
func afterTag(doc []byte) (rest []byte, empty bool) {
	quote := byte(0)
	for i, c := range doc {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return doc[i+1:], i > 0 && doc[i-1] == '/'
		}
	}
	return nil, false
}
