package vault_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// elsewhere is the same upload at another proxy.
func (u *uploader) elsewhere(i *vaulttest.Installation) *uploader {
	other := *u
	other.engine = i.Engine(u.t)
	return &other
}

// inBackground completes an upload, and returns what that ends with.
func (u *uploader) inBackground(ctx context.Context, parts ...vault.WantedPart) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := u.engine.Complete(ctx, u.caller, &vault.Complete{Upload: u.upload(), Parts: parts})
		ended <- err
	}()
	return ended
}

// taking holds the first Complete up while it has taken the parts away, and lets all others pass.
func taking(i *vaulttest.Installation) *memory.Gate {
	var first atomic.Int64
	gate := memory.NewGate(func(c *memory.Call) bool {
		return c.Op == memory.Complete && c.Step == memory.Ready && int64(c.N) == first.Load()
	})
	i.Storage.SetFaults(func(ctx context.Context, c *memory.Call) error {
		if c.Op == memory.Complete && c.Step == memory.Arrived && first.CompareAndSwap(0, int64(c.N)) {
			c.TakeParts()
		}
		return gate.Hook(ctx, c)
	})
	return gate
}

// MinIO takes parts away before the object is there. What a Complete of the same list finds then is no
// fault of the list: clients abort an upload whose Complete is refused.
func TestACompleteThatOverlapsWithTheFirstIsNoFault(t *testing.T) {
	t.Parallel()
	asks := map[string]encryption.Asked{"plain": {}}
	for name, request := range uploadModes {
		asks[name] = encryption.Asked{Request: request}
	}
	data := vaulttest.Data(vault.MinPartSize, 1)
	for name, asked := range asks {
		i := vaulttest.New(t, memory.Options{})
		if name == "plain" {
			i.Change = func(o *vaulttest.Options) { o.AutoEncryption, o.PlainRead = sse.ModeNone, []string{"*"} }
		}
		u := newUploader(t, i, "k")
		u.asked = asked
		u.begin()
		other := u.elsewhere(i)
		parts := []vault.WantedPart{u.part(1, data), u.part(2, data[:10])}
		gate := taking(i)
		first := u.inBackground(t.Context(), parts...)
		held := gate.Next()
		_, err := other.tryComplete(parts...)
		wantError(t, name+": the same list", err, vault.ErrChanged)
		_, err = other.tryComplete(parts[0], vault.WantedPart{Number: 2, ETag: parts[0].ETag})
		wantError(t, name+": an ETag that is no part's", err, vault.ErrInvalidPart)
		_, err = other.tryComplete(parts[0], vault.WantedPart{Number: 3, ETag: parts[1].ETag})
		wantError(t, name+": a part that nobody sent", err, vault.ErrInvalidPart)
		held.Release(nil)
		if err := <-first; err != nil {
			t.Errorf("%s: the first: %v", name, err)
		}
		other.complete(parts...)
		other.wants(slices.Concat(data, data[:10]))
	}
}

// Two may find all parts, and one of them is too late.
func TestACompleteThatComesTooLateSucceeds(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]error{
		"no such key":    &storage.Error{Status: 404, Code: "NoSuchKey"},
		"invalid part":   &storage.Error{Status: 400, Code: "InvalidPart"},
		"no such upload": nil,
	} {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		other := u.elsewhere(i)
		part := u.part(1, vaulttest.Data(10, 1))
		gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Complete && c.Step == memory.Arrived })
		i.Storage.SetFaults(gate.Hook)
		late := other.inBackground(t.Context(), part)
		held := gate.Next()
		first := u.inBackground(t.Context(), part)
		gate.Next().Release(nil)
		if err := <-first; err != nil {
			t.Errorf("%s, the first: %v", what, err)
		}
		held.Release(answer)
		if err := <-late; err != nil {
			t.Errorf("%s: %v", what, err)
		}
		u.wants(vaulttest.Data(10, 1))
	}
}

