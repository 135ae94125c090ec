package vault_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/sse"
)

var errNotHisKey = errors.New("not his key")

// notFrom chooses what does not lie under a KMS key, and refuses what does. seen is called
// before it answers.
func notFrom(key string, seen func()) func(context.Context, *maintenance.Candidate) (bool, error) {
	return func(_ context.Context, c *maintenance.Candidate) (bool, error) {
		defer seen()
		if c.KMSKey == key {
			return false, errNotHisKey
		}
		return c.KMSKey != "other", nil
	}
}

// Who chose an object chooses it again if it was re-keyed between that and its own turn: it may
// not be moved from where it lies by then.
func TestAnObjectThatIsRekeyedMeanwhileIsChosenAgain(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	if err := k.KMS.CreateKey(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	moved, rival := false, k.Installation.Engine(t)
	var reports []maintenance.Rewrapped
	total, err := k.Engine.Rewrap(t.Context(), &maintenance.Rewrap{
		To: "other", Mode: sse.ModeKMS, Report: func(r maintenance.Rewrapped) { reports = append(reports, r) },
		Only: notFrom("secret", func() {
			if !moved {
				moved = true
				k.mustRekey(t, rival, o.Name, kmsAs("secret", false))
			}
		}),
	})
	if err != nil || total.Failed != 1 || total.Done != 0 || len(reports) != 1 || !errors.Is(reports[0].Err, errNotHisKey) {
		t.Errorf("%+v %v, %+v", total, err, reports)
	}
	k.wantTold(t, "re-keyed meanwhile", k.Installation.Engine(t), o, "SSE-KMS secret false")
}

// A key is opened with a wrap that lies there, whether it counts yet or not: so who chooses must
// let that pass too.
func TestAnObjectIsChosenByTheWrapThatOpensIt(t *testing.T) {
	t.Parallel()
	k := newRekeys(t)
	if err := k.KMS.CreateKey(t.Context(), "secret"); err != nil {
		t.Fatal(err)
	}
	o := k.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	var wrote atomic.Bool
	k.Storage.SetFaults(func(_ context.Context, c *memory.Call) error { // the update is cut off behind its wrap
		if wrote.Load() && strings.HasPrefix(c.Name.Key, "rekeyed/") && c.Step == memory.Arrived {
			return storage.ErrUnreachable
		}
		if strings.HasPrefix(c.Name.Key, "wrap") && c.Op == memory.Put && c.Step == memory.Done {
			wrote.Store(true)
		}
		return nil
	})
	if err := k.rekey(t, k.Installation.Engine(t), o.Name, kmsAs("secret", false)); err == nil || !wrote.Load() {
		t.Fatalf("it is not cut off: %v", err)
	}
	k.Storage.SetFaults(nil)
	var failed error
	total, err := k.Installation.Engine(t).Rewrap(t.Context(), &maintenance.Rewrap{
		To: "other", Mode: sse.ModeKMS, Report: func(r maintenance.Rewrapped) { failed = r.Err }, Only: notFrom("secret", func() {}),
	})
	if err != nil || total.Done != 0 || !errors.Is(failed, errNotHisKey) {
		t.Errorf("%+v %v, %v", total, err, failed)
	}
	k.wantTold(t, "cut off", k.Installation.Engine(t), o, "SSE-KMS default false")
}
