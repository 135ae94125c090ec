package offline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// tree returns a tree in a new folder.
func tree(t *testing.T) (*offline.Tree, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return &offline.Tree{Root: root}, dir
}

// files are the files below a folder with their contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		short, _ := filepath.Rel(dir, name)
		found[short] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestBatchDecryptsWhatItCanAndCountsTheRest(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	s.PutStream(t, "a", sse.ModeS3, []byte("first"), false)
	s.PutStream(t, "a/b", sse.ModeS3, []byte("below a file"), false)
	s.PutStream(t, "folder/", sse.ModeS3, nil, false)
	s.PutStream(t, "locked", sse.ModeC, []byte("x"), false)
	s.PutAsIs(t, vaulttest.Name("plain"), "", []byte("planted"))
	broken := s.PutStream(t, "broken", sse.ModeS3, []byte(long), false)
	alter(t, s, broken.Name, func(raw *memory.Stored) { raw.Data[len(raw.Data)-1] ^= 1 })
	s.PutParts(t, "parts", sse.ModeKMS, long, "end")

	from := &memoryCopy{from: s.Storage}
	to, dir := tree(t)
	batch := func(want ...offline.Selection) *offline.Batch {
		return &offline.Batch{
			Reader: reader(t, s, from, func(o *offline.Options) { o.CustomerKeys = nil }), From: from, To: to.Write, Want: want, SystemBucket: "bucketseal-system",
		}
	}
	counts, err := batch().Run(t.Context())
	want := offline.Counts{Decrypted: 4, Bytes: int64(len("first"+"below a file"+long) + 3), Plain: 1, Locked: 1, Failed: 1}
	if err != nil || counts != want || counts.Lost() != 3 {
		t.Fatalf("%+v, %v, want %+v", counts, err, want)
	}
	found := files(t, dir)
	if found["bucket/parts"] != long+"end" || len(found) != 3 {
		t.Errorf("%d files: %.300q", len(found), fmt.Sprint(found))
	}
	texts := fmt.Sprint(found)
	if !strings.Contains(texts, "first") || !strings.Contains(texts, "below a file") || strings.Contains(texts, "planted") {
		t.Errorf("files %.300q", texts)
	}
	if info, err := os.Stat(filepath.Join(dir, "bucket/folder")); err != nil || !info.IsDir() {
		t.Errorf("folder/: %v", err)
	}
	// Once more: nothing is overwritten, unless it is asked for.
	for _, tt := range []struct {
		force, skip bool
		want        offline.Counts
	}{
		{false, false, offline.Counts{Failed: 1}},
		{false, true, offline.Counts{Skipped: 1}},
		{true, false, offline.Counts{Decrypted: 1, Bytes: int64(len(long) + 3)}},
	} {
		to.Force, to.SkipExisting = tt.force, tt.skip
		if counts, err := batch(offline.Selection{Bucket: "bucket", Key: "parts"}).Run(t.Context()); err != nil || counts != tt.want {
			t.Errorf("%+v: %+v, %v", tt, counts, err)
		}
	}
	if counts, err := batch(offline.Selection{Bucket: "bucket", Key: "par"}).Run(t.Context()); err != nil || counts.Failed != 1 {
		t.Errorf("an object that is not there: %+v, %v", counts, err)
	}
	if _, err := batch(offline.Selection{Bucket: "other", All: true}).Run(t.Context()); err == nil {
		t.Error("a bucket that is not there: no error")
	}
}

func TestVersionsHaveFilesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	if err := s.Storage.SetVersioning("bucket", memory.Versioned); err != nil {
		t.Fatal(err)
	}
	s.PutStream(t, "k", sse.ModeS3, []byte("older"), false)
	s.PutStream(t, "k", sse.ModeS3, []byte("newer"), false)
	from := &memoryCopy{from: s.Storage}
	to, dir := tree(t)
	batch := offline.Batch{Reader: reader(t, s, from, nil), From: from, To: to.Write, SystemBucket: "bucketseal-system", Versions: true}
	if counts, err := batch.Run(t.Context()); err != nil || counts.Decrypted != 2 {
		t.Fatalf("%+v, %v", counts, err)
	}
	found := files(t, dir)
	if found["bucket/k"] != "newer" || len(found) != 2 {
		t.Errorf("files %v", found)
	}
	for name, data := range found {
		if name != "bucket/k" && (data != "older" || !strings.HasPrefix(name, "bucket@versions/k/")) {
			t.Errorf("%s has %q", name, data)
		}
	}
}

