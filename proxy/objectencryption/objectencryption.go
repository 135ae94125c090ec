// Package objectencryption reads the document of UpdateObjectEncryption, which says how an
// existing object is to be encrypted.
package objectencryption

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"github.com/bucketseal/bucketseal/sse"
)

// Error says what is wrong with a document, in words that its client may see. They are AWS's
// where it has some.
type Error struct{ Reason string }

// Error is the reason.
func (e *Error) Error() string { return e.Reason }

// What AWS answers.
var (
	errNoType    = &Error{"Requests that modify an object encryption configuration require a valid new encryption type. Valid values are SSEKMS. Modify the request to specify SSE-KMS for the updated encryption type, and then try again."}
	errOtherType = &Error{"The UpdateObjectEncryption operation doesn't support updating the encryption type to DSSE-KMS or SSE-C. Modify the request to specify SSE-KMS for the updated encryption type, and then try again."}
	errNoKey     = &Error{"Requests that modify an object's encryption type to SSE-KMS require an AWS KMS key Amazon Resource Name (ARN). Modify the request to specify a KMS key ARN, and then try again."}
	errBucketKey = &Error{"The BucketKeyEnabled value isn't valid. Valid values are true or false. Modify the request to specify a valid value, and then try again."}
	errMalformed = &Error{"The XML you provided was not well-formed or did not validate against our published schema"}
)

const (
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	// maxDepth bounds the nesting; a valid document has 3.
	maxDepth = 8
)

// element is an element with what is in it.
type element struct {
	name     string
	text     string
	children []*element
}

// Parse reads a document. SSE-S3, which AWS does not take, is an extension. *Error.
func Parse(document []byte) (*sse.Request, error) {
	root, err := tree(document)
	if err != nil {
		return nil, err
	}
	if root.name != "ObjectEncryption" {
		return nil, errMalformed
	}
	if len(root.children) != 1 {
		return nil, errNoType
	}
	switch kind := root.children[0]; kind.name {
	case "SSE-KMS":
		return parseKMS(kind)
	case "SSE-S3":
		if len(kind.children) > 0 {
			return nil, errMalformed
		}
		return &sse.Request{Mode: sse.ModeS3}, nil
	case "SSE-C", "DSSE-KMS":
		return nil, errOtherType
	}
	return nil, errNoType
}

func parseKMS(kind *element) (*sse.Request, error) {
	asked := &sse.Request{Mode: sse.ModeKMS, BucketKey: new(bool)}
	seen := make(map[string]bool)
	for _, c := range kind.children {
		if seen[c.name] || len(c.children) > 0 {
			return nil, errMalformed
		}
		seen[c.name] = true
		text := strings.TrimSpace(c.text)
		switch c.name {
		case "KMSKeyArn":
			asked.KMSKeyID = text
		case "BucketKeyEnabled":
			if text != "true" && text != "false" {
				return nil, errBucketKey
			}
			*asked.BucketKey = text == "true"
		default:
			return nil, errMalformed
		}
	}
	if asked.KMSKeyID == "" {
		return nil, errNoKey
	}
	return asked, nil
}

// tree reads the document's one element.
func tree(document []byte) (*element, error) {
	dec := xml.NewDecoder(bytes.NewReader(document))
	top := &element{}
	open := []*element{top}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errMalformed
		}
		in := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			if len(open) > maxDepth || t.Name.Space != "" && t.Name.Space != namespace {
				return nil, errMalformed
			}
			child := &element{name: t.Name.Local}
			in.children = append(in.children, child)
			open = append(open, child)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			in.text += string(t)
		case xml.Directive: // a document type
			return nil, errMalformed
		}
	}
	if len(top.children) != 1 || strings.TrimSpace(top.text) != "" {
		return nil, errMalformed
	}
	return top.children[0], nil
}
