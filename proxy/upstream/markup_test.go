package upstream

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// tokens returns a document's tokens; adjacent text is one.
func tokens(text string) ([]string, error) {
	m, err := newMarkup(text)
	if err != nil {
		return nil, err
	}
	var out []string
	for {
		kind, value, err := m.next()
		if err != nil || kind == tokenEnd {
			return out, err
		}
		out = append(out, [...]string{"", "<", "</", ""}[kind]+value)
	}
}

// tokensOfXML is the same by encoding/xml.
func tokensOfXML(text string) ([]string, error) {
	dec := xml.NewDecoder(strings.NewReader(text))
	var out []string
	depth := 0
	for {
		token, err := dec.Token() // which checks that elements match
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return out, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			out = append(out, "<"+t.Name.Local)
			depth++
		case xml.EndElement:
			out = append(out, "</"+t.Name.Local)
			depth--
		case xml.CharData:
			if depth > 0 {
				out = append(out, string(t))
			}
		}
	}
}

func TestMarkupIsReadAsXMLIs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		pageV2, pageVersions,
		"<a/>", "<a></a>", "\n<a>\n <b>x</b>\n</a>\n", "<a><b/><c.d-e_1>&lt;&gt;&amp;&quot;&apos;</c.d-e_1></a>",
		"<a>&#34;&#x1F600;&#xd;&#10;</a>", "<a>ü > 日本</a>", `<?xml version="1.0" encoding="UTF-8"?><a></a>`,
	} {
		got, err := tokens(text)
		want, _ := tokensOfXML(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q:\n got %q, %v\nwant %q", text, got, err, want)
		}
	}
}

func TestMarkupThatMinIODoesNotWriteIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", " ", "x", "<a>", "</a>", "<a></a>x", "<a></a><b></b>", "<a", "<a></a", "<>x</>",
		"<a><!-- c --></a>", "<a><![CDATA[x]]></a>", "<a><?p x?></a>", "<!DOCTYPE a><a></a>", `<a b="c"></a>`, "<a ></a>", "<a></a >",
		"<a>&nbsp;</a>", "<a>&amp</a>", "<a>&;</a>", "<a>&#;</a>", "<a>&#x;</a>", "<a>&#0;</a>", "<a>&#x1;</a>", "<a>&#xD800;</a>", "<a>&#xFFFFFFFF;</a>", "<a>&#+9;</a>",
		"<a>\x01</a>", "<a>\r</a>", "<a>\xff</a>", "<a>\uFFFE</a>", "<a>]]></a>", "<1></1>", "<-a></-a>", "<a:b></a:b>", "<a~></a~>", "<ä></ä>",
		`<a><b xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></b></a>`, `<a xmlns="x"></a>`, "<a//>", "</a/>",
	} {
		if got, err := tokens(text); !errors.Is(err, errMarkup) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}

func FuzzMarkup(f *testing.F) {
	for _, seed := range []string{pageV2, pageVersions, "<a>&#x41;<b/></a>", "<a>]]&gt;</a>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := tokens(text)
		if err != nil {
			return
		}
		want, err := tokensOfXML(text)
		if err != nil && elementsMatch(got) || err == nil && !slices.Equal(got, want) {
			t.Fatalf("%q:\n got %q\nwant %q, %v", text, got, want, err)
		}
	})
}

// elementsMatch says that each end is that of the element that is open, which
// markup leaves to its reader.
func elementsMatch(all []string) bool {
	var open []string
	for _, one := range all {
		if name, ok := strings.CutPrefix(one, "</"); ok {
			if len(open) == 0 || open[len(open)-1] != name {
				return false
			}
			open = open[:len(open)-1]
		} else if name, ok := strings.CutPrefix(one, "<"); ok {
			open = append(open, name)
		}
	}
	return len(open) == 0
}
