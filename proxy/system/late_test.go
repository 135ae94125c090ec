package system_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// rotatingKMS rotates the key once a DEK was given out.
type rotatingKMS struct {
	kms.Service
	rotate bool
}

func (r *rotatingKMS) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	dek, err := r.Service.GenerateDEK(ctx, name, encContext)
	if r.rotate && err == nil {
		r.rotate = false
		_, err = r.RotateKey(ctx, name, 0)
	}
	return dek, err
}

// What a process seals, and stores so late that its version of the key may be taken for one that
// seals nothing any more, is told of before anybody relies on it.
func TestLateWritesAreToldOf(t *testing.T) {
	t.Parallel()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	bucket := memory.New(memory.Options{}).System("own")
	if err := bucket.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	service := &rotatingKMS{Service: local}
	var told []string
	var pause time.Duration
	var failed error
	now := time.Now()
	store, err := system.New(system.Options{Service: bucket, KMS: service, Key: "system", Deployment: "test", Late: func(_ context.Context, key string, version uint32) error {
		told = append(told, fmt.Sprint(key, version))
		return failed
	}, Now: func() time.Time { now = now.Add(pause); return now }})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	writes := map[string]func() error{
		"an object": func() error {
			n++
			_, err := store.Put(t.Context(), "kind", fmt.Sprintf("object/%d", n), []byte("data"), "")
			return err
		},
		"a note": func() error {
			n++
			return store.PutNote(t.Context(), "kind", fmt.Sprintf("note/%d", n), []byte("data"), []byte("body"))
		},
		"a note that is replaced": func() error { return store.ReplaceNote(t.Context(), "kind", "replaced", []byte("data"), nil) },
		"an object that is sealed anew": func() error {
			_, err := store.Reseal(t.Context(), system.Layout{Prefix: "object/", Kind: "kind"}, system.Note{Name: "object/0"}, 1)
			return err
		},
		"a note that is sealed anew": func() error {
			note, err := store.Look(t.Context(), "note/0")
			if err == nil {
				_, err = store.Reseal(t.Context(), system.Layout{Prefix: "note/", Kind: "kind", Note: true}, note, 1)
			}
			return err
		},
	}
	if _, err := store.Put(t.Context(), "kind", "object/0", []byte("data"), ""); err != nil {
		t.Fatal(err)
	}
	if err := store.PutNote(t.Context(), "kind", "note/0", []byte("data"), nil); err != nil {
		t.Fatal(err)
	}
	for what, write := range writes {
		for how, c := range map[string]struct {
			pause  time.Duration
			rotate bool
			failed error
			want   int
		}{
			"at once": {0, true, nil, 0}, "late": {2 * time.Second, true, nil, 1}, "late, of a key that stays": {2 * time.Second, false, nil, 0},
			"late, and nobody hears": {2 * time.Second, true, errors.New("not noted"), 1}, "after a clock was set back": {-time.Hour, true, nil, 1},
		} {
			told, pause, failed, service.rotate = nil, c.pause, c.failed, c.rotate
			if err := write(); !errors.Is(err, c.failed) || len(told) != c.want {
				t.Errorf("%s, %s: %v, told of %s", what, how, err, told)
			}
		}
	}
	told, pause, failed, service.rotate = nil, time.Minute, nil, true
	if _, err := store.WithoutLate().Put(t.Context(), "kind", "notes", nil, ""); err != nil || len(told) != 0 {
		t.Errorf("%v, told of %s", err, told)
	}
}

// A write whose answer is lost may have been carried out: it is told of, too. One that was refused
// is not.
func TestALateWriteWhoseAnswerIsLostIsToldOf(t *testing.T) {
	t.Parallel()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	at := memory.New(memory.Options{})
	bucket := at.System("own")
	if err := bucket.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	service, told, now := &rotatingKMS{Service: local}, 0, time.Now()
	store, err := system.New(system.Options{Service: bucket, KMS: service, Key: "system", Deployment: "test", Late: func(context.Context, string, uint32) error {
		told++
		return nil
	}, Now: func() time.Time { now = now.Add(2 * time.Second); return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []struct {
		err  error
		told int
	}{{storage.ErrUnreachable, 1}, {&storage.Error{Status: 500, Code: "InternalError"}, 1}, {memory.Forbidden(), 0}} {
		at.SetFaults(func(_ context.Context, c *memory.Call) error {
			if c.Op == memory.Put && c.Step == memory.Done {
				return answer.err
			}
			return nil
		})
		for what, write := range map[string]func() error{
			"an object":               func() error { _, err := store.Put(t.Context(), "kind", "object", []byte("data"), ""); return err },
			"a note":                  func() error { return store.PutNote(t.Context(), "kind", "note", []byte("data"), nil) },
			"a note that is replaced": func() error { return store.ReplaceNote(t.Context(), "kind", "replaced", []byte("data"), nil) },
		} {
			told, service.rotate = 0, true
			if _, err := bucket.DeleteNotes(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
			if err := write(); err == nil || told != answer.told {
				t.Errorf("%s, %v: %v, told of %d", what, answer.err, err, told)
			}
		}
	}
}
