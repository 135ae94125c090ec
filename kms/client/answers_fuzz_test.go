package client

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/kms"
)

// What a key server answers with comes out as one of the sentinels, and as text that is fit for
// a log line; a server of ours never says "ok" by an error.
func FuzzServerError(f *testing.F) {
	for text := range exact() {
		body, _ := json.Marshal(map[string]string{"message": text})
		f.Add(400, body)
	}
	f.Add(502, []byte("<html>\x1b[2J</html>"))
	f.Add(500, []byte(`{"error":"\u202e"}`))
	f.Add(404, []byte(strings.Repeat("\xff", 600)))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := newError(status, body)
		if e.sentinel == nil || len(e.Message) > 4*maxMessage || !utf8.ValidString(e.Message) ||
			strings.ContainsFunc(e.Message, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%d %q: %v, %q", status, body, e.sentinel, e.Message)
		}
		if e.Message == "" && http.StatusText(status) != "" {
			t.Fatalf("%d %q: no message", status, body)
		}
		if text := e.Error(); text == "" || !strings.Contains(text, e.sentinel.Error()) {
			t.Fatalf("%d %q: %q", status, body, text)
		}
	})
}

// What is no answer of the API is an outage, and its bytes, which may be a key, are not told.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"plaintext":"AAAA","ciphertext":"BBBB"}`))
	f.Add([]byte(`{"names":["a"],"continue_at":"b"}`))
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","request":{"ip":"::1","path":"/v1/status"},"response":{"code":200,"time":1}}`))
	f.Add([]byte(`{"plaintext":1,"names":"secretsecret","time":"secretsecret"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var dek struct{ Plaintext, Ciphertext []byte }
		var names page
		_, audit := parseAudit(body)
		for _, err := range []error{decode("/x", body, &dek), decode("/x", body, &names), audit} {
			if err == nil {
				continue
			}
			if len(body) > 8 && strings.Contains(err.Error(), string(body)) {
				t.Fatalf("%q is told: %v", body, err)
			}
		}
		if decode("/x", body, &names) == nil {
			l := lister{prefix: "a", found: make(map[string]bool)}
			for _, name := range names.Names {
				l.add(name)
			}
			for name := range l.found {
				if kms.ValidateKeyName(name) != nil {
					t.Fatalf("%q is listed as a name", name)
				}
			}
		}
	})
}
