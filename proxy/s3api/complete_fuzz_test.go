package s3api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/sse"
)

// handled is an API whose requests are handled by a test.
type handled struct {
	*API
	do func(r *intake.Request)
}

// Name implements intake.Handler.
func (handled) Name(*intake.Request) error { return nil }

// Handle implements intake.Handler.
func (h handled) Handle(_ *intake.Answer, r *intake.Request) error {
	h.do(r)
	return nil
}

// Describe implements intake.Handler.
func (handled) Describe(err error) *intake.Error { return Describe(err) }

// WriteError implements intake.Handler.
func (handled) WriteError(*intake.Answer, *intake.Request, *intake.Error) {}

// parsedList is the list of parts in the body of a CompleteMultipartUpload, nil if it is
// refused.
func (s *API) parsedList(t *testing.T, body string) (list *completion) {
	t.Helper()
	found, err := s.table.Find(route.Object, http.MethodPost, url.Values{"uploadId": {"u"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.in.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/b/k?uploadId=u", strings.NewReader(body)), false, handled{s, func(r *intake.Request) {
		r.Route = found.Route()
		if err := s.in.Verify(r); err != nil {
			t.Fatal(err)
		}
		doc, err := s.in.Document(r)
		if err != nil {
			return
		}
		var parsed completion
		if parsed.parse(doc) == nil {
			list = &parsed
		}
	}})
	return list
}

func TestListsOfPartsAreReadAndGuarded(t *testing.T) {
	t.Parallel()
	s := newAPI(t, nil)
	const list = "<CompleteMultipartUpload><Part><PartNumber>2</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"
	if got := s.parsedList(t, list); got == nil || len(got.Parts) != 1 || got.Parts[0].PartNumber != 2 {
		t.Errorf("a list of one part is read as %v", got)
	}
	if got := s.parsedList(t, "<!DOCTYPE x>"+list); got != nil {
		t.Errorf("a document type is read as %v", got)
	}
}

// A list of parts that is accepted is one that the rest of Complete can rely on,
// and never one that package intake should have kept out.
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
	s := newAPI(f, nil)
	f.Fuzz(func(t *testing.T, body string) {
		list := s.parsedList(t, body)
		if list == nil {
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
