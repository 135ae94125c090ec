package console_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Whatever a browser sends: a stranger reaches nothing, a form without its session's token
// changes nothing, no text becomes markup, and nobody is sent to another site.
func FuzzRequests(f *testing.F) {
	for _, page := range append(pages(), "/login", "/download?bucket=b&key=k", "/bucket?name="+evil, "//evil.example/", "/audit?since=x&until=2026-01-01T00:00", "/style.css") {
		f.Add(false, page, "", "")
		f.Add(true, page, "", "")
	}
	for _, form := range []string{"/bucket/rule", "/keys/create", "/bucket/upload"} {
		f.Add(true, form, "application/x-www-form-urlencoded", "token=x&bucket=b&mode=kms&key="+evil)
		f.Add(true, form+"?token=x", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\ny\r\n--x--\r\n")
	}
	f.Add(false, "/login", "application/x-www-form-urlencoded", "access_key=root&secret_key=%zz&access_key=alice")
	stranger, root := newBrowser(f), newBrowser(f).login("root")
	f.Fuzz(func(t *testing.T, known bool, target, contentType, body string) {
		b := stranger
		if known {
			b = root
		}
		method := http.MethodGet
		if contentType != "" {
			method = http.MethodPost
		}
		r, err := http.NewRequest(method, "https://console.example"+target, strings.NewReader(body))
		if err != nil || !strings.HasPrefix(r.URL.Path, "/") || r.URL.Path == "/logout" {
			return
		}
		r.RemoteAddr = b.from
		r.Header.Set("Content-Type", contentType)
		if known {
			r.AddCookie(b.cookie)
		}
		asked := len(b.proxy.asked)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		checkPage(t, r, w.Result())
		if !known && len(b.proxy.asked) != asked {
			t.Fatalf("a stranger has the proxy asked %v", b.proxy.asked[asked:])
		}
		if len(b.proxy.stored) != 0 {
			t.Fatalf("%s %q changes %v", method, target, b.proxy.stored)
		}
		b.proxy.asked, stranger.proxy.asked = nil, nil
		b.log.Reset()
	})
}

func checkPage(t *testing.T, r *http.Request, resp *http.Response) {
	t.Helper()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		t.Fatalf("%s %s: %d %s, %v", r.Method, r.URL, resp.StatusCode, text, err)
	}
	if to := resp.Header.Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\")) {
		t.Fatalf("%s leads to %q", r.URL, to)
	}
	if resp.Header.Get("Content-Type") == "application/octet-stream" {
		return // saved, and never shown
	}
	if lower := strings.ToLower(string(text)); strings.Contains(lower, "<script") || strings.Contains(lower, "javascript:") && strings.Contains(lower, `href="javascript:`) {
		t.Fatalf("%s shows %s", r.URL, text)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); len(text) > 0 && resp.StatusCode < 300 && (!strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe")) {
		t.Fatalf("%s has the policy %q", r.URL, csp)
	}
}
