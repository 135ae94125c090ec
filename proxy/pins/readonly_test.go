package pins_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// readOnly is a key service whose policy lets the proxy open DEKs and make none.
type readOnly struct{ kms.Service }

func (readOnly) GenerateDEK(context.Context, string, []byte) (kms.DEK, error) {
	return kms.DEK{}, kms.ErrNotPermitted
}

// counting counts the requests that a remote key service would get.
type counting struct {
	kms.Service
	n atomic.Int32
}

func (c *counting) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	c.n.Add(1)
	return c.Service.GenerateDEK(ctx, name, encContext)
}

func (c *counting) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	c.n.Add(1)
	return c.Service.DecryptDEK(ctx, name, ciphertext, encContext)
}

// opens checks that a proxy opens a DEK.
func (k *kit) opens(p *pins.Keys, dek kms.DEK, encContext []byte) {
	k.Helper()
	opened, err := p.DecryptDEK(k.Context(), key, dek.Ciphertext, encContext)
	k.must(err)
	if opened != dek.Plaintext {
		k.Error("a DEK opens as another")
	}
}

// forged replaces the key and returns a DEK of the new one.
func (k *kit) forged() kms.DEK {
	k.Helper()
	k.replace(key)
	service := k.service
	if r, ok := service.(readOnly); ok {
		service = r.Service
	}
	dek, err := service.GenerateDEK(k.Context(), key, encContext)
	k.must(err)
	return dek
}

// A key under which the proxy may only read is pinned by what it opens.
func TestKeyThatMayOnlyBeReadIsPinned(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		long := fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("b", 2000))
		dek, err := k.service.GenerateDEK(k.Context(), key, encContext)
		k.must(err)
		other, err := k.service.GenerateDEK(k.Context(), key, long)
		k.must(err)
		k.service = readOnly{k.service}
		unkept := k.proxy()
		k.opens(unkept, other, long)
		if len(k.notes.kept) != 0 {
			k.Error("a context that fits no note was kept")
		}
		running := k.proxy()
		k.opens(running, dek, encContext)
		k.opens(running, other, long)
		if len(k.notes.kept) != 1 {
			k.Errorf("%d notes", len(k.notes.kept))
		}
		k.opens(k.proxy(), other, long)
		forged := k.forged()
		for name, p := range map[string]*pins.Keys{"unkept": unkept, "running": running, "new": k.proxy()} {
			if opened, err := p.DecryptDEK(k.Context(), key, forged.Ciphertext, encContext); !errors.Is(err, kms.ErrKeyReplaced) || opened != ([kms.DEKSize]byte{}) {
				k.Errorf("%s: what another key sealed: %v", name, err)
			}
		}
	})
}

// What was opened first may fit no note; the next that does is kept, if it is of the same
// key.
func TestPinIsKeptWithTheFirstContextThatFits(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		long := fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("b", 2000))
		dek, err := k.service.GenerateDEK(k.Context(), key, encContext)
		k.must(err)
		first, err := k.service.GenerateDEK(k.Context(), key, long)
		k.must(err)
		k.service = readOnly{k.service}
		p, other := k.proxy(), k.proxy()
		k.opens(p, first, long)
		k.opens(other, first, long)
		k.notes.full = fmt.Errorf("%w: XMinioStorageFull", storage.ErrUnreachable)
		k.opens(other, dek, encContext)
		k.notes.full = nil
		k.opens(p, dek, encContext)
		if len(k.notes.kept) != 1 {
			k.Errorf("%d notes", len(k.notes.kept))
		}
		k.opens(p, first, long)

		clear(k.notes.kept)
		late := k.proxy()
		k.opens(late, first, long)
		clear(k.notes.kept)
		forged := k.forged()
		for name, p := range map[string]*pins.Keys{"kept": p, "remembered": other, "long": late} {
			if _, err := p.DecryptDEK(k.Context(), key, forged.Ciphertext, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
				k.Errorf("%s: what another key sealed: %v", name, err)
			}
		}
		if len(k.notes.kept) != 0 {
			k.Error("another key was pinned than the one that was read under")
		}
	})
}

// What is there can be read while MinIO takes no pin, for instance as it is full;
// nothing is written under the key before it does.
func TestKeyIsReadWhileItsPinCannotBeKept(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		dek, err := k.service.GenerateDEK(k.Context(), key, encContext)
		k.must(err)
		full := fmt.Errorf("%w: XMinioStorageFull", storage.ErrUnreachable)
		k.notes.full = full
		p, other := k.proxy(), k.proxy()
		for range 2 {
			k.opens(p, dek, encContext)
			if _, err := p.GenerateDEK(k.Context(), key, encContext); !errors.Is(err, kms.ErrUnavailable) {
				k.Errorf("generate: %v", err)
			}
		}
		k.opens(other, dek, encContext)
		if n := strings.Count(k.log.String(), "cannot be kept"); n != 2 {
			k.Errorf("%d warnings: %s", n, k.log)
		}
		k.notes.full = nil
		k.serves(p, key)
		if len(k.notes.kept) != 1 {
			k.Errorf("%d notes", len(k.notes.kept))
		}

		clear(k.notes.kept)
		k.refuses(other, k.forged())
		if len(k.notes.kept) != 0 {
			k.Error("another key was pinned than the one that was read under")
		}
	})
}