func TestNoKeyLeadsOutOfTheTree(t *testing.T) {
	t.Parallel()
	to, dir := tree(t)
	outside := filepath.Join(filepath.Dir(dir), "outside")
	if err := os.Symlink(filepath.Dir(dir), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../../outside", "/etc/outside", "a/../../../outside", "x//y", "..", ".", strings.Repeat("long", 100), "nul\x00"} {
		o := &offline.Object{Name: sse.Name{Bucket: "bucket", Key: key}, Latest: true}
		file, err := to.Write(o, write("data"))
		if err != nil || !strings.HasPrefix(file, "bucket@names/") {
			t.Errorf("key %.20q is in %q, %v", key, file, err)
		}
	}
	if _, err := to.Write(&offline.Object{Name: sse.Name{Bucket: "link", Key: "outside"}, Latest: true}, write("data")); err == nil {
		t.Error("a link led out of the tree")
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("something was written outside")
	}
}

func write(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestFilesAreThereWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	to, dir := tree(t)
	o := &offline.Object{Name: sse.Name{Bucket: "bucket", Key: "k"}, Latest: true}
	o.Modified = time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	broken := errors.New("broken")
	_, err := to.Write(o, func(w io.Writer) error { return errors.Join(write("half")(w), broken) })
	if !errors.Is(err, broken) || len(files(t, dir)) > 0 {
		t.Errorf("%v, files %v", err, files(t, dir))
	}
	if _, err := to.Write(o, write("whole")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "bucket/k"))
	if err != nil || !info.ModTime().Equal(o.Modified) || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// A full disk ends the whole: each further object would fail in the same way.
func TestAFullDiskEndsABatch(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	for i := range 50 {
		s.PutStream(t, fmt.Sprint(i), sse.ModeS3, []byte(long), false)
	}
	from := &memoryCopy{from: s.Storage}
	calls := 0
	batch := offline.Batch{
		Reader: reader(t, s, from, nil), From: from, SystemBucket: "bucketseal-system",
		To: func(_ *offline.Object, write func(io.Writer) error) (string, error) { return "", write(&fullDisk{}) },
		Done: func(r *offline.Result) {
			calls++
			if !errors.Is(r.Err, syscall.ENOSPC) {
				t.Errorf("%v", r.Err)
			}
		},
	}
	if _, err := batch.Run(t.Context()); !errors.Is(err, offline.ErrWrite) || !errors.Is(err, syscall.ENOSPC) || calls > 20 {
		t.Errorf("%v after %d objects", err, calls)
	}
}

type fullDisk struct{ bytes.Buffer }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.Len() > 70_000 {
		return 0, syscall.ENOSPC
	}
	return f.Buffer.Write(p)
}

