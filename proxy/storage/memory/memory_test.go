package memory_test

import (
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
