package serve

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func TestKeysThatCannotBeMadeAreTriedAgain(t *testing.T) {
	t.Parallel()
	notYet, tries, asked := errors.New("not yet"), 0, 0
	var of [3]context.Context
	makeKeysLater(t.Context(), time.Millisecond, func(context.Context) error {
		if asked++; asked == 1 {
			return notYet
		}
		return nil
	}, func(ctx context.Context) error {
		of[tries] = ctx
		if tries++; tries < 3 {
			return notYet
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	if tries != 3 || asked != 4 {
		t.Errorf("%d tries, %d questions", tries, asked)
	}
	if of[0].Err() == nil || of[2].Err() != nil {
		t.Errorf("what a try left goes on: %v, %v", of[0].Err(), of[2].Err())
	}
}

// undying is a store in which deletions do not come to their end.
type undying struct{ *mem.Store }

func (u undying) Delete(ctx context.Context, name string) error {
	if strings.HasSuffix(name, "@log") {
		return kms.ErrUnavailable
	}
	return u.Store.Delete(ctx, name)
}

// The name of a key that was deleted, and has not gone yet, is no key.
func TestADeadNameIsNoKey(t *testing.T) {
	t.Parallel()
	store := mem.New()
	keys, err := kms.NewLocal(kms.LocalOptions{Store: undying{store}})
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	log := slog.New(slog.DiscardHandler)
	for range 2 { // a key that is there is none to make
		if err := ensureKey(t.Context(), keys, "k", log); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := keys.RotateKey(t.Context(), "k", 0); err != nil {
		t.Fatal(err)
	}
	if err := keys.DeleteKey(t.Context(), "k"); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatalf("it was not cut off: %v", err)
	}
	if err := ensureKey(t.Context(), keys, "k", log); !errors.Is(err, kms.ErrKeyExists) {
		t.Errorf("a dead name: %v", err)
	}
	after, err := kms.NewLocal(kms.LocalOptions{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	if err := errors.Join(after.DeleteKey(t.Context(), "k"), ensureKey(t.Context(), after, "k", log)); err != nil {
		t.Errorf("once the deletion is finished: %v", err)
	}
	if _, err := after.DescribeKey(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}
