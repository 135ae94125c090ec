package s3api

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
)

func TestEscapeXML(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"<a>&'\"":       "&lt;a&gt;&amp;&#39;&#34;",
		"a&amp;b":       "a&amp;amp;b",
		"\t\n\r":        "&#x9;&#xA;&#xD;",
		"\x00\x01\x1f":  "&#x0;&#x1;&#x1F;",
		"ü€😀":           "ü€😀",
		"]]>":           "]]&gt;",
		"end<":          "end&lt;",
		"<start":        "&lt;start",
		"\x7f\u0085 ok": "\x7f\u0085 ok",
	} {
		var b bytes.Buffer
		escapeXML(&b, in)
		if b.String() != want {
			t.Errorf("%q: %q, want %q", in, b.String(), want)
		}
	}
}

func FuzzEscapeXML(f *testing.F) {
	f.Add("a<b>&\"'\n")
	f.Add("</Key><Key>evil")
	f.Add("not UTF-8: \xa3")
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		element(&b, "Key", text)
		if strings.ContainsAny(strings.TrimSuffix(strings.TrimPrefix(b.String(), "<Key>"), "</Key>"), "<>\"'\n\r\t") {
			t.Fatalf("%q is written as %q", text, b.String())
		}
		var back struct {
			Text string `xml:",chardata"`
		}
		if err := xml.Unmarshal(b.Bytes(), &back); err != nil {
			if strings.ContainsFunc(text, notXML) {
				return // XML 1.0 cannot say these characters
			}
			t.Fatalf("%q is written as %q: %v", text, b.String(), err)
		}
		if back.Text != strings.ToValidUTF8(text, "\uFFFD") { // XML is text
			t.Fatalf("%q comes back as %q", text, back.Text)
		}
	})
}

// notXML says whether XML 1.0 has no way to write a character.
func notXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFD' || r == '\uFFFE' || r == '\uFFFF'
}

func errorAnswer(method, target, bucket, key string, e *intake.Error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := &intake.Request{Request: httptest.NewRequest(method, target, nil), ID: "ID", Bucket: bucket, Key: key}
	(&call{scope: route.Object}).WriteError(&intake.Answer{ResponseWriter: w}, r, e)
	return w
}

func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	w := errorAnswer("GET", "/b/a%3Cb", "b", "a<b", &intake.Error{Status: 404, Code: "NoSuchKey", Message: "It's gone.", Header: http.Header{"X-Amz-Version-Id": {"v"}}})
	want := xml.Header + "<Error><Code>NoSuchKey</Code><Message>It&#39;s gone.</Message><Key>a&lt;b</Key><BucketName>b</BucketName>" +
		"<Resource>/b/a&lt;b</Resource><RequestId>ID</RequestId><HostId></HostId></Error>"
	if w.Code != 404 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/xml" || w.Header().Get("X-Amz-Version-Id") != "v" {
		t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestErrorsOfHEADStandInHeaders(t *testing.T) {
	t.Parallel()
	w := errorAnswer("HEAD", "/b/k", "b", "k", intake.NewError(403, "AccessDenied", `Say "no".`))
	if w.Code != 403 || w.Body.Len() != 0 || w.Header().Get("X-Minio-Error-Code") != "AccessDenied" || w.Header().Get("X-Minio-Error-Desc") != `"Say \"no\"."` {
		t.Errorf("got %d %v %q", w.Code, w.Header(), w.Body)
	}
}

func TestNotModifiedHasNoBody(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "HEAD"} {
		w := errorAnswer(method, "/b/k", "b", "k", intake.NewError(304, "NotModified", ""))
		if w.Code != 304 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "" {
			t.Errorf("%s: %d %v %q", method, w.Code, w.Header(), w.Body)
		}
	}
}

func TestUnavailableSaysWhenToTryAgain(t *testing.T) {
	t.Parallel()
	if w := errorAnswer("GET", "/", "", "", intake.NewError(503, "SlowDown", "x")); w.Header().Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}
