package manifest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// TestUploadNotedThoughTheAnswerWasLost holds that an upload whose note was stored is
// noted, and that who cannot look is told what may pass.
func TestUploadNotedThoughTheAnswerWasLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		looks bool
		want  error
	}{"the note is looked up": {true, nil}, "the note cannot be looked up": {false, storage.ErrUnreachable}} {
		synctest.Test(t, func(t *testing.T) {
			keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
			if err != nil {
				t.Fatal(err)
			}
			defer keys.Close()
			if err := keys.CreateKey(t.Context(), "system"); err != nil {
				t.Fatal(err)
			}
			at := memory.New(memory.Options{})
			bucket := at.System("system")
			if err := bucket.CreateBucket(t.Context()); err != nil {
				t.Fatal(err)
			}
			s, err := system.New(system.Options{Service: bucket, KMS: keys, Key: "system", Deployment: "test"})
			if err != nil {
				t.Fatal(err)
			}
			puts := 0
			at.SetFaults(func(_ context.Context, c *memory.Call) error {
				if c.Op == memory.Put && c.Step == memory.Done {
					if puts++; puts == 1 {
						return storage.ErrUnreachable
					}
				}
				if c.Op == memory.Head && !test.looks {
					return storage.ErrUnreachable
				}
				return nil
			})
			err = NewLedger(s).Create(t.Context(), &Upload{Bucket: "bucket", Key: "key", ID: "id"})
			if puts != 2 || !errors.Is(err, test.want) || errors.Is(err, system.ErrConflict) {
				t.Errorf("%s: %v after %d writes", name, err, puts)
			}
		})
	}
}
