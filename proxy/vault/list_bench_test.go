package vault_test

import (
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// A page of 1,000 encrypted objects, without the time that a storage takes. What an
// engine learns of objects it has learned before.
func BenchmarkListPage(b *testing.B) {
	for _, m := range []struct {
		name string
		mode sse.Mode
	}{{"SSE-S3", sse.ModeS3}, {"SSE-KMS", sse.ModeKMS}} {
		b.Run(m.name, func(b *testing.B) {
			const objects = 1000
			s := vaulttest.NewShelf(b, memory.Options{}, nil)
			for i := range objects {
				s.PutStream(b, fmt.Sprintf("dir/%04d", i), m.mode, []byte("small"), false)
			}
			list := &vault.List{Bucket: vaulttest.Bucket}
			if _, err := s.List(b.Context(), vaulttest.Caller("alice"), list); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				page, err := s.List(b.Context(), vaulttest.Caller("alice"), list)
				if err != nil || len(page.Entries) != objects {
					b.Fatalf("%+v, %v", page, err)
				}
			}
		})
	}
}
