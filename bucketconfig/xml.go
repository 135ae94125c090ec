package bucketconfig

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	rootName  = "ServerSideEncryptionConfiguration"

	// maxXMLSize bounds the document, in bytes. A valid one has a few hundred, a long key id and comments included.
	maxXMLSize = 64 << 10
	// maxXMLDepth bounds the nesting, the root being 1. A valid document has 4.
	maxXMLDepth = 16
)

// ParseXML reads one ServerSideEncryptionConfiguration and returns its rule. A document that is not one gives an
// *InvalidRuleError; an error of r is returned wrapped and is never one.
//
// Elements that are not known are ignored, as MinIO does. Stricter than MinIO are these: a rule without an algorithm
// (which would store a rule that encrypts nothing), elements given twice, text or elements outside the root, other XML
// namespaces, document type declarations, a BucketKeyEnabled that is no boolean, and a demand to block encryption types.
func ParseXML(r io.Reader) (Rule, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxXMLSize+1))
	if err != nil {
		return Rule{}, fmt.Errorf("read encryption configuration: %w", err)
	}
	if len(data) > maxXMLSize {
		return Rule{}, invalid(fmt.Sprintf("document is larger than %d bytes", maxXMLSize))
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	p := xmlParser{dec: xml.NewDecoder(bytes.NewReader(data))}
	return p.document()
}

// XML returns the document that answers GetBucketEncryption: MinIO's bytes, and BucketKeyEnabled where it is true, as on
// AWS.
func (r Rule) XML() []byte {
	var b bytes.Buffer
	b.WriteString("<" + rootName + ` xmlns="` + namespace + `"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>`)
	escape(&b, string(r.Algorithm))
	b.WriteString("</SSEAlgorithm>")
	if r.KMSKeyID != "" {
		b.WriteString("<KMSMasterKeyID>")
		escape(&b, r.KMSKeyID)
		b.WriteString("</KMSMasterKeyID>")
	}
	b.WriteString("</ApplyServerSideEncryptionByDefault>")
	if r.BucketKeyEnabled {
		b.WriteString("<BucketKeyEnabled>true</BucketKeyEnabled>")
	}
	b.WriteString("</Rule></" + rootName + ">")
	return b.Bytes()
}

func escape(b *bytes.Buffer, s string) {
	_ = xml.EscapeText(b, []byte(s)) // a bytes.Buffer does not fail
}

// xmlParser walks the tokens itself: encoding/xml's Unmarshal takes the last of several equal elements and says nothing.
type xmlParser struct {
	dec   *xml.Decoder
	depth int
	rules int
	rule  Rule
	// Which elements the rule has had.
	hasApply, hasAlgorithm, hasKey, hasBucketKey bool
}

// next returns the next token. Errors are io.EOF at the end of a balanced document, else an *InvalidRuleError.
func (p *xmlParser) next() (xml.Token, error) {
	tok, err := p.dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, invalid(err.Error())
	}
	switch tok.(type) {
	case xml.StartElement:
		if p.depth++; p.depth > maxXMLDepth {
			return nil, invalid("elements are nested too deeply")
		}
	case xml.EndElement:
		p.depth--
	case xml.Directive:
		return nil, invalid("document type declarations are not allowed")
	}
	return tok, nil
}

func (p *xmlParser) document() (Rule, error) {
	if err := p.root(); err != nil {
		return Rule{}, err
	}
	if err := p.children(p.inRoot); err != nil {
		return Rule{}, err
	}
	if err := p.end(); err != nil {
		return Rule{}, err
	}
	if p.rules != 1 {
		return Rule{}, invalid(reasonOneRule)
	}
	return p.rule, p.rule.check()
}

// root reads up to and including the root's start tag.
func (p *xmlParser) root() error {
	text := false
	for {
		tok, err := p.next()
		if errors.Is(err, io.EOF) {
			return invalid(reasonEOF)
		}
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.CharData:
			text = text || len(bytes.TrimSpace(t)) > 0
		case xml.StartElement:
			switch {
			case t.Name.Local != rootName:
				return invalid("expected element type <" + rootName + "> but have <" + t.Name.Local + ">")
			case !is(t.Name, rootName):
				return invalid("expected element <" + rootName + "> in name space " + namespace + " but have " + t.Name.Space)
			case text:
				return invalid("text outside the root element")
			}
			return nil
		}
	}
}

