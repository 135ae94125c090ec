package vault_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// mixes has the storage change a byte of the object that it puts together, at an offset of what is
// stored, as MinIO changes many where a node missed that a part was sent again; nothing if offset
// is below 0. What it returns counts the reads of the object.
func mixes(i *vaulttest.Installation, name sse.Name, offset int) *atomic.Int64 {
	reads := new(atomic.Int64)
	i.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		switch {
		case c.Op == memory.Get && c.Step == memory.Arrived && c.Name == name:
			reads.Add(1)
		case c.Op == memory.Complete && c.Step == memory.Done && c.Err == nil && offset >= 0:
			return i.Storage.Flip(name, offset)
		}
		return nil
	})
	return reads
}

// TestPartSentAgainIsReadBeforeItIsAcknowledged: a part that the storage mixed is found, by a repeated
// Complete too, and in each mode; and parts that were sent once cost no request.
func TestPartSentAgainIsReadBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	asks := map[string]encryption.Asked{"plain": {}}
	for name, request := range uploadModes {
		asks[name] = encryption.Asked{Request: request}
	}
	first, again, last := vaulttest.Data(vault.MinPartSize, 1), vaulttest.Data(vault.MinPartSize, 2), vaulttest.Data(1000, 3)
	for name, asked := range asks {
		stored := int64(vault.MinPartSize)
		if name != "plain" {
			stored = sse.EncSize(vault.MinPartSize)
		}
		for what, try := range map[string]struct {
			offset int
			err    error
			reads  int64 // by Complete and by a repeated one
		}{
			"whole":                {-1, nil, 2},
			"mixed at its begin":   {0, storage.ErrLied, 2},
			"mixed at its end":     {int(stored) - 1, storage.ErrLied, 2},
			"the next one is bad":  {int(stored), nil, 2}, // which was sent once
			"sent once and mixed":  {5, nil, 0},
			"sent once, and whole": {-1, nil, 0},
		} {
			i := vaulttest.New(t, memory.Options{})
			if name == "plain" {
				i.Change = func(o *vaulttest.Options) { o.AutoEncryption, o.PlainRead = sse.ModeNone, []string{"*"} }
			}
			u := newUploader(t, i, "k")
			u.asked = asked
			u.begin()
			if try.reads > 0 {
				u.part(1, first)
			}
			parts := []vault.WantedPart{u.part(1, again), u.part(3, last)}
			reads := mixes(i, u.name, try.offset)
			_, err := u.tryComplete(parts...)
			if !errors.Is(err, try.err) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if _, err = u.tryComplete(parts...); !errors.Is(err, try.err) {
				t.Errorf("%s, %s, repeated: %v", name, what, err)
			}
			// A repeated one reads nothing where the notes are gone already.
			if got := reads.Load(); got != try.reads && (try.err != nil || got != try.reads/2) {
				t.Errorf("%s, %s: %d reads, not %d", name, what, got, try.reads)
			}
		}
	}
}

// TestMixedPartThatWasReplacedIsNoFault: what another write has taken the place of is not read.
func TestMixedPartThatWasReplacedIsNoFault(t *testing.T) {
	t.Parallel()
	for _, deleted := range []bool{false, true} {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		u.part(1, vaulttest.Data(10, 1))
		part := u.part(1, vaulttest.Data(10, 2))
		i.Storage.SetFaults(at(memory.Complete, memory.Done, once(func(*memory.Call) error {
			if deleted {
				return i.Storage.Hide(u.name, true)
			}
			i.Storage.SetFaults(nil)
			newUploader(t, i, "k").put(vaulttest.Data(20, 3))
			return nil
		})))
		if _, err := u.tryComplete(part); err != nil {
			t.Errorf("deleted %v: %v", deleted, err)
		}
	}
}

// What the read of a part says that was sent again is about an object that is stored: it never sounds
// as if nothing was. MinIO says of a smaller object in its place that the range lies beyond its end.
func TestARefusedReadOfAPartIsNoRefusalOfTheComplete(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{416: nil, 412: nil, 404: nil, 403: storage.ErrUnreachable, 503: storage.ErrUnreachable} {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		u.part(1, vaulttest.Data(10, 1))
		part := u.part(1, vaulttest.Data(10, 2))
		i.Storage.SetFaults(at(memory.Get, memory.Arrived, func(c *memory.Call) error {
			if c.Name != u.name {
				return nil
			}
			return &storage.Error{Status: status}
		}))
		_, err := u.tryComplete(part)
		if !errors.Is(err, want) || errors.As(err, new(*storage.Error)) {
			t.Errorf("%d: %v, want %v", status, err, want)
		}
	}
}

// A part that was sent many times is looked up as it was sent last: its other notes are counted,
// and neither opened nor kept. Of its ETags the last one names it.
func TestPartSentManyTimesIsOneNote(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	counted := &openings{Service: i.KMS}
	i.KMS = counted
	u := newUploader(t, i, "k").begin()
	var sent []vault.WantedPart
	for n := range 60 {
		sent = append(sent, u.part(1, vaulttest.Data(10, uint64(n))))
	}
	first, last := sent[0], sent[len(sent)-1]
	costs := func(what string, do func()) {
		t.Helper()
		counted.n.Store(0)
		do()
		if n := counted.n.Load(); n > 10 {
			t.Errorf("%s opens %d DEKs", what, n)
		}
	}
	costs("a list", func() {
		if listed := u.listed(); len(listed) != 1 || listed[0].ETag != last.ETag {
			t.Errorf("listed %+v", listed)
		}
	})
	costs("a Complete of the first one", func() {
		_, err := u.tryComplete(first)
		wantError(t, "the first one", err, vault.ErrInvalidPart)
	})
	reads := 0
	i.Storage.SetFaults(at(memory.Get, memory.Arrived, func(c *memory.Call) error {
		if c.Name == u.name {
			reads++
		}
		return nil
	}))
	costs("a Complete", func() { u.complete(last) })
	if reads != 1 {
		t.Errorf("a part that was sent more than once is read %d times before it is acknowledged", reads)
	}
	i.Storage.SetFaults(nil)
	u.wants(vaulttest.Data(10, 59))
}
