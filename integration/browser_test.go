package integration

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A page of another origin uploads by script, reads back what it wrote, and then
// submits a plain form whose answer sends the browser on.
func TestABrowserUploadsByForm(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	var page *httptest.Server
	arrived := make(chan string, 1)
	done := make(chan struct{})
	page = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, uploadPage(c, bucket, page.URL))
		case "/done":
			arrived <- r.URL.Query().Get("key")
			close(done)
		case "/hold": // the browser ends once the page is complete, this image included
			select {
			case <-done:
			case <-time.After(20 * time.Second):
			}
		}
	}))
	t.Cleanup(page.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--dump-dom", page.URL+"/").Output()
	if err != nil {
		t.Fatalf("chromium: %v: %s", err, out)
	}
	select {
	case key := <-arrived:
		if key != "form/text" {
			t.Errorf("the browser was sent on for %q", key)
		}
	default:
		t.Fatalf("the browser was not sent on; it shows %s", out)
	}
	encrypted := map[string]string{"X-Amz-Server-Side-Encryption": "AES256"}
	c.get(t, bucket, "script/häß lich.txt", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("by script")).wantHeader(t, encrypted)
	c.get(t, bucket, "form/text", nil).wantStatus(t, http.StatusOK).wantBody(t, []byte("by form")).wantHeader(t, encrypted)
}

// uploadPage is the page that uploads.
func uploadPage(c *client, bucket, own string) string {
	url := c.endpoint + "/" + bucket
	script := postForm{fields: [][2]string{{"key", "script/${filename}"}}}
	plain := postForm{fields: [][2]string{{"key", "form/text"}, {"success_action_redirect", own + "/done"}}}
	var b strings.Builder
	fmt.Fprintf(&b, `<form id=f target=frame method=post enctype="multipart/form-data" action=%q>`, url)
	for _, f := range plain.signed(c, bucket) {
		fmt.Fprintf(&b, `<input type=hidden name=%q value="%s">`, f[0], html.EscapeString(f[1]))
	}
	b.WriteString(`<textarea name=file>by form</textarea></form><iframe name=frame></iframe><img src=/hold><p id=log></p><script>
const form = new FormData();
`)
	for _, f := range script.signed(c, bucket) {
		fmt.Fprintf(&b, "form.append(%q, %q);\n", f[0], f[1])
	}
	fmt.Fprintf(&b, `form.append("file", new File(["by script"], "häß lich.txt"));
fetch(%q, {method: "POST", body: form}).then(answer => {
  if (answer.status !== 204 || !answer.headers.get("ETag")) throw new Error("status " + answer.status);
  document.getElementById("f").submit();
}).catch(err => { document.getElementById("log").textContent = String(err); });
</script>`, url)
	return b.String()
}
