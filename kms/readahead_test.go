package kms

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// slowStore takes its time for each read.
type slowStore struct {
	*fakeStore
	latency time.Duration
}

func (s *slowStore) Get(ctx context.Context, name string) ([]byte, error) {
	time.Sleep(s.latency)
	s.probes.Add(1)
	return s.fakeStore.Get(ctx, name)
}

// A log of hundreds of events and versions is read in a few exchanges, and a short one in few
// reads.
func TestLongLogsAreReadInTime(t *testing.T) {
	t.Parallel()
	const latency = 30 * time.Millisecond
	for _, test := range []struct {
		rotations, changes uint32
		exchanges, reads   int
	}{
		{0, 0, 2, 2}, // root and record
		{1, 0, 5, 6}, // 1 event, then 2 more and the secret
		{2, 0, 5, 7},
		{3, 0, 6, 13},
		{1, 399, 40, 440},
		{200, 200, 60, 640},
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &slowStore{fakeStore: newFakeStore()}
			l, err := NewLocal(LocalOptions{Store: store.fakeStore})
			noErr(t, "NewLocal", err)
			defer l.Close()
			noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
			dek := mustGenerate(t, l)
			for version := range test.rotations {
				mustRotate(t, l, version+2)
			}
			for i := range test.changes {
				action := []VersionAction{Retire, Reinstate}[i%2]
				mustChange(t, l, VersionChange{Action: action, Version: 1})
			}
			if test.changes%2 == 1 {
				dek = mustGenerate(t, l)
			}
			store.latency = latency
			slow, err := NewLocal(LocalOptions{Store: store})
			noErr(t, "NewLocal", err)
			defer slow.Close()
			began := time.Now()
			wantOpens(t, slow, "a long log", dek, nil)
			exchanges, reads := int(time.Since(began)/latency), int(store.probes.Load())
			if exchanges > test.exchanges || reads > test.reads {
				t.Errorf("%d rotations, %d changes: %d exchanges, %d reads", test.rotations, test.changes, exchanges, reads)
			}
		})
	}
}

// What lies behind the first event that is missing says nothing.
func TestALogEndsAtTheFirstGap(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	l := newTestLocal(t, LocalOptions{Store: store})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	mustRotate(t, l, 2)
	dek := mustGenerate(t, l)
	root, err := readRoot(t.Context(), store, "key")
	noErr(t, "readRoot", err)
	store.set(func() {
		store.values[eventEntry("key", root.Log, 3)] = []byte(`{"event":"deleted"}`)
		store.values[eventEntry("key", root.Log, 4)] = []byte("damaged")
	})
	other := newTestLocal(t, LocalOptions{Store: store})
	wantOpens(t, other, "with entries behind a gap", dek, nil)
	read, err := ReadEntries(t.Context(), store, "key", nil)
	noErr(t, "ReadEntries", err)
	if read[eventEntry("key", root.Log, 3)] != nil || len(read) != 4 {
		t.Errorf("a copy has %d entries", len(read))
	}
	mustChange(t, other, VersionChange{Action: Retire, Version: 1})
	_, err = newTestLocal(t, LocalOptions{Store: store}).DescribeKey(t.Context(), "key")
	wantErr(t, "once the gap is filled", err, ErrCorruptKey)
}
