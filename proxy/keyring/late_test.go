package keyring

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// A write that was begun before its KMS key was rotated is told of before it is acknowledged.
func TestAWriteUnderAnOlderVersionIsToldOf(t *testing.T) {
	t.Parallel()
	b := newTestBucketKeys(t, 0)
	var told []string
	var failed error
	issue := func() *issuedDEK {
		dek, _, err := b.fresh(t.Context(), "k", nil)
		if err != nil {
			t.Fatal(err)
		}
		return &issuedDEK{verifier: b.verifier, name: "k", ciphertext: dek.Ciphertext, asked: time.Now().Add(-2 * dekLease), late: func(_ context.Context, key string, version uint32) error {
			told = append(told, fmt.Sprint(key, version))
			return failed
		}}
	}
	old := issue()
	if err := issue().confirm(t.Context()); err != nil || len(told) != 0 {
		t.Errorf("under the newest version: %v, %v", err, told)
	}
	if _, err := b.kms.RotateKey(t.Context(), "k", 0); err != nil {
		t.Fatal(err)
	}
	if err := issue().confirm(t.Context()); err != nil || len(told) != 0 {
		t.Errorf("under the new version: %v, %v", err, told)
	}
	failed = errors.New("not noted")
	if err := old.confirm(t.Context()); !errors.Is(err, failed) {
		t.Errorf("acknowledged although it is not noted: %v", err)
	}
	failed = nil
	if err := old.confirm(t.Context()); err != nil || len(told) != 2 || told[0] != "k1" {
		t.Errorf("%v, %v", err, told)
	}
}
