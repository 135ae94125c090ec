package manifest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/sse"
)

// In pages of any size the list of uploads is the whole list, in its order: also of keys whose
// notes have another order, or none.
func TestUploadsAreReadInPages(t *testing.T) {
	t.Parallel()
	bucket, sys := newStore(t)
	bucket.pageSize = 7
	ledger, random := NewLedger(sys), rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same ones each time
	keys := []string{
		"a", "a\x01", "a\x01b", "a\x01~~", "a\x02", "a ", "a!b", "a/", "a/b", "a/b/c", "aa", "b", "b\x01\x01", "é", "\U0010ffff",
		strings.Repeat("l", 1000), "m/" + strings.Repeat("n", 300), "z__XLDIR__/x",
	}
	var all []*Upload
	for i := range 120 {
		u := &Upload{
			Bucket: "b", Key: keys[random.IntN(len(keys))], ID: fmt.Sprintf("id-%d", random.IntN(1000)*1000+i), Manifest: sse.NewManifestID(),
			Initiated: time.Unix(int64(random.IntN(5)), 0).UTC(),
		}
		if err := ledger.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	if err := ledger.Create(t.Context(), &Upload{Bucket: "b2", Key: "a", ID: "of-another-bucket"}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b *Upload) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.Initiated.Compare(b.Initiated), cmp.Compare(a.ID, b.ID))
	})
	for _, prefix := range []string{"", "a", "a\x01", "a/", "l", "m/", "none"} {
		for _, past := range []bool{false, true} {
			var want []string
			for i, u := range all {
				if strings.HasPrefix(u.Key, prefix) && (!past || i == 0 || all[i-1].Key != u.Key) {
					want = append(want, u.ID)
				}
			}
			sizes := []int{1, 2, 7, 200}
			if past {
				sizes = sizes[:1] // the first of each key
			}
			for _, n := range sizes {
				var got []string
				for mark := (Mark{}); ; {
					some, err := ledger.UploadsBehind(t.Context(), "b", prefix, mark, n)
					if err != nil || len(some) > n {
						t.Fatalf("%q: %d uploads, %v", prefix, len(some), err)
					}
					for _, u := range some {
						got, mark = append(got, u.ID), u.Mark()
						mark.Past = past
					}
					if len(some) < n {
						break
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q in pages of %d, whole keys %v: %d uploads %q, want %d %q", prefix, n, past, len(got), got, len(want), want)
				}
			}
		}
	}
}

func TestNamesThatMinIORefusesAreNotListedBehind(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"": "", "a": "a", "a/b": "a/b", "a/..": "a/", "a/../b": "a/", "..": "", "./a": "", "a\\ . /b": "a\\", "a/..b/c..": "a/..b/c..", "a//b": "a//b",
	} {
		if got := passable(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
