package intake

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestXMLThatIsMadeToCostIsRefused(t *testing.T) {
	t.Parallel()
	parts := strings.Repeat("<Part><PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag><A/><B/><C/><D/><E/></Part>", 10_000)
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	for name, tc := range map[string]struct {
		doc string
		ok  bool
	}{
		"nothing":              {"", true},
		"JSON":                 {`{"Statement": "a < b"}`, true},
		"a tagging":            {`<?xml version="1.0"?><Tagging><TagSet><Tag><Key>a</Key><Value>&lt;!DOCTYPE</Value></Tag></TagSet></Tagging>`, true},
		"ten thousand parts":   {"<CompleteMultipartUpload>" + parts + "</CompleteMultipartUpload>", true},
		"more elements":        {"<a>" + strings.Repeat("<b/>", maxXMLElements) + "</a>", false},
		"as deep as may be":    {nested(maxXMLDepth), true},
		"deeper":               {nested(maxXMLDepth + 1), false},
		"never closed":         {strings.Repeat("<a>", maxXMLDepth+1), false},
		"closed in between":    {strings.Repeat("<a></a>", 1000), true},
		"document type":        {`<!DOCTYPE a [<!ENTITY l "lol">]><Delete>&l;</Delete>`, false},
		"entity":               {`<Delete><!ENTITY l SYSTEM "file:///etc/passwd"></Delete>`, false},
		"in a comment":         {`<a><!-- <!DOCTYPE x> <b> --></a>`, true},
		"behind a comment":     {`<a><!-- --><!DOCTYPE x></a>`, false},
		"in CDATA":             {`<a><![CDATA[<!ENTITY x>]]></a>`, true},
		"behind CDATA":         {`<a><![CDATA[]]><!ENTITY x></a>`, false},
		"in an instruction":    {`<?x <!ENTITY ?><a/>`, true},
		"in an attribute":      {`<a b=">" c='<!ENTITY'/>`, true},
		"behind an attribute":  {`<a b=">"/><!DOCTYPE x>`, false},
		"an open comment":      {`<a><!-- <!DOCTYPE x>`, true},
		"an open tag":          {`<a b="`, true},
		"a lone angle bracket": {"<", true},
	} {
		if err := checkXML([]byte(tc.doc)); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrMalformedXML) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of what Go's parser reads to its end, nothing passes that has a declaration or
// is nested more deeply than allowed.
func FuzzCheckXML(f *testing.F) {
	for _, seed := range []string{
		"<a/>", `<!DOCTYPE a><a/>`, `<a b=">"><![CDATA[<]]></a>`, "<?x?><a><!-- --></a>", strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		err := checkXML(doc)
		dec := xml.NewDecoder(strings.NewReader(string(doc)))
		depth, deepest, declared := 0, 0, false
		for {
			token, parseErr := dec.Token()
			if parseErr == io.EOF {
				break
			}
			if parseErr != nil {
				return
			}
			switch token.(type) {
			case xml.StartElement:
				depth++
				deepest = max(deepest, depth)
			case xml.EndElement:
				depth--
			case xml.Directive:
				declared = true
			}
		}
		// An element of its own counts only while it is open: it is a level less.
		if err == nil && (declared || deepest > maxXMLDepth+1) {
			t.Errorf("%q passes: depth %d, declared %v", doc, deepest, declared)
		}
	})
}
