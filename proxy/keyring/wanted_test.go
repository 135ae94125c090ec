package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/sse"
)

// An object that nothing but a retired version of its KMS key opens is told of when it is asked
// for; one that is open, or gone for ever, is not.
func TestAnObjectUnderARetiredVersionIsToldOf(t *testing.T) {
	t.Parallel()
	local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	var told []string
	k := New(Options{KMS: local, Rights: everybody{}, DefaultKey: "k", S3Key: "k", Wanted: func(key string, version uint32) {
		told = append(told, fmt.Sprint(key, " ", version))
	}})
	name := sse.Name{Bucket: "bucket", Key: "key"}
	of := write(t, k, name, &sse.Request{Mode: sse.ModeKMS})
	open := func() error {
		_, err := k.Open(context.Background(), Operator(), name, of.record, nil)
		return err
	}
	if err := open(); err != nil || told != nil {
		t.Errorf("%v, told of %q", err, told)
	}
	if _, err := local.RotateKey(t.Context(), "k", 0); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		action kms.VersionAction
		err    error
		told   []string
	}{{kms.Retire, kms.ErrVersionRetired, []string{"k 1"}}, {kms.Destroy, kms.ErrVersionDestroyed, nil}} {
		told = nil
		if err := local.ChangeVersion(t.Context(), "k", kms.VersionChange{Action: step.action, Version: 1, Force: true}); err != nil {
			t.Fatal(err)
		}
		if err := open(); !errors.Is(err, step.err) || !slices.Equal(told, step.told) {
			t.Errorf("%s: %v, told of %q", step.action, err, told)
		}
	}
}
