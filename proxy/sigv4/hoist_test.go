package sigv4

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"testing"
)

func TestHoistQueryMovesHeadersThatSDKsPutIntoTheQuery(t *testing.T) {
	t.Parallel()
	s := signing{method: "PUT", at: now()}
	s.query = "partNumber=1&x-amz-meta-A=b%20c&x-amz-server-side-encryption=AES256&y=%2F~"
	r := s.inQuery("60")
	q, err := newVerifier(t, now()).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	if q.Signed("x-amz-meta-a") {
		t.Error("a parameter counts as a signed header before it is one")
	}
	if err := q.HoistQuery(r); err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("X-Amz-Meta-A") != "b c" || r.Header.Get("X-Amz-Server-Side-Encryption") != "AES256" {
		t.Errorf("headers %v", r.Header)
	}
	if !q.Signed("X-Amz-Meta-A") || !q.Signed("x-amz-server-side-encryption") || !q.Signed("host") || !slices.IsSorted(q.SignedHeaders) {
		t.Errorf("signed headers %q", q.SignedHeaders)
	}
	left := r.URL.Query()
	for name := range left {
		if name != "partNumber" && name != "y" && !IsAuthParameter(name) {
			t.Errorf("%s is left in the query", name)
		}
	}
	if left.Get("partNumber") != "1" || left.Get("y") != "/~" || left.Get("X-Amz-Signature") == "" {
		t.Errorf("query is %v", left)
	}
}

func TestHoistQueryWorksForEveryCaller(t *testing.T) {
	t.Parallel()
	anonymous := signing{at: now(), query: "x-amz-acl=private"}.inHeader()
	anonymous.Header = http.Header{}
	for name, c := range map[string]struct {
		r      *http.Request
		signed bool
	}{
		"header":    {signing{at: now(), query: "x-amz-acl=private"}.inHeader(), true},
		"anonymous": {anonymous, false},
	} {
		q, err := newVerifier(t, now()).Verify(c.r)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.HoistQuery(c.r); err != nil || c.r.Header.Get("X-Amz-Acl") != "private" || c.r.URL.RawQuery != "" {
			t.Errorf("%s: %v, %v, %q", name, err, c.r.Header, c.r.URL.RawQuery)
		}
		if q.Signed("x-amz-acl") != c.signed {
			t.Errorf("%s: signed is %v", name, !c.signed)
		}
	}
}

func TestHoistQueryRefusesConflicts(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]signing{
		"also a header":      {query: "x-amz-meta-a=1", header: map[string]string{"x-amz-meta-a": "1"}},
		"twice":              {query: "x-amz-meta-a=1&x-amz-meta-a=2"},
		"twice, other case":  {query: "X-Amz-Meta-A=1&x-amz-meta-a=2"},
		"line end in value":  {query: "x-amz-meta-a=1%0D%0AEvil%3A%202"},
		"zero byte in value": {query: "x-amz-meta-a=1%00"},
		"space in name":      {query: "x-amz-meta%20a=1"},
		"line end in name":   {query: "x-amz-meta%0Aa=1"},
	} {
		s.at = now()
		r := s.inHeader()
		q, err := newVerifier(t, now()).Verify(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		header, query := r.Header.Clone(), r.URL.RawQuery
		if err := q.HoistQuery(r); !errors.Is(err, ErrConflictingHeader) {
			t.Errorf("%s: %v", name, err)
		}
		if !maps.EqualFunc(header, r.Header, slices.Equal) || query != r.URL.RawQuery {
			t.Errorf("%s: the request was changed", name)
		}
	}
}

func TestHoistQueryLeavesTheSignatureAlone(t *testing.T) {
	t.Parallel()
	r := signing{at: now(), query: "x-amz-security-token=forged"}.inHeader()
	q, err := newVerifier(t, now()).Verify(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.HoistQuery(r); err != nil || r.Header.Get("X-Amz-Security-Token") != "" || q.SessionToken != "" {
		t.Errorf("%v, token %q", err, r.Header.Get("X-Amz-Security-Token"))
	}
}
