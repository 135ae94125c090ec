package manifest

import (
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

// The name of a key's wrap lies among those of keys that go on behind its separator.
func TestARangeFindsTheWrapsOfItsKeysAndNoOthers(t *testing.T) {
	t.Parallel()
	_, sys := newStore(t)
	wraps := NewWraps(sys)
	keys := []string{"a", "a\x010", "a\x01f/b", "a-b", "a/b", "b"}
	for _, key := range keys {
		ref := WrapRef{Name: sse.Name{Bucket: "bucket", Key: key}, Record: sse.RecordDigest{0x77}}
		for n := range uint64(2) {
			if err := wraps.Put(t.Context(), ref, &sse.Wrap{KMSKey: "k", KMSKeyVersion: 1, SealedDEK: []byte("DEK"), Sequence: n + 1}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, first := range keys {
		for n, last := range keys[i:] {
			found := make(map[string]int)
			err := wraps.Range(t.Context(), "bucket", first, last, func(ref WrapRef, w *sse.Wrap) {
				if found[ref.Name.Key]++; w == nil || w.Sequence != 2 {
					t.Errorf("%q has %+v", ref.Name.Key, w)
				}
			})
			if err != nil || len(found) != n+1 {
				t.Errorf("from %q to %q: %v, %v", first, last, found, err)
			}
			for _, key := range keys[i : i+n+1] {
				if found[key] == 0 {
					t.Errorf("from %q to %q nothing is found of %q", first, last, key)
				}
			}
		}
	}
}
