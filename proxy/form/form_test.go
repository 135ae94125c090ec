package form

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
)

const formType = "multipart/form-data; boundary=BB"

func field(name, value string) string {
	return "--BB\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func fileField(content string) string {
	return "--BB\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\p.png\"\r\nContent-Type: image/png\r\n\r\n" + content
}

const end = "\r\n--BB--\r\n"

func TestFormIsReadUpToItsFile(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "x", "\r\n", "\r\n--B", "\r\n--BA\r\n", "--BB--\r\n", strings.Repeat("0123456789\r\n-", 20_000), "\r\n\r\n--B"} {
		text := field("Key", "a/b") + field("x-amz-meta-A", "two\r\nlines") + field("empty", "") + fileField(content) + end
		for _, size := range []bool{true, false} {
			f, err := Read(iotest.HalfReader(strings.NewReader(text)), formType)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]string{"key": "a/b", "x-amz-meta-a": "two\r\nlines", "empty": ""}; !maps.Equal(f.Fields, want) || f.FileName != "p.png" {
				t.Errorf("fields %q, file %q", f.Fields, f.FileName)
			}
			n := int64(-1)
			if size {
				if n, err = f.FileSize(int64(len(text))); err != nil || n != int64(len(content)) {
					t.Errorf("size %d, %v; want %d", n, err, len(content))
				}
			}
			if got, err := io.ReadAll(f.File(n)); err != nil || string(got) != content {
				t.Errorf("%.40q: got %d bytes, %v", content, len(got), err)
			}
		}
	}
}

func TestFormsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":                {"", io.ErrUnexpectedEOF},
		"another boundary":       {"--AA\r\n", ErrMalformed},
		"bare line feeds":        {"--BB\n", ErrMalformed},
		"no disposition":         {"--BB\r\nContent-Type: text/plain\r\n\r\nx" + end, ErrMalformed},
		"two dispositions":       {"--BB\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\nx" + end, ErrMalformed},
		"no name":                {"--BB\r\nContent-Disposition: form-data\r\n\r\nx" + end, ErrMalformed},
		"attachment":             {"--BB\r\nContent-Disposition: attachment; name=a\r\n\r\nx" + end, ErrMalformed},
		"base64":                 {"--BB\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nx" + end, ErrMalformed},
		"header without colon":   {"--BB\r\nnonsense\r\n\r\nx" + end, ErrMalformed},
		"a field twice":          {field("a", "1") + field("A", "2") + fileField("x") + end, ErrRepeated},
		"no file":                {field("a", "1") + "--BB--\r\n", ErrNoFile},
		"cut in a header":        {"--BB\r\nContent-Dis", io.ErrUnexpectedEOF},
		"cut in a value":         {field("a", "1")[:50], io.ErrUnexpectedEOF},
		"something after a part": {"--BB\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--BBx\r\n", ErrMalformed},
		"a large value":          {field("a", strings.Repeat("x", maxFieldBytes+1)) + fileField("x") + end, ErrTooLarge},
		"a large header":         {"--BB\r\nX: " + strings.Repeat("x", maxPartHeader) + "\r\n", ErrTooLarge},
		"a line without end":     {"--BB\r\nX: " + strings.Repeat("x", 2*bufferSize), ErrTooLarge},
		"many fields":            {manyFields(maxFields+1) + fileField("x") + end, ErrTooLarge},
	} {
		if f, err := Read(strings.NewReader(c.text), formType); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	for _, contentType := range []string{"", "multipart/form-data", "text/plain; boundary=BB", "multipart/mixed; boundary=BB", "multipart/form-data; boundary=" + strings.Repeat("B", 71)} {
		if _, err := Read(strings.NewReader(fileField("x")+end), contentType); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", contentType, err)
		}
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(field(fmt.Sprint("f", i), "x"))
	}
	return b.String()
}

func TestFileOfKnownSizeMustBeTheLastField(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tail string
		want error
	}{
		"a field behind it":   {"\r\n" + field("submit", "x") + "--BB--\r\n", ErrNotLast},
		"no line end":         {"\r\n--BB--", ErrNotLast},
		"an epilogue":         {"\r\n--BB--\r\nx", ErrNotLast},
		"two ends":            {"\r\n--BB--" + end, ErrNotLast},
		"cut":                 {"\r\n--B", io.ErrUnexpectedEOF},
		"cut behind boundary": {"\r\n--BB", io.ErrUnexpectedEOF},
		"wrong end":           {"\r\n--BBxx", ErrMalformed},
	} {
		text := field("key", "k") + fileField(strings.Repeat("data", 50_000)) + c.tail
		f, err := Read(strings.NewReader(text), formType)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.FileSize(int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		file := f.File(size)
		if _, err := io.ReadAll(file); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := file.Read(make([]byte, 1)); !errors.Is(err, c.want) {
			t.Errorf("%s: the error does not stay: %v", name, err)
		}
	}
	f, err := Read(strings.NewReader(fileField("x")), formType)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.FileSize(20); !errors.Is(err, ErrMalformed) {
		t.Errorf("a body shorter than its boundaries: %v", err)
	}
	if _, err := io.ReadAll(f.File(-1)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut file: %v", err)
	}
}

func TestBodysOwnErrorIsPassedOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	if _, err := Read(io.MultiReader(strings.NewReader("--BB\r\n"), iotest.ErrReader(broken)), formType); !errors.Is(err, broken) {
		t.Errorf("in the header: %v", err)
	}
	f, err := Read(io.MultiReader(strings.NewReader(fileField("abc")), iotest.ErrReader(broken)), formType)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(f.File(-1)); !errors.Is(err, broken) {
		t.Errorf("in the file: %v", err)
	}
}

func FuzzForm(f *testing.F) {
	f.Add(field("key", "a") + fileField("content") + end)
	f.Add(fileField("\r\n--B\r\n--BB\r\n") + end)
	f.Add("--BB\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--BB--\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		one, err := Read(strings.NewReader(text), formType)
		if err != nil {
			return
		}
		size, err := one.FileSize(int64(len(text)))
		if err != nil {
			return
		}
		exact, err := io.ReadAll(one.File(size))
		if err != nil {
			return
		}
		if int64(len(exact)) != size || bytes.Contains(exact, []byte("\r\n--BB")) {
			t.Fatalf("%q: %d bytes of %d", text, len(exact), size)
		}
		// However the bytes come, the file is the same.
		two, err := Read(iotest.OneByteReader(strings.NewReader(text)), formType)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := io.ReadAll(two.File(-1)); err != nil || !bytes.Equal(again, exact) {
			t.Fatalf("%q: %q, then %q, %v", text, exact, again, err)
		}
	})
}
