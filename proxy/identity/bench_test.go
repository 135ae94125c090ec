package identity

import (
	"testing"
)

// What every request pays: two look-ups (signature, caller) and one question for
// the right to a key.
func BenchmarkWarm(b *testing.B) {
	w := newWorld(b)
	s := w.store(b)
	learn(b, s, user("alice"))
	session := w.session("SESSION")
	session.Creator = "alice"
	learn(b, s, session)
	for _, key := range []string{"root", "alice", "SESSION"} {
		b.Run(key, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Secret(b.Context(), key); err != nil {
					b.Fatal(err)
				}
				id, err := s.Lookup(b.Context(), key)
				if err != nil {
					b.Fatal(err)
				}
				if err := s.MayUse(b.Context(), id, "bucket", "key", Decrypt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
