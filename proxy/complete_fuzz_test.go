package proxy

import (
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

// A list of parts that is accepted is one that the rest of Complete can rely on,
// and never one that checkXML should have kept out.
func FuzzCompletionList(f *testing.F) {
	part := func(number string) string {
		return "<Part><PartNumber>" + number + "</PartNumber><ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag></Part>"
	}
	for _, seed := range []string{
		"", "<a/>", "not XML", part("1"), part("2") + part("1"), part("1") + part("1"), part("0"), part("-1"), part("10001"), part("99999999999999999999"),
		part(" 1 "), part("1") + part("3") + "<Part><PartNumber>7</PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>", "<Part/>", strings.Repeat(part("1"), 20),
		"<!DOCTYPE x>" + part("1"),
	} {
		f.Add("<CompleteMultipartUpload>" + seed + "</CompleteMultipartUpload>")
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if checkXML([]byte(body)) != nil {
			return
		}
		var list completion
		if list.parse([]byte(body)) != nil {
			return
		}
		if len(list.Parts) == 0 || len(list.Parts) > sse.MaxParts {
			t.Fatalf("%d parts", len(list.Parts))
		}
		last := 0
		for _, p := range list.Parts {
			if p.PartNumber <= last || p.PartNumber > sse.MaxParts {
				t.Fatalf("part %d after %d", p.PartNumber, last)
			}
			last = p.PartNumber
		}
		if strings.Contains(strings.ToUpper(body), "<!ENTITY") && !strings.Contains(body, "<!--") && !strings.Contains(body, "<![CDATA[") &&
			!strings.Contains(body, "<?") && !strings.ContainsAny(body, "'\"") {
			t.Fatalf("%q declares entities", body)
		}
	})
}