// The storage's refusal of parts that it goes on to list is its own affair.
func TestARefusalOfPartsThatAreThereIsHandedOn(t *testing.T) {
	t.Parallel()
	for _, refusal := range []error{&storage.Error{Status: 404, Code: "NoSuchKey"}, &storage.Error{Status: 400, Code: "InvalidPart"}} {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		part := u.part(1, vaulttest.Data(10, 1))
		i.Storage.SetFaults(at(memory.Complete, memory.Arrived, func(*memory.Call) error { return refusal }))
		_, err := u.tryComplete(part)
		wantError(t, "parts that are there", err, refusal)
		i.Storage.SetFaults(nil)
		u.complete(part)
	}
}

// A refusal that comes while the parts are away tells nothing of the list, even where they were found before.
func TestACompleteIsNotRefusedForPartsThatWentMeanwhile(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	other := u.elsewhere(i)
	part := u.part(1, vaulttest.Data(10, 1))
	gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Complete && c.Step == memory.Arrived })
	i.Storage.SetFaults(gate.Hook)
	late := other.inBackground(t.Context(), part)
	held := gate.Next()
	taken := taking(i)
	first := u.inBackground(t.Context(), part)
	going := taken.Next()
	held.Release(nil)
	wantError(t, "meanwhile", <-late, vault.ErrChanged)
	going.Release(nil)
	if err := <-first; err != nil {
		t.Error("the first:", err)
	}
	other.complete(part)
}

// Within a process a Complete waits for the one before it, though the client of that has gone; its own
// client may go too.
func TestCompletesOfOneUploadTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		part := u.part(1, vaulttest.Data(10, 1))
		gate := taking(i)
		client, gone := context.WithCancel(t.Context())
		first := u.inBackground(client, part)
		held := gate.Next()
		gone()
		impatient, leave := context.WithCancel(t.Context())
		left, second := u.inBackground(impatient, part), u.inBackground(t.Context(), part)
		synctest.Wait()
		select {
		case err := <-second:
			t.Error("the second did not wait:", err)
		default:
		}
		leave()
		wantError(t, "one whose client has gone", <-left, context.Canceled)
		held.Release(nil)
		if err := <-first; err != nil {
			t.Error("the first:", err)
		}
		if err := <-second; err != nil {
			t.Error("the second:", err)
		}
	})
}

// A repeated Complete reads parts that were sent again, which takes long: its client is kept waiting, however
// it came to that.
func TestARepeatedCompleteReadsWhileItsClientIsKept(t *testing.T) {
	t.Parallel()
	for what, forget := range map[string]func(*vaulttest.Installation, *uploader) conditions.Write{
		"a condition that holds no more": func(*vaulttest.Installation, *uploader) conditions.Write { return conditions.Write{IfNoneMatch: "*"} },
		"an upload that ended":           func(*vaulttest.Installation, *uploader) conditions.Write { return conditions.Write{} },
		"an upload that nobody noted": func(i *vaulttest.Installation, u *uploader) conditions.Write {
			if n, err := i.System.DeleteNotes(t.Context(), "uploads/", nil); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			u.engine = i.Engine(t)
			return conditions.Write{}
		},
	} {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		u.part(1, vaulttest.Data(10, 1))
		part := u.part(1, vaulttest.Data(10, 2))
		i.Storage.SetFaults(at(memory.Complete, memory.Done, func(*memory.Call) error { return storage.ErrUnreachable }))
		_, err := u.tryComplete(part)
		wantError(t, what, err, storage.ErrUnreachable)
		wanted := &vault.Complete{Upload: u.upload(), Parts: []vault.WantedPart{part}, Conditions: forget(i, u)}
		kept, reads := false, 0
		wanted.Long = func(do func() error) error {
			kept = true
			defer func() { kept = false }()
			return do()
		}
		i.Storage.SetFaults(at(memory.Get, memory.Arrived, func(c *memory.Call) error {
			if c.Name != u.name {
				return nil
			}
			if reads++; !kept {
				return errors.New("its client is not kept waiting")
			}
			return nil
		}))
		if _, err := u.engine.Complete(t.Context(), u.caller, wanted); err != nil || reads != 1 {
			t.Errorf("%s: %d reads, %v", what, reads, err)
		}
	}
}
