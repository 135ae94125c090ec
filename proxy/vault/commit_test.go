package vault_test

import (
	"context"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
)

// MinIO, cut off while it puts parts together, is left with neither the object nor the upload.
func TestACompleteHasHours(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	part := u.part(1, vaulttest.Data(10, 1))
	var left time.Duration
	i.Storage.SetFaults(func(ctx context.Context, c *memory.Call) error {
		if until, bounded := ctx.Deadline(); c.Op == memory.Complete && c.Step == memory.Ready && bounded {
			left = time.Until(until)
		}
		return nil
	})
	u.complete(part)
	if left < 6*time.Hour || left > 24*time.Hour {
		t.Errorf("MinIO has %v to put the parts together", left)
	}
}

func TestTheEndWaitsForCompletes(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	late := newUploader(t, i, "late")
	late.engine = u.engine
	late.begin()
	part, latePart := u.part(1, vaulttest.Data(10, 1)), late.part(1, vaulttest.Data(10, 2))
	gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Complete && c.Step == memory.Ready })
	i.Storage.SetFaults(gate.Hook)
	client, gone := context.WithCancel(t.Context())
	completed := make(chan error, 1)
	go func() {
		_, err := u.engine.Complete(client, u.caller, &vault.Complete{Upload: u.upload(), Parts: []vault.WantedPart{part}})
		completed <- err
	}()
	held := gate.Next()
	gone()
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if n := u.engine.Wait(impatient); n != 1 {
		t.Errorf("%d uploads are being put together, not 1", n)
	}
	waited := make(chan int, 1)
	go func() { waited <- u.engine.Wait(t.Context()) }()
	select {
	case <-waited:
		t.Fatal("the end did not wait")
	case <-time.After(20 * time.Millisecond): // it would have been done at once
	}
	held.Release(nil)
	if n := <-waited; n != 0 {
		t.Errorf("%d uploads were not waited for", n)
	}
	if err := <-completed; err != nil {
		t.Error(err)
	}
	u.wants(vaulttest.Data(10, 1))
	if _, err := late.tryComplete(latePart); err == nil {
		t.Error("a Complete begins that nobody waits for")
	} else {
		wantError(t, "after the wait", err, storage.ErrUnreachable)
	}
	late.engine = i.Engine(t) // of another process
	i.Storage.SetFaults(nil)
	late.complete(latePart)
	late.wants(vaulttest.Data(10, 2))
}
