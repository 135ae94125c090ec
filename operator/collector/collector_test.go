package collector

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestHeadersDoNotPrint(t *testing.T) {
	t.Parallel()
	headers, err := ParseHeaders([]string{"Authorization = Bearer secret-token", "X-Key=a=b"})
	if err != nil || len(headers) != 2 || headers[0].Name != "Authorization" || headers[0].Value() != "Bearer secret-token" || headers[1].Value() != "a=b" {
		t.Fatalf("%d headers, %v", len(headers), err)
	}
	s := Settings{Headers: headers}
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, headers[0], headers[0]), string(encoded)} {
		if strings.Contains(text, "secret-token") || !strings.Contains(text, "Authorization") {
			t.Errorf("%s", text)
		}
	}
	if got := s.Lines(); got != "Authorization=Bearer secret-token\nX-Key=a=b" {
		t.Errorf("%q", got)
	}
}

func TestWhatIsNoCollectorIsRefusedUnquoted(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "collector:4318", "ftp://secret-host", "http://", "http://user:secret@host", "http://host?key=secret", "http://host#secret", "http://secret host"} {
		if u, err := ParseEndpoint(bad); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, %v", bad, u, err)
		}
	}
	for _, bad := range []string{"secret", "=secret", "a b=secret", "a=", "a=secret\r\nb: c"} {
		if h, err := ParseHeaders([]string{"X=y", bad}); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "entry 2") {
			t.Errorf("%q: %v, %v", bad, h, err)
		}
	}
	for _, bad := range []string{"", "x", "NaN", "-0.1", "1.1", "Inf"} {
		if r, err := ParseRatio(bad); err == nil {
			t.Errorf("%q: %v", bad, r)
		}
	}
}
