package keyring

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/sse"
)

// rotating rotates a KMS key after a number of DEKs.
type rotating struct {
	kms.Service
	after int
}

func (r *rotating) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	dek, err := r.Service.GenerateDEK(ctx, name, encContext)
	if r.after--; r.after == 0 {
		if _, err := r.RotateKey(ctx, name, 0); err != nil {
			return kms.DEK{}, err
		}
	}
	return dek, err
}

// A key that is sealed once more while its KMS key is rotated lies under the new version; and
// one that is stored after a rotation is told of, as is an upload that becomes an object.
func TestAWrapUnderAnOlderVersionIsToldOf(t *testing.T) {
	t.Parallel()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	for _, key := range []string{"a", "b"} {
		if err := local.CreateKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	service := &rotating{Service: local}
	var told []string
	k := New(Options{KMS: service, Rights: everybody{}, DefaultKey: "a", S3Key: "a", Late: func(_ context.Context, key string, version uint32) error {
		told = append(told, fmt.Sprint(key, " ", version))
		return nil
	}})
	name := sse.Name{Bucket: "bucket", Key: "key"}
	of := write(t, k, name, &sse.Request{Mode: sse.ModeKMS})
	service.after = 1
	sealed, err := k.Rewrap(t.Context(), name, of.record, nil, Target{KMSKey: "b"})
	if err != nil || sealed.Wrap.KMSKeyVersion != 2 {
		t.Fatalf("sealed while the KMS key was rotated: %+v, %v", sealed, err)
	}
	asked := sse.Request{Mode: sse.ModeKMS, KMSKeyID: "b"}
	other, err := k.Rekey(t.Context(), Operator(), SealingAs(name, of.record, nil), &asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if _, err := local.RotateKey(t.Context(), key, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range []*Resealed{sealed, other} {
		if err := one.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) != 0 {
		t.Errorf("within the moment in which every server learns of it: %s", told)
	}
	for _, one := range []*Resealed{sealed, other} {
		one.issued.asked = time.Now().Add(-2 * dekLease)
		if err := one.Confirm(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Confirm(t.Context(), name, of.record); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b 2", "b 2", "a 1"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
