package memory_test

import (
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/storage/storagetest"
)

func open(t *testing.T, v memory.Versioning) (*memory.Storage, string) {
	t.Helper()
	s := memory.New(memory.Options{MinPart: 5 << 20})
	if err := s.CreateBucket("bucket", v); err != nil {
		t.Fatal(err)
	}
	return s, "bucket"
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("unversioned", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) (storage.Storage, string) { return open(t, memory.Unversioned) })
	})
	t.Run("suspended", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) (storage.Storage, string) { return open(t, memory.Suspended) })
	})
	t.Run("versioned", func(t *testing.T) {
		storagetest.RunVersioned(t, func(t *testing.T) (storage.Storage, string) { return open(t, memory.Versioned) })
	})
}

// TestAnswersAsMinIO holds what the contract leaves open, and callers may meet, to what a
// MinIO answers.
func TestAnswersAsMinIO(t *testing.T) {
	k := newKit(t, memory.Versioned)
	ctx := t.Context()
	_, err := k.own.Put(ctx, &storage.Put{Name: named("o"), Meta: storage.Metadata{"X-Amz-Meta-Text": {"\u00e9"}}, Body: body("x")})
	k.must(err)
	info, err := k.own.Head(ctx, &storage.Get{Name: named("o")})
	k.must(err)
	if got := info.Meta.Get("X-Amz-Meta-Text"); got != "=?UTF-8?q?=C3=A9?=" {
		t.Errorf("what is not ASCII is answered as %q", got)
	}
	page, err := k.own.List(ctx, &storage.List{Bucket: "bucket", Metadata: true})
	k.must(err)
	if got := page.Entries[0].Metadata[0].Value; got != "\u00e9" {
		t.Errorf("what is not ASCII is listed as %q", got)
	}
	for range 2 {
		_, err = k.own.Delete(ctx, &storage.Delete{Name: named("o")})
		k.must(err)
	}
	_, err = k.own.Delete(ctx, &storage.Delete{Name: named("never")})
	k.must(err)
	page, err = k.own.List(ctx, &storage.List{Bucket: "bucket", Versions: true})
	k.must(err)
	if len(page.Entries) != 2 {
		t.Errorf("what is deleted already gets another marker: %+v", page.Entries)
	}
	for version, want := range map[string]string{"": "NoSuchKey", "null": "NoSuchVersion", "nonsense": "InvalidArgument", page.Entries[0].VersionID: "MethodNotAllowed"} {
		_, err := k.own.Head(ctx, &storage.Get{Name: named("o"), Version: version})
		var answer *storage.Error
		if !errors.As(err, &answer) || answer.Code != want {
			t.Errorf("version %q: %v", version, err)
		}
	}
}