// refuses checks that nothing comes of what another key seals.
func (k *kit) refuses(p *pins.Keys, forged kms.DEK) {
	k.Helper()
	if _, err := p.GenerateDEK(k.Context(), key, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
		k.Errorf("generate: %v", err)
	}
	if _, err := p.DecryptDEK(k.Context(), key, forged.Ciphertext, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
		k.Errorf("what another key sealed: %v", err)
	}
}

// A proxy that was just started and only reads says that a key was replaced too, and
// not that objects are damaged.
func TestReplacedKeyIsToldByTheFirstReadToo(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		old := k.serves(k.proxy(), key)
		k.replace(key)
		p := k.proxy()
		if _, err := p.DecryptDEK(k.Context(), key, old.Ciphertext, encContext); !errors.Is(err, kms.ErrKeyReplaced) || p.Alarms() != 1 {
			k.Errorf("%v, %d alarms", err, p.Alarms())
		}
	})
}

// A proxy that was just started seals nothing under a key that does not open what is
// there, and says so; it reads what it can.
func TestKeyOfNotesThatWasReplacedSealsNothing(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		dek, err := k.service.GenerateDEK(k.Context(), own, encContext)
		k.must(err)
		fits := fmt.Errorf("the index: %w", kms.ErrKeyReplaced)
		p := k.proxy()
		p.Keep(k.notes, func(context.Context) error { return nil }, func(context.Context) error { return fits })
		for range 2 {
			if made, err := p.GenerateDEK(k.Context(), own, encContext); !errors.Is(err, kms.ErrKeyReplaced) || made.Plaintext != ([kms.DEKSize]byte{}) {
				k.Errorf("generate: %v", err)
			}
			if opened, err := p.DecryptDEK(k.Context(), own, dek.Ciphertext, encContext); err != nil || opened != dek.Plaintext {
				k.Errorf("decrypt: %v", err)
			}
		}
		if n := strings.Count(k.log.String(), "ALARM: what tells"); n != 1 || p.Alarms() != 2 {
			k.Errorf("%d lines of alarm, %d alarms", n, p.Alarms())
		}
		fits = nil
		k.serves(p, own)
		k.replace(own)
		if _, err := p.GenerateDEK(k.Context(), own, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
			k.Errorf("generate with another key: %v", err)
		}
	})
}

// What is read first is pinned at once, before anything is sealed.
func TestKeyOfNotesIsPinnedByReading(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		dek, err := k.service.GenerateDEK(k.Context(), own, encContext)
		k.must(err)
		p := k.proxy()
		_, err = p.DecryptDEK(k.Context(), own, dek.Ciphertext, encContext)
		k.must(err)
		k.replace(own)
		if _, err := p.GenerateDEK(k.Context(), own, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
			k.Errorf("generate with another key: %v", err)
		}
	})
}

// A pin that does not open is an alarm.
func TestPinThatDoesNotOpenIsAnAlarm(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		old := k.serves(k.proxy(), key)
		k.notes.kept["key-pinkeys/"+key] = []byte("sealed under another key")
		k.replace(key)
		p := k.proxy()
		_, made := p.GenerateDEK(k.Context(), key, encContext)
		_, opened := p.DecryptDEK(k.Context(), key, old.Ciphertext, encContext)
		if made == nil || opened == nil || p.Alarms() != 2 || strings.Count(k.log.String(), "ALARM: what tells") != 1 {
			k.Errorf("%v, %v, %d alarms: %s", made, opened, p.Alarms(), k.log)
		}
	})
}

// A pin that was replaced since cannot be brought back at a proxy that runs.
func TestOldPinIsNotTakenAgain(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		secret := [kms.DEKSize]byte{7}
		k.must(k.service.DeleteKey(k.Context(), key))
		k.must(k.service.ImportKey(k.Context(), key, secret, kms.AES256))
		k.serves(k.proxy(), key)
		old := bytes.Clone(k.notes.kept["key-pinkeys/"+key])
		k.replace(key)
		running := k.proxy()
		_, _, err := running.Accept(k.Context(), key)
		k.must(err)
		k.serves(running, key)

		k.notes.kept["key-pinkeys/"+key] = old
		k.must(k.service.DeleteKey(k.Context(), key))
		k.must(k.service.ImportKey(k.Context(), key, secret, kms.AES256))
		if _, err := running.GenerateDEK(k.Context(), key, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
			k.Errorf("a key that was given up, with its old pin: %v", err)
		}
	})
}

// Pins cost a service that tells fingerprints one request for each key, and any other
// one more for each DEK.
func TestRequestsOfPins(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		_, silent := k.service.(silent)
		c := &counting{Service: k.service}
		k.service = c
		p := k.proxy()
		const deks = 20
		for range deks {
			k.serves(p, key)
		}
		want := int32(2*deks + 1)
		if silent {
			want += 2 * deks
		}
		if n := c.n.Load(); n != want {
			k.Errorf("%d requests for %d DEKs that were made and opened, want %d", n, deks, want)
		}
		c.n.Store(0)
		k.serves(k.proxy(), key) // the note is there
		if n := c.n.Load(); !silent && n != 2 {
			k.Errorf("%d requests after a start, want 2", n)
		}
	})
}
