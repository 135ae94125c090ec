package maintenance_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// heap has objects in three buckets, one of them with more versions than a page has, whose keys
// were re-wrapped in part, some twice, and wraps of objects that are gone.
func heap(t *testing.T) *shelf {
	t.Helper()
	s := newShelf(t, memory.Options{}, nil)
	buckets := []string{vaulttest.Bucket, vaulttest.Bucket + "-b", vaulttest.Bucket + ".c"} // "-" and "." come before "/"
	put := func(bucket, key string, mode sse.Mode) {
		name := sse.Name{Bucket: bucket, Key: key}
		_, record := s.Seal(t, name, mode, sse.NewPrivate(4, sse.NewStreamNonce()), func(r *sse.Record) { r.PlainSize = 4 })
		s.PutAsIs(t, name, record, []byte("data"))
	}
	for _, bucket := range buckets[1:] {
		if err := s.Storage.CreateBucket(bucket, memory.Unversioned); err != nil {
			t.Fatal(err)
		}
	}
	keys := []string{"a", "a\x010", "a\x01f", "a-b", "a/b", "a.c", "a/" + strings.Repeat("long", 70), "z"}
	for _, key := range keys {
		for _, bucket := range buckets {
			put(bucket, key, sse.ModeKMS)
			put(bucket, key+"~", sse.ModeS3)
		}
	}
	if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
		t.Fatal(err)
	}
	for i := range 1100 {
		put(vaulttest.Bucket, "many", sse.ModeKMS)
		put(vaulttest.Bucket, fmt.Sprintf("m/%04d", i), sse.ModeS3)
	}
	if err := s.KMS.CreateKey(t.Context(), "third"); err != nil {
		t.Fatal(err)
	}
	rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"})
	chosen := map[string]bool{} // each is asked about more than once
	rewrapped(t, s.Engine, maintenance.Rewrap{Key: "other", To: "third", Only: func(_ context.Context, c *maintenance.Candidate) (bool, error) {
		one := fmt.Sprint(c.Name, c.Version)
		if _, known := chosen[one]; !known {
			chosen[one] = len(chosen)%3 == 2
		}
		return chosen[one], nil
	}})
	for _, bucket := range buckets { // whose wraps stay
		put(bucket, "a-b", sse.ModeKMS)
	}
	return s
}

// A scan that counts the proxies' own objects too goes through the system bucket once. It finds
// what one finds that lists the wraps of each page.
func TestAScanListsEachWrapOnce(t *testing.T) {
	t.Parallel()
	s := heap(t)
	want, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{})
	if err != nil {
		t.Fatal(err)
	}
	if n := want.Counts[maintenance.UsageKey{Bucket: vaulttest.Bucket, Mode: sse.ModeKMS, KMSKey: "third", Version: 1}]; n.Objects < 300 {
		t.Fatalf("%+v", want.Counts)
	}
	var lists, ranges atomic.Int64
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Op == memory.List && c.Step == memory.Arrived && c.Name.Bucket == s.System.Bucket() {
			switch {
			case c.Name.Key == "":
				lists.Add(1)
			case strings.HasPrefix(c.Name.Key, "wrap/"):
				ranges.Add(1)
			}
		}
		return nil
	})
	got, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{System: true})
	if err != nil || !maps.Equal(got.Counts, want.Counts) || !slices.Equal(got.Buckets, want.Buckets) || got.UnknownCount != 0 {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
	var own int64
	for _, n := range got.System.Counts {
		own += n.Objects
	}
	if len(got.System.Unknown) > 0 || own < 1400 {
		t.Errorf("%+v", got.System)
	}
	if ranges.Load() > 0 || lists.Load() > own/1000+2 {
		t.Errorf("%d objects were listed with %d requests, and %d for wraps alone", own, lists.Load(), ranges.Load())
	}
}

// What a storage lists out of order is counted all the same.
func TestAScanOfWhatIsListedOutOfOrder(t *testing.T) {
	t.Parallel()
	s := heap(t)
	want, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{})
	if err != nil {
		t.Fatal(err)
	}
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if page, ok := c.Answer.(*storage.Page); ok && c.Step == memory.Done && c.Op == memory.List && c.Name.Bucket == vaulttest.Bucket {
			slices.Reverse(page.Entries)
		}
		return nil
	})
	got, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{System: true})
	if err != nil || !maps.Equal(got.Counts, want.Counts) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

// A storage that plants wraps without end has a scan keep no more than it needs, and hides none by
// that.
func TestAScanOfManyPlantedWraps(t *testing.T) {
	t.Parallel()
	s := heap(t)
	want, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 17_000 {
		if err := s.System.PutNote(t.Context(), fmt.Sprintf("wrap/%s/m/0500\x01%032x-%016x", vaulttest.Bucket, i, 1), "planted", nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{System: true})
	if err != nil || !maps.Equal(got.Counts, want.Counts) {
		t.Errorf("%+v, %v\nwant %+v", got.Counts, err, want.Counts)
	}
	if n := len(got.System.Unknown); n != 1000 {
		t.Errorf("%d system objects are named that cannot be read", n)
	}
}

// What was listed ahead is out of date once all keys are sealed anew meanwhile. A scan counts each
// object once then too, under the version of before or of now, and calls none unknown.
func TestAScanBesideARewrap(t *testing.T) {
	t.Parallel()
	s := heap(t)
	other := s.Installation.Engine(t)
	var begun atomic.Bool
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Op == memory.List && c.Step == memory.Done && c.Name.Bucket == vaulttest.Bucket && !begun.Swap(true) {
			if total, _ := rewrapped(t, other, maintenance.Rewrap{To: "default", Mode: sse.ModeKMS}); total.Failed > 0 || total.Done < 1000 {
				t.Errorf("%+v", total)
			}
		}
		return nil
	})
	got, err := s.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{System: true})
	if err != nil || got.UnknownCount > 0 {
		t.Fatal(err, got.Unknown)
	}
	var n int64
	for _, under := range got.Counts {
		n += under.Objects
	}
	if want := int64(2*1100 + 3*16 + 1); n != want { // with the version of before of one object
		t.Errorf("%d objects are counted, want %d: %+v", n, want, got.Counts)
	}
}
