package rekey_test

import (
	"context"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// A record whose wraps begin to count while it is updated is noted as being written, before its
// wrap is: else some proxies would go on believing in what they have read before.
func TestARecordThatComesIntoScopeMeanwhileIsPending(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	writer, other := i.Engine(t), i.Engine(t)
	rec := &sse.Record{Mode: sse.ModeKMS, KMSKey: "default", KMSKeyVersion: 1}
	ref := manifest.WrapRef{Name: vaulttest.Name("object"), Record: rec.Digest()}
	comesIn := func(ctx context.Context) {
		run := other.Book.Run(vaulttest.Bucket)
		if err := run.Ensure(ctx, []*sse.Record{rec}, nil); err != nil {
			t.Fatal(err)
		}
		known, err := run.End(ctx)
		if err == nil {
			err = other.Book.Obeyed(ctx, known)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	seals, confirms := 0, 0
	seal := func(counts *sse.Wrap) (rekey.Sealed, error) {
		if seals++; seals == 1 {
			comesIn(t.Context())
		}
		attempt := seals
		return rekey.Sealed{
			Wrap: &sse.Wrap{Mode: sse.ModeKMS, KMSKey: "other", KMSKeyVersion: 1, SealedDEK: []byte("sealed")},
			Confirm: func(ctx context.Context) error { // before the wrap is written, and after
				if confirms++; attempt > 1 && writer.Book.Settled(ctx, ref.Name, rec) {
					t.Error("nobody knows that a wrap is written")
				}
				return nil
			},
		}, nil
	}
	if err := writer.Book.Update(t.Context(), ref, rec, seal); err != nil {
		t.Fatal(err)
	}
	if seals != 2 || confirms != 3 {
		t.Errorf("sealed %d times, confirmed %d times", seals, confirms)
	}
	if !writer.Book.Settled(t.Context(), ref.Name, rec) {
		t.Error("the mark stayed")
	}
	if w, in, err := other.Book.Of(t.Context(), ref.Name, rec); err != nil || !in || w == nil || w.KMSKey != "other" {
		t.Errorf("%+v, %t, %v", w, in, err)
	}
}
