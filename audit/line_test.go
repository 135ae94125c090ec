package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzAppendText holds that what is written as a JSON string is read as the same text, on one
// line.
func FuzzAppendText(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\n\r\t\x00\x7f", "ä\u2028\u2029\u0085", "\xff\xfe", "a\xffb", "😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text := appendText(nil, s)
		var got string
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if utf8.ValidString(s) && got != s || !utf8.Valid(text) || strings.ContainsAny(string(text), "\n\r\u2028\u2029\u0085\x00") {
			t.Fatalf("%q became %q", s, text)
		}
	})
}

func TestAnEventsLine(t *testing.T) {
	t.Parallel()
	e := &Event{
		Kind: Request, Time: time.Date(2026, 11, 27, 2, 0, 0, 5000, time.UTC), RequestID: "R", AccessKey: "temp", Identity: "temporary", Source: "assume-role",
		Via: []Voucher{{"alice", "user", ""}, {"root", "configured", ""}}, Address: "192.0.2.1", Operation: "GetObject", Bucket: "b", Object: "a\nb",
		SSE: "SSE-KMS", KMSKey: "k", KMSVersion: 2, BytesOut: 7, Outcome: OK, Status: 200, Took: 3 * time.Millisecond,
	}
	got := string(appendEvent(nil, e))
	want := `"kind":"request","time":"2026-11-27T02:00:00.000005Z","request":"R","op":"GetObject","access_key":"temp","identity":"temporary","source":"assume-role",` +
		`"via":[{"access_key":"alice","identity":"user"},{"access_key":"root","identity":"configured"}],"address":"192.0.2.1","bucket":"b","object":"a\u000ab",` +
		`"sse":"SSE-KMS","kms_key":"k","kms_version":2,"bytes_out":7,"outcome":"ok","status":200,"took_us":3000`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var c chain
	lines := c.begin(nil, e.Time, Tail{}, "test")
	lines = c.add(lines, []byte(got))
	for line := range strings.Lines(string(lines)) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

func TestLongestEventFitsALine(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("\x01", 100_000)
	e := &Event{Kind: Request, RequestID: "R", AccessKey: long, Claims: long, Bucket: long, Object: long, Version: long, KMSKey: long, Reason: long}
	if n := len(appendEvent(nil, e)); n > MaxLine-1000 {
		t.Errorf("a line of %d bytes", n)
	}
}

func TestSecretsAreRemovedFromReasons(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"get \"https://h/b/k?X-Amz-Signature=abcdef&x=1\": refused": "get \"https://h/b/k?X-Amz-Signature=[redacted]&x=1\": refused",
		"x-amz-security-token=abc":                                  "x-amz-security-token=[redacted]",
		"Authorization: AWS4-HMAC-SHA256 Credential=a, Signature=b": "Authorization:[redacted]",
		"header X-Amz-Meta-Patient: Miller":                         "header X-Amz-Meta-[redacted] Miller",
		"nothing":                                                   "nothing",
	} {
		if got := Redact(text); got != want {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := Redact(strings.Repeat("x", 10_000)); len(got) > 600 {
		t.Errorf("%d bytes", len(got))
	}
}