// end makes sure that nothing but space and comments follows the root.
func (p *xmlParser) end() error {
	for {
		tok, err := p.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return invalid("text outside the root element")
			}
		case xml.StartElement:
			return invalid("more than one root element")
		}
	}
}

// children calls visit for each child of the element whose start tag was read last, and reads its end tag. visit reads
// the child to its end. Text between the children is ignored, as MinIO does.
func (p *xmlParser) children(visit func(xml.Name) error) error {
	for {
		tok, err := p.next()
		if err != nil {
			return err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if err := visit(t.Name); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// skip is a visit function for elements that are not known.
func (p *xmlParser) skip(xml.Name) error { return p.children(p.skip) }

func (p *xmlParser) inRoot(name xml.Name) error {
	if !is(name, "Rule") {
		return p.skip(name)
	}
	p.rules++
	// Further rules are read like the first, because MinIO names a bad algorithm in any of them before their number.
	p.rule, p.hasApply, p.hasAlgorithm, p.hasKey, p.hasBucketKey = Rule{}, false, false, false, false
	return p.children(p.inRule)
}

func (p *xmlParser) inRule(name xml.Name) error {
	switch {
	case is(name, "ApplyServerSideEncryptionByDefault"):
		if err := once(&p.hasApply, name); err != nil {
			return err
		}
		return p.children(p.inApply)
	case is(name, "BucketKeyEnabled"):
		return p.bucketKey(name)
	case is(name, "BlockedEncryptionTypes"):
		return p.children(p.inBlocked)
	}
	return p.skip(name)
}

func (p *xmlParser) inApply(name xml.Name) error {
	switch {
	case is(name, "SSEAlgorithm"):
		text, err := p.text(name)
		if err != nil {
			return err
		}
		p.rule.Algorithm = Algorithm(text)
		if p.rule.Algorithm != AES256 && p.rule.Algorithm != AWSKMS {
			return invalid(reasonAlgorithm)
		}
		return once(&p.hasAlgorithm, name)
	case is(name, "KMSMasterKeyID"):
		text, err := p.text(name)
		if err != nil {
			return err
		}
		p.rule.KMSKeyID = text
		return once(&p.hasKey, name)
	}
	return p.skip(name)
}

func (p *xmlParser) bucketKey(name xml.Name) error {
	text, err := p.text(name)
	if err != nil {
		return err
	}
	switch strings.TrimSpace(text) { // the lexical forms of xsd:boolean
	case "true", "1":
		p.rule.BucketKeyEnabled = true
	case "false", "0":
		p.rule.BucketKeyEnabled = false
	default:
		return invalid("BucketKeyEnabled is neither true nor false")
	}
	return once(&p.hasBucketKey, name)
}

// inBlocked refuses to promise what is not enforced: that no object is written with an encryption type, such as SSE-C.
func (p *xmlParser) inBlocked(name xml.Name) error {
	if !is(name, "EncryptionType") {
		return p.skip(name)
	}
	text, err := p.text(name)
	if err != nil {
		return err
	}
	if text != "NONE" {
		return invalid("BlockedEncryptionTypes is not supported")
	}
	return nil
}

// text returns the character data of the element whose start tag was read last, and reads its end tag.
func (p *xmlParser) text(name xml.Name) (string, error) {
	var b strings.Builder
	for {
		tok, err := p.next()
		if err != nil {
			return "", err
		}
		switch t := tok.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.StartElement:
			return "", invalid(name.Local + " contains an element")
		case xml.EndElement:
			return b.String(), nil
		}
	}
}

func is(name xml.Name, local string) bool {
	return name.Local == local && (name.Space == "" || name.Space == namespace)
}

func once(seen *bool, name xml.Name) error {
	if *seen {
		return invalid(name.Local + " is given more than once")
	}
	*seen = true
	return nil
}