func TestSelections(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]offline.Selection{
		"b": {Bucket: "b", All: true}, "b/": {Bucket: "b", All: true}, "b/k": {Bucket: "b", Key: "k"}, "b/p/*": {Bucket: "b", Key: "p/", All: true},
	} {
		if got, err := offline.ParseSelection(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	if _, err := offline.ParseSelection("/k"); err == nil {
		t.Error("no bucket, and no error")
	}
}

func TestProofOpensWhatItLooksAt(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	for i := range 20 {
		s.PutStream(t, fmt.Sprint("s", i), sse.ModeS3, []byte("x"), i%2 == 0)
	}
	s.PutParts(t, "parts", sse.ModeKMS, long, "end")
	s.PutStream(t, "c", sse.ModeC, []byte("x"), false)
	s.PutAsIs(t, vaulttest.Name("plain"), "", []byte("x"))
	names := func() ([]string, error) { return []string{"bucket", "bucketseal-system"}, nil }
	noCustomer := func(o *offline.Options) { o.CustomerKeys = nil }
	for name, from := range map[string]offline.Source{"a copy": &memoryCopy{from: s.Storage}, "a storage": &offline.Live{Storage: s.Storage, Names: names}} {
		proof := offline.Proof{Reader: reader(t, s, from, noCustomer), From: from, SystemBucket: "bucketseal-system"}
		want := offline.Proven{Seen: 23, Opened: 21, Plain: 1, Customer: 1, System: true}
		if found, err := proof.Run(t.Context()); err != nil || found != want {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
		proof.Sample.Each = 7
		if found, err := proof.Run(t.Context()); err != nil || found.Seen != 23 || found.Opened+found.Plain+found.Customer != 7 {
			t.Errorf("%s, seven: %+v, %v", name, found, err)
		}
		proof.Sample = offline.Sample{Share: 1e-12}
		if found, err := proof.Run(t.Context()); err != nil || found.Seen != 23 || found.Opened != 0 {
			t.Errorf("%s, a small share: %+v, %v", name, found, err)
		}
		// Without one of the keys.
		other := vaulttest.NewShelf(t, memory.Options{}, nil)
		proof.Sample = offline.Sample{}
		proof.Reader = reader(t, s, from, func(o *offline.Options) { o.S3Key, o.CustomerKeys = "default", nil })
		failed := 0
		proof.Failed = func(*offline.Object, error) { failed++ }
		if found, err := proof.Run(t.Context()); err != nil || found.Failed != 20 || found.Opened != 1 || failed != 20 {
			t.Errorf("%s, another SSE-S3 key: %+v, %v", name, found, err)
		}
		proof.Reader = reader(t, s, from, func(o *offline.Options) { o.KMS = other.KMS })
		if _, err := proof.Run(t.Context()); err == nil {
			t.Errorf("%s: another installation's keys: no error", name)
		}
	}
}

func TestInterruptedObjectsLeaveNothing(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	s.PutStream(t, "k", sse.ModeS3, vaulttest.Data(5<<20, 1), false)
	from := &memoryCopy{from: s.Storage}
	to, dir := tree(t)
	ctx, cancel := context.WithCancel(t.Context())
	batch := offline.Batch{
		Reader: reader(t, s, from, nil), From: from, SystemBucket: "bucketseal-system",
		To: func(o *offline.Object, write func(io.Writer) error) (string, error) {
			return to.Write(o, func(w io.Writer) error { return write(&canceling{w, cancel}) })
		},
	}
	if counts, err := batch.Run(ctx); !errors.Is(err, context.Canceled) || counts.Decrypted > 0 || len(files(t, dir)) > 0 {
		t.Errorf("%+v, %v, %d files", counts, err, len(files(t, dir)))
	}
}

// canceling cancels once something is written.
type canceling struct {
	io.Writer
	cancel func()
}

func (c *canceling) Write(p []byte) (int, error) {
	c.cancel()
	return c.Writer.Write(p)
}

func TestLiveStoragesAreReadAsCopies(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	o := s.PutParts(t, "a b/ü", sse.ModeS3, long, "end")
	from := &offline.Live{Storage: s.Storage, Names: func() ([]string, error) { return []string{"bucket"}, nil }}
	if plain, _, err := decrypt(t, reader(t, s, from, nil), from, o.Name); err != nil || !bytes.Equal(plain, o.Data) {
		t.Errorf("%d bytes, %v", len(plain), err)
	}
}

// A storage that hides metadata must not make a proof of objects without records.
func TestHiddenMetadataProvesNothing(t *testing.T) {
	t.Parallel()
	s := vaulttest.NewShelf(t, memory.Options{}, nil)
	s.PutStream(t, "k", sse.ModeS3, []byte("x"), false)
	s.Storage.SetRights(func(c *memory.Call) error {
		if c.Op == memory.Get || c.Op == memory.Head {
			return memory.Forbidden()
		}
		return nil
	})
	from := &offline.Live{Storage: s.Storage, Names: func() ([]string, error) { return []string{"bucket"}, nil }}
	copied := &memoryCopy{from: s.Storage}
	proof := offline.Proof{Reader: reader(t, s, copied, nil), From: from, SystemBucket: "bucketseal-system"}
	if found, err := proof.Run(t.Context()); err != nil || found.Failed != 1 || found.Plain > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestSamples(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]offline.Sample{"all": {}, "10": {Each: 10}, "5%": {Share: 0.05}, "100%": {Share: 1}} {
		if got, err := offline.ParseSample(text); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "0%", "101%", "x", "NaN%", "5 %"} {
		if _, err := offline.ParseSample(text); err == nil {
			t.Errorf("%q is a sample", text)
		}
	}
}
