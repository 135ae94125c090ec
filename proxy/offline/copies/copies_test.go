package copies

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// As mc and the AWS CLI of 2025 print them.
const (
	mcHead  = `{"status":"success","name":"bucket/a b/ü","lastModified":"2026-11-26T21:33:06Z","size":3,"etag":"75b1244c64c72c0a39daef6bbe058ef8-2","type":"file","metadata":{"Content-Type":"text/plain","X-Amz-Meta-Bucketseal":"record","X-Amz-Meta-Colour":"blue"},"checksum":{"CRC64NVME":"5mPA5a5HLQ8="}}`
	awsHead = `{
    "AcceptRanges": "bytes",
    "LastModified": "Thu, 26 Nov 2026 21:33:06 GMT",
    "ContentLength": 3,
    "ETag": "\"75b1244c64c72c0a39daef6bbe058ef8-2\"",
    "ContentType": "text/plain",
    "Metadata": {
        "bucketseal": "record",
        "colour": "blue"
    }
}`
)

func put(t *testing.T, dir, name, data string) string {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func open(t *testing.T, dir string, heads ...string) *Source {
	t.Helper()
	s, err := Open(dir, heads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestHeadsOfEachKind(t *testing.T) {
	t.Parallel()
	list := put(t, t.TempDir(), "heads", mcHead+"\n\n")
	for name, s := range map[string]*Source{
		"a list of mc's":   open(t, filepath.Dir(put(t, t.TempDir(), "bucket/a b/ü", "abc"))+"/../..", list),
		"mc's beside it":   beside(t, strings.Replace(mcHead, "bucket/a b/", "", 1)),
		"aws's beside it":  beside(t, awsHead),
		"aws's, version 1": beside(t, strings.Replace(awsHead, "Thu, 26 Nov 2026 21:33:06 GMT", "2026-11-26T21:33:06+00:00", 1)),
	} {
		o, err := s.Get(sse.Name{Bucket: "bucket", Key: "a b/ü"})
		if err != nil || o.Err != nil {
			t.Fatalf("%s: %v, %v", name, err, o)
		}
		if len(o.Reserved) != 1 || o.Reserved[0] != (storage.MetaEntry{Name: storage.RecordName, Value: "record"}) || o.ETag != "75b1244c64c72c0a39daef6bbe058ef8-2" ||
			o.Size != 3 || o.Meta.Get("Content-Type") != "text/plain" || o.Meta.Get("X-Amz-Meta-Colour") != "blue" || len(o.Meta) != 2 || o.Modified.Unix() != 1795728786 {
			t.Errorf("%s: %+v", name, o.Info)
		}
		body, err := o.Body(1)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(body); err != nil || string(data) != "bc" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		_ = body.Close()
	}
}

func beside(t *testing.T, head string) *Source {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "bucket/a b/ü", "abc")
	put(t, dir, "bucket/a b/ü.head.json", head)
	return open(t, dir)
}

func line(name, more string) string {
	return `{"status":"success","name":"` + name + `"` + more + `}` + "\n"
}

func TestWalkTellsFilesAndHeadsApart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a", "dir/b", "dir/b.head.json", "c.head.json", "plain"} {
		put(t, dir, "bucket/"+name, "x")
	}
	put(t, dir, "bucket/dir/b.head.json", awsHead)
	const record = `,"metadata":{"X-Amz-Meta-Bucketseal":"r"}`
	s := open(t, dir, put(t, t.TempDir(), "heads", line("bucket/a", `,"size":1`+record)+line("bucket/lost", `,"size":5`+record)+
		line("bucket/folder/", `,"size":0`+record)+line("elsewhere/x", `,"size":1`)))
	found := func(prefix string) (all []string) {
		if err := s.Walk(t.Context(), "bucket", prefix, func(o *offline.Object) error {
			text := o.Name.Key
			if errors.Is(o.Err, ErrNoFile) {
				text += " lost"
			}
			if len(o.Reserved) == 1 {
				text += " sealed"
			}
			all = append(all, text)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(all)
		return all
	}
	for prefix, want := range map[string][]string{
		"":     {"a sealed", "c.head.json", "dir/b sealed", "folder/ sealed", "lost lost sealed", "plain"},
		"dir/": {"dir/b sealed"}, "fold": {"folder/ sealed"}, "none": nil, "../": nil,
	} {
		if got := found(prefix); !slices.Equal(got, want) {
			t.Errorf("below %q: %q, want %q", prefix, got, want)
		}
	}
	buckets, err := s.Buckets()
	if slices.Sort(buckets); err != nil || !slices.Equal(buckets, []string{"bucket", "elsewhere"}) {
		t.Errorf("buckets %v, %v", buckets, err)
	}
	for _, key := range []string{"none", "dir", "../bucket/a"} {
		if _, err := s.Get(sse.Name{Bucket: "bucket", Key: key}); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestOfSeveralVersionsTheNewestIsTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "bucket/k", "x")
	s := open(t, dir, put(t, t.TempDir(), "heads", line("bucket/k", `,"etag":"old","lastModified":"2026-01-01T00:00:00Z"`)+
		line("bucket/k", `,"etag":"new","lastModified":"2026-01-02T00:00:00Z"`)+line("bucket/k", `,"etag":"older","lastModified":"2025-01-02T00:00:00Z"`)))
	if o, err := s.Get(sse.Name{Bucket: "bucket", Key: "k"}); err != nil || o.ETag != "new" {
		t.Errorf("%v, %v", o, err)
	}
}

func TestHeadsThatAreNone(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON":          "bucket/key",
		"no bucket":        line("key", ""),
		"a failed listing": `{"status":"error","error":{"message":"Unable to stat"}}`,
		"a bad bucket":     line("../etc/passwd", ""),
		"a bad size":       line("bucket/k", `,"size":"x"`),
		"too long":         line("bucket/k", `,"etag":"`+strings.Repeat("x", maxHead)+`"`),
	} {
		if _, err := Open(t.TempDir(), []string{put(t, t.TempDir(), "heads", text)}); !errors.Is(err, ErrHead) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := beside(t, "{")
	if o, err := s.Get(sse.Name{Bucket: "bucket", Key: "a b/ü"}); err != nil || !errors.Is(o.Err, ErrHead) {
		t.Errorf("a bad one beside a file: %v", err)
	}
}

func TestTwoRecordsStayTwo(t *testing.T) {
	t.Parallel()
	s := beside(t, `{"status":"success","metadata":{"X-Amz-Meta-Bucketseal":"a","x-amz-meta-bucketseal":"b"}}`)
	if o, err := s.Get(sse.Name{Bucket: "bucket", Key: "a b/ü"}); err != nil || len(o.Reserved) != 2 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestNothingOutsideOfTheFolderIsRead(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	put(t, outside, "k", "x")
	put(t, dir, "bucket/x", "x")
	if err := os.Symlink(outside, filepath.Join(dir, "bucket/link")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Get(sse.Name{Bucket: "bucket", Key: "link/k"}); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("a link led outside: %v", err)
	}
}
