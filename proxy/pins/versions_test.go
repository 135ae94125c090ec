package pins_test

import (
	"context"
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
)

// A key that is rotated again and again stays the pinned one, also when the versions
// that were pinned first are retired; a key in its place is refused, whatever version
// it says that it is.
func TestRotatedKeyStaysThePinnedOne(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		ctx := k.Context()
		p := k.proxy()
		first := k.serves(p, key)
		for version := uint32(2); version < 6; version++ {
			n, err := k.service.RotateKey(ctx, key, 0)
			k.must(err)
			if dek := k.serves(p, key); n != version || kms.CiphertextVersion(dek.Ciphertext) != version {
				k.Errorf("version %d: %d", version, kms.CiphertextVersion(dek.Ciphertext))
			}
			if version > 2 {
				continue
			}
			if dek, err := p.DecryptDEK(ctx, key, first.Ciphertext, encContext); err != nil || dek != first.Plaintext {
				k.Errorf("what version 1 sealed: %v", err)
			}
			if _, silent := k.service.(silent); silent {
				continue // a KES has no versions to retire, and its witness is of version 1
			}
			k.must(k.service.ChangeVersion(ctx, key, kms.VersionChange{Action: kms.Retire, Version: 1, Force: true}))
			_, err = p.DecryptDEK(ctx, key, first.Ciphertext, encContext)
			if !errors.Is(err, kms.ErrVersionRetired) {
				k.Errorf("what a retired version sealed: %v", err)
			}
			k.serves(k.proxy(), key) // one that reads the note
		}
		if p.Alarms() != 0 {
			k.Errorf("%d alarms: %s", p.Alarms(), k.log)
		}
		old := k.serves(p, key)
		k.replace(key)
		k.refused(p, key, old)
		for range 4 { // up to the numbers that are pinned, and beyond
			_, err := k.service.RotateKey(ctx, key, 0)
			k.must(err)
			k.refused(p, key, old)
			k.refused(k.proxy(), key, old)
		}
		_, err := k.service.RotateKey(ctx, key, 0)
		k.must(err)
		k.refused(p, key, old)
	})
}

func TestCallerLearnsWhichVersionWasUsed(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		p := k.proxy()
		dek := k.serves(p, key)
		if _, silent := k.service.(silent); silent {
			return
		}
		_, err := k.service.RotateKey(k.Context(), key, 0)
		k.must(err)
		var used kms.UsedKey
		_, err = p.DecryptDEK(kms.NoteUsedKey(context.WithoutCancel(k.Context()), &used), key, dek.Ciphertext, encContext)
		if err != nil || used.Version != 1 || used.Latest != 2 {
			k.Errorf("%+v, %v", used, err)
		}
	})
}

// A proxy that did nothing under a key since it was rotated, while another one pinned the new
// version and the old one was retired, takes the other's word.
func TestProxyThatSleptThroughARotationReadsTheNote(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		if _, silent := k.service.(silent); silent {
			return // no versions to retire
		}
		ctx := k.Context()
		slept, other := k.proxy(), k.proxy()
		k.serves(slept, key)
		_, err := k.service.RotateKey(ctx, key, 0)
		k.must(err)
		dek := k.serves(other, key)
		k.must(k.service.ChangeVersion(ctx, key, kms.VersionChange{Action: kms.Retire, Version: 1, Force: true}))
		if got, err := slept.DecryptDEK(ctx, key, dek.Ciphertext, encContext); err != nil || got != dek.Plaintext {
			k.Errorf("opened with %v", err)
		}
		if slept.Alarms() != 0 {
			k.Errorf("%d alarms", slept.Alarms())
		}
		// One that nobody has pinned is not told to be of the same key by anything.
		_, err = k.service.RotateKey(ctx, key, 0)
		k.must(err)
		k.must(k.service.ChangeVersion(ctx, key, kms.VersionChange{Action: kms.Retire, Version: 2, Force: true}))
		if _, err := slept.GenerateDEK(ctx, key, encContext); !errors.Is(err, kms.ErrVersionRetired) {
			k.Errorf("a version that nobody knows: %v", err)
		}
	})
}
