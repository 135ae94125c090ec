package integration

import (
	"bytes"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

func TestFormsOfEverySizeAreEncrypted(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	for _, size := range []int{0, 1, 65535, 65536, 65537, 2*65536 + 1, 8 << 20, 8<<20 + 1, 20<<20 + 3} {
		f := postForm{fields: [][2]string{{"key", "upload"}}, file: testData(size, 80)}
		c.anonymous().do(t, f.request(c, bucket)).wantStatus(t, http.StatusNoContent)
		got := c.get(t, bucket, "upload", nil)
		if got.status != http.StatusOK || !bytes.Equal(got.body, f.file) {
			t.Fatalf("%d bytes: status %d, %d bytes", size, got.status, len(got.body))
		}
		if want := md5ETag(f.file); got.header.Get("ETag") != want {
			t.Errorf("%d bytes: ETag %s, want %s", size, got.header.Get("ETag"), want)
		}
		if raw := s.raw().get(t, bucket, "upload", nil); size > 100 && bytes.Contains(raw.body, f.file[:64]) {
			t.Errorf("%d bytes: the file is readable upstream", size)
		}
	}
}

func TestFormsThatGoWrongStoreNothing(t *testing.T) {
	t.Parallel()
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	large := postForm{fields: [][2]string{{"key", "nothing"}}, file: testData(20<<20, 81)}
	send := func(name string, r request, status int, code string) {
		t.Helper()
		a := c.anonymous().do(t, r)
		if a.status != status || a.code != code {
			t.Errorf("%s: %d %s %s", name, a.status, a.code, a.message)
		}
		if a := c.head(t, bucket, "nothing", nil); a.status != http.StatusNotFound {
			t.Fatalf("%s: something was stored: %d", name, a.status)
		}
	}
	after := large
	after.after = [][2]string{{"submit", "x"}}
	send("fields behind a large file", after.request(c, bucket), http.StatusBadRequest, "MalformedPOSTRequest")
	limited := large
	limited.conditions = []any{[]any{"content-length-range", 0, 1 << 20}}
	send("larger than its policy allows", limited.request(c, bucket), http.StatusBadRequest, "EntityTooLarge")

	whole := large.request(c, bucket)
	r := whole
	r.stream, r.size = onlyReader{bytes.NewReader(r.body)}, -1
	send("a large file without a length", r, http.StatusLengthRequired, "MissingContentLength")
	r = whole
	r.body = r.body[:len(r.body)-10]
	send("without its end", r, http.StatusBadRequest, "MalformedPOSTRequest")
	reserved := postForm{fields: [][2]string{{"key", "nothing"}, {"X-AMZ-Meta-BucketSeal", "x"}}, file: []byte("x")}
	send("reserved metadata", reserved.request(c, bucket), http.StatusBadRequest, "InvalidArgument")
	for _, name := range []string{"/" + systemBucket, "/%62ucketseal-system"} {
		f := postForm{fields: [][2]string{{"key", "rules/index"}}, file: []byte("x")}
		r := f.request(c, systemBucket)
		r.path = name
		send("into the system bucket", r, http.StatusNotFound, "NoSuchBucket")
	}
	split := postForm{fields: [][2]string{{"key", "nothing"}, {"x-amz-meta-a", "b\r\nX-Amz-Meta-C: d"}}, file: []byte("x")}
	send("a line break in a field", split.request(c, bucket), http.StatusBadRequest, "MalformedPOSTRequest")
	signed := postForm{fields: [][2]string{{"key", "nothing"}}, file: []byte("x")}
	if a := c.do(t, signed.request(c, bucket)); a.status != http.StatusBadRequest {
		t.Errorf("signed twice: %d %s", a.status, a.code)
	}
}

func TestCurlUploadsAForm(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is not installed")
	}
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	f := postForm{fields: [][2]string{{"key", "from/${filename}"}, {"success_action_status", "201"}, {"x-amz-server-side-encryption", "aws:kms"}}}
	data := testData(100_000, 82)
	file := writeFile(t, t.TempDir(), "holiday.jpg", data)
	args := []string{"-sS"}
	for _, field := range f.signed(c, bucket) {
		args = append(args, "--form-string", field[0]+"="+field[1])
	}
	out, err := exec.Command(program, append(args, "-F", "file=@"+file, c.endpoint+"/"+bucket)...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "<Key>from/holiday.jpg</Key>") {
		t.Fatalf("curl: %v %s", err, out)
	}
	got := c.get(t, bucket, "from/holiday.jpg", nil)
	if !bytes.Equal(got.body, data) || got.header.Get("X-Amz-Server-Side-Encryption") != "aws:kms" {
		t.Errorf("got %d bytes, %v", len(got.body), got.header)
	}
}
