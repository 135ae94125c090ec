package vault_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// tellsOfLate is an installation whose engine tells of late writes.
type tellsOfLate struct {
	*writeKit
	mu   sync.Mutex
	told []string
}

func newTellsOfLate(t *testing.T) *tellsOfLate {
	t.Helper()
	k := &tellsOfLate{writeKit: newWriteKit(t)}
	k.at.Change = func(o *vaulttest.Options) {
		o.SmallObject = smallWrite
		o.Keys = keyring.New(keyring.Options{
			KMS: k.at.KMS, Rights: &vaulttest.Rights{}, DefaultKey: "default", S3Key: "s3", Wraps: o.Wraps, Rekeyed: o.Book,
			Late: func(_ context.Context, key string, version uint32) error {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.told = append(k.told, fmt.Sprint(key, " ", version))
				return nil
			},
		})
	}
	k.e = k.at.Engine(t)
	return k
}

// rotateDuring has a KMS key rotated while a write is carried out, which ends with an error then.
// In the system bucket it is the write of a wrap.
func (k *tellsOfLate) rotateDuring(op memory.Op, bucket, key string, ends error) {
	rotated := false
	k.at.Storage.SetFaults(func(ctx context.Context, c *memory.Call) error {
		if c.Op != op || c.Name.Bucket != bucket || bucket != vaulttest.Bucket && !strings.HasPrefix(c.Name.Key, "wrap/") {
			return nil
		}
		switch c.Step {
		case memory.Ready:
			if rotated { // it is tried again
				return nil
			}
			rotated = true
			if _, err := k.at.KMS.RotateKey(ctx, key, 0); err != nil {
				return err
			}
			time.Sleep(1100 * time.Millisecond) // a DEK counts for a second
		case memory.Done:
			return ends
		}
		return nil
	})
}

// A write under a version of a KMS key that a rotation overtook is told of although its answer is
// lost: the storage may have it, in the place of what was there.
func TestAWriteWhoseAnswerIsLostIsToldOf(t *testing.T) {
	t.Parallel()
	small, large := []byte("small"), someBytes(t, 2*smallWrite)
	system := "bucketseal-system"
	for what, c := range map[string]struct {
		op     memory.Op
		bucket string
		key    string
		do     func(*tellsOfLate) error
	}{
		"small":    {memory.Put, vaulttest.Bucket, "s3", func(k *tellsOfLate) error { _, err := k.put("a", small, sse.ModeS3); return err }},
		"streamed": {memory.Put, vaulttest.Bucket, "default", func(k *tellsOfLate) error { _, err := k.put("a", large, sse.ModeKMS); return err }},
		"a copy": {memory.Copy, vaulttest.Bucket, "default", func(k *tellsOfLate) error {
			_, err := k.copy(reading("there", sse.ModeKMS), "b", sse.ModeKMS)
			return err
		}},
		"an update": {memory.Put, system, "other", func(k *tellsOfLate) error {
			return k.e.Vault.Rekey(k.Context(), k.c, &vault.Rekey{Name: vaulttest.Name("there"), Asked: func() (*caller.Caller, encryption.Asked, error) {
				return k.c, encryption.Asked{Request: kmsAs("other", false)}, nil
			}})
		}},
		"a re-wrap": {memory.Put, system, "other", func(k *tellsOfLate) (failed error) {
			_, err := k.e.Rewrap(k.Context(), &maintenance.Rewrap{Key: "default", To: "other", Report: func(r maintenance.Rewrapped) { failed = r.Err }})
			return errors.Join(failed, err)
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := newTellsOfLate(t)
			k.mustPut("there", small, sse.ModeKMS)
			k.rotateDuring(c.op, c.bucket, c.key, fmt.Errorf("the answer is lost: %w", storage.ErrUnreachable))
			err := c.do(k)
			if !errors.Is(err, storage.ErrUnreachable) && what != "a re-wrap" || !slices.Contains(k.told, c.key+" 1") {
				t.Errorf("%v, told of %q", err, k.told)
			}
		})
	}
}

// A write whose KMS key is deleted while the storage carries it out was done: no answer sounds as if it was not.
func TestAWriteWhoseKeyIsDeletedMeanwhileIsNotCalledRefused(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		op  memory.Op
		put func(*tellsOfLate) error
	}{
		"small":    {memory.Put, func(k *tellsOfLate) error { _, err := k.put("a", []byte("small"), sse.ModeKMS); return err }},
		"streamed": {memory.Put, func(k *tellsOfLate) error { _, err := k.put("a", someBytes(t, 2*smallWrite), sse.ModeKMS); return err }},
		"a copy": {memory.Copy, func(k *tellsOfLate) error {
			_, err := k.copy(reading("there", sse.ModeS3), "a", sse.ModeKMS)
			return err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			k := newTellsOfLate(t)
			k.mustPut("there", []byte("small"), sse.ModeS3)
			k.at.Storage.SetFaults(func(ctx context.Context, call *memory.Call) error {
				if call.Op != c.op || call.Name.Bucket != vaulttest.Bucket || call.Step != memory.Ready {
					return nil
				}
				time.Sleep(1100 * time.Millisecond) // a DEK counts for a second
				return k.at.KMS.DeleteKey(ctx, "default")
			})
			err := c.put(k)
			k.at.Storage.SetFaults(nil)
			if !errors.Is(err, keyring.ErrUnconfirmed) || !errors.Is(err, kms.ErrKeyNotFound) {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

// A write that the storage refused is nothing to tell of.
func TestARefusedWriteIsNotToldOf(t *testing.T) {
	t.Parallel()
	k := newTellsOfLate(t)
	k.rotateDuring(memory.Put, vaulttest.Bucket, "s3", &storage.Error{Status: 507, Code: "XMinioStorageFull"})
	if _, err := k.put("a", []byte("small"), sse.ModeS3); err == nil || !slices.Contains(k.told, "s3 1") {
		t.Errorf("an error of the storage's own: %v, told of %q", err, k.told)
	}
	k.told = nil
	k.rotateDuring(memory.Put, vaulttest.Bucket, "s3", memory.Forbidden())
	if _, err := k.put("a", []byte("small"), sse.ModeS3); !errors.Is(err, storage.ErrForbidden) || len(k.told) != 0 {
		t.Errorf("%v, told of %q", err, k.told)
	}
}
