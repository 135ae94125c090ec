package vault_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
)

// partNotes says how many notes of parts there are.
func partNotes(t testing.TB, i *vaulttest.Installation) int {
	t.Helper()
	notes, _, err := i.System.ListNotes(t.Context(), "parts/", "")
	if err != nil {
		t.Fatal(err)
	}
	return len(notes)
}

// notesOfParts fails writes of notes of parts until a time, as often as they come.
func notesOfParts(until time.Time) memory.Faults {
	return at(memory.Put, memory.Arrived, func(c *memory.Call) error {
		if strings.HasPrefix(c.Name.Key, "parts/") && time.Now().Before(until) {
			return storage.ErrUnreachable
		}
		return nil
	})
}

// A sending that failed may lie on some of the storage's nodes, and be mixed with the one that follows.
func TestASendingWithoutANoteCounts(t *testing.T) {
	t.Parallel()
	for what, try := range map[string]struct {
		fault func() memory.Faults
		reads int64 // by Complete and by a repeated one
	}{
		"its answer was lost": {func() memory.Faults {
			return at(memory.PutPart, memory.Done, func(*memory.Call) error { return storage.ErrUnreachable })
		}, 2},
		"too few nodes took it": {func() memory.Faults {
			return at(memory.PutPart, memory.Ready, func(*memory.Call) error { return &storage.Error{Status: 503, Code: "SlowDownWrite"} })
		}, 2},
		"its note was lost":            {func() memory.Faults { return notesOfParts(time.Now().Add(8 * time.Second)) }, 2},
		"it could be noted only later": {func() memory.Faults { return notesOfParts(time.Now().Add(time.Minute)) }, 2},
		"it was refused": {func() memory.Faults {
			return at(memory.PutPart, memory.Ready, func(*memory.Call) error { return &storage.Error{Status: 400, Code: "BadDigest"} })
		}, 0},
		"it was not sent": {func() memory.Faults {
			return at(memory.PutPart, memory.Arrived, func(*memory.Call) error { return storage.ErrUnreachable })
		}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			i := vaulttest.New(t, memory.Options{})
			u := newUploader(t, i, "k").begin()
			i.Storage.SetFaults(try.fault())
			if _, err := u.tryPart(1, nil, vaulttest.Data(10, 1)); err == nil {
				t.Fatalf("%s, and the part was acknowledged", what)
			}
			time.Sleep(2 * time.Minute)
			i.Storage.SetFaults(nil)
			if listed := u.listed(); len(listed) > 0 {
				t.Errorf("%s: listed %+v", what, listed)
			}
			part := u.part(1, vaulttest.Data(10, 2))
			if listed := u.listed(); len(listed) != 1 || listed[0].ETag != part.ETag {
				t.Errorf("%s: listed %+v", what, listed)
			}
			if n := partNotes(t, i); n != 1+int(try.reads/2) {
				t.Errorf("%s: %d notes", what, n)
			}
			offset := -1
			if try.reads > 0 {
				offset = 3
			}
			reads := mixes(i, u.name, offset)
			_, err := u.tryComplete(part)
			_, again := u.tryComplete(part)
			if try.reads > 0 {
				wantError(t, what, err, storage.ErrLied)
				wantError(t, what+", repeated", again, storage.ErrLied)
			} else if err != nil || again != nil {
				t.Errorf("%s: %v, %v", what, err, again)
			}
			if got := reads.Load(); got != try.reads {
				t.Errorf("%s: %d reads, not %d", what, got, try.reads)
			}
		})
	}
}

// The note is written though the client has gone, and goes with the upload.
func TestASendingWithoutANoteIsForgottenWithItsUpload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		client, gone := context.WithCancel(t.Context())
		i.Storage.SetFaults(at(memory.PutPart, memory.Done, func(*memory.Call) error { gone(); return nil }))
		_, err := u.engine.Part(client, u.caller, &vault.Part{
			PartTarget: vault.PartTarget{Upload: u.upload(), Number: 1},
			Body: func(need plaintext.Digests) (plaintext.Body, error) {
				return vaulttest.NewBody(vaulttest.Data(10, 1), need.Compute...), nil
			},
		})
		wantError(t, "a part whose client has gone", err, context.Canceled)
		if n := partNotes(t, i); n != 1 {
			t.Fatalf("%d notes", n)
		}
		i.Storage.SetFaults(nil)
		if _, err := u.tryComplete(vault.WantedPart{Number: 1, ETag: "unknown-"}); err == nil {
			t.Error("a sending without a note became a part")
		}
		part := u.part(1, vaulttest.Data(10, 1))
		u.complete(part)
		u.wants(vaulttest.Data(10, 1))
		synctest.Wait()
		if n := partNotes(t, i); n != 0 {
			t.Errorf("%d notes are left", n)
		}
	})
}
