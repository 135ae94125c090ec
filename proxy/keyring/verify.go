package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bucketseal/bucketseal/kms"
)

const (
	// dekLease is how long a DEK is written with since its KMS key was last known to
	// open it, counted from before that was asked.
	dekLease = time.Second
	// verifyTimeout bounds one question.
	verifyTimeout = 10 * time.Second
)

// withinLease says whether something that was asked for at a time still counts. Both
// clocks do: the monotonic one stands still while a machine sleeps.
func withinLease(asked, now time.Time) bool {
	wall := now.Round(0).Sub(asked.Round(0))
	return now.Sub(asked) < dekLease && wall < dekLease && wall > -dekLease
}

// errReplacedKey says that a KMS key is another one than when it sealed a DEK.
var errReplacedKey = fmt.Errorf("the KMS key was replaced: %w", kms.ErrUnavailable)

// dekVerifier asks the key service whether it still opens a DEK. A KMS key that is
// removed, or made anew under its name, opens none: what is written with such a DEK
// can never be read. One question is asked for all who want to know the same.
type dekVerifier struct {
	kms    kms.Service
	flight singleflight.Group
}

// verified is an answer of verify.
type verified struct {
	asked time.Time // from when it is
	// latest is the newest version of the KMS key, 0 if the service does not tell.
	latest uint32
}

// verify returns from when the answer is. kms.ErrKeyNotFound, ErrNotPermitted,
// ErrVersionRetired, ErrUnavailable, which another KMS key of that name is too: a new
// DEK will do.
func (v *dekVerifier) verify(ctx context.Context, name string, ciphertext, encContext []byte) (answer verified, err error) {
	detached := kms.Uncached(context.WithoutCancel(ctx))
	done := v.flight.DoChan(name+"\x00"+string(ciphertext), func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, verifyTimeout)
		defer cancel()
		var used kms.UsedKey
		asked := time.Now()
		dek, err := v.kms.DecryptDEK(kms.NoteUsedKey(ctx, &used), name, ciphertext, encContext)
		clear(dek[:])
		return verified{asked, used.Latest}, err
	})
	select {
	case result := <-done:
		answer, err = result.Val.(verified), result.Err
	case <-ctx.Done():
		return verified{}, ctx.Err()
	}
	switch {
	case errors.Is(err, kms.ErrDecrypt):
		err = fmt.Errorf("the KMS key %q does not open what it sealed: %w (%v)", name, errReplacedKey, err) //nolint:errorlint // it would be called tampering
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("the KMS key %q: no answer within %v: %w", name, verifyTimeout, kms.ErrUnavailable)
	}
	return answer, err
}

// issuedDEK is the DEK that an object is written with. Nil stands for none.
type issuedDEK struct {
	verifier            *dekVerifier
	name                string
	ciphertext, context []byte
	asked               time.Time // when its KMS key was last known to open it
	// late is Options.Late, nil for nothing.
	late func(ctx context.Context, kmsKey string, version uint32) error
}

// doubtFor bounds what is done about a write of which nobody knows whether it was done.
const doubtFor = 5 * time.Second

// doubt is confirm for a write that failed and may have been done: nobody is told, and whoever
// waits for the write does not end it.
func (d *issuedDEK) doubt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), doubtFor)
	defer cancel()
	_ = d.confirm(ctx)
}

// ErrUnconfirmed says that something is stored, and that its KMS key does not open it any more: the key was
// deleted, or its version retired, meanwhile. Whoever asked can take it neither for done nor for not done.
var ErrUnconfirmed = errors.New("it is stored, and its KMS key does not open it any more")

// Unconfirmed is what a Confirm after the storage's answer ended with: what says that there is no key must not sound
// as if nothing had been stored.
func Unconfirmed(err error) error {
	if err == nil || errors.Is(err, kms.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
}

// confirm is asked before a write is acknowledged. Errors are those of verify.
func (d *issuedDEK) confirm(ctx context.Context) error {
	if d == nil || withinLease(d.asked, time.Now()) {
		return nil
	}
	answer, err := d.verifier.verify(ctx, d.name, d.ciphertext, d.context)
	if err != nil {
		return fmt.Errorf("before the write is acknowledged: %w", err)
	}
	if version := kms.CiphertextVersion(d.ciphertext); d.late != nil && answer.latest > version {
		if err := d.late(ctx, d.name, version); err != nil {
			return fmt.Errorf("before a write under version %d of %q is acknowledged: %w", version, d.name, err)
		}
	}
	d.asked = answer.asked
	return nil
}
