package pins_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// notes is a system bucket. Sealing is tested in package system.
type notes struct {
	mu   sync.Mutex
	kept map[string][]byte
	lost error // the next PersistNote stores and then says this
	full error // PersistNote and ReplaceNote store nothing and say this
	puts int
}

func (n *notes) PersistNote(_ context.Context, kind, name string, data, _ []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full != nil {
		return n.full
	}
	if n.kept[kind+name] != nil {
		return system.ErrConflict
	}
	n.kept[kind+name] = bytes.Clone(data)
	n.puts++
	lost := n.lost
	n.lost = nil
	return lost
}

func (n *notes) ReplaceNote(_ context.Context, kind, name string, data, _ []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full != nil {
		return n.full
	}
	n.kept[kind+name] = bytes.Clone(data)
	n.puts++
	return nil
}

func (n *notes) GetNote(_ context.Context, kind, name string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kept[kind+name] == nil {
		return nil, system.ErrNotFound
	}
	return bytes.Clone(n.kept[kind+name]), nil
}

// silent is a key service that does not tell which key it used: a KES.
type silent struct{ kms.Service }

func (s silent) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	return s.Service.GenerateDEK(kms.NoteUsedKey(ctx, nil), name, encContext)
}

func (s silent) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	return s.Service.DecryptDEK(kms.NoteUsedKey(ctx, nil), name, ciphertext, encContext)
}

type kit struct {
	*testing.T
	service kms.Service
	notes   *notes
	log     *bytes.Buffer
}

const (
	own = "own"
	key = "key"
)

var encContext = []byte(`{"a":"b"}`)

// eachService runs a test with a service of ours, and with one of KES's kind.
func eachService(t *testing.T, test func(k *kit)) {
	t.Helper()
	for name, wrap := range map[string]func(kms.Service) kms.Service{
		"ours": func(s kms.Service) kms.Service { return s },
		"KES":  func(s kms.Service) kms.Service { return silent{s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			local, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(local.Close)
			k := &kit{t, wrap(local), &notes{kept: make(map[string][]byte)}, new(bytes.Buffer)}
			k.must(local.CreateKey(t.Context(), own))
			k.must(local.CreateKey(t.Context(), key))
			test(k)
		})
	}
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// proxy returns the keys as a proxy that was just started has them.
func (k *kit) proxy() *pins.Keys {
	k.Helper()
	p, err := pins.New(pins.Options{Service: k.service, Own: own, Logger: slog.New(slog.NewTextHandler(k.log, nil))})
	k.must(err)
	fine := func(context.Context) error { return nil }
	p.Keep(k.notes, fine, fine)
	return p
}

// replace puts a secret that somebody knows in the place of a key.
func (k *kit) replace(name string) {
	k.Helper()
	k.must(k.service.DeleteKey(k.Context(), name))
	k.must(k.service.ImportKey(k.Context(), name, [kms.DEKSize]byte{1, 2, 3}, kms.AES256))
}

// refused checks that nothing comes of a key, new or old.
func (k *kit) refused(p *pins.Keys, name string, old kms.DEK) {
	k.Helper()
	if dek, err := p.GenerateDEK(k.Context(), name, encContext); !errors.Is(err, kms.ErrKeyReplaced) || dek.Plaintext != ([kms.DEKSize]byte{}) {
		k.Errorf("generate: %v", err)
	}
	if _, err := p.DecryptDEK(k.Context(), name, old.Ciphertext, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
		k.Errorf("decrypt what the pinned key sealed: %v", err)
	}
	forged, err := k.service.GenerateDEK(k.Context(), name, encContext)
	k.must(err)
	if dek, err := p.DecryptDEK(k.Context(), name, forged.Ciphertext, encContext); !errors.Is(err, kms.ErrKeyReplaced) || dek != ([kms.DEKSize]byte{}) {
		k.Errorf("decrypt what another key sealed: %v", err)
	}
}

// serves makes a DEK and opens it.
func (k *kit) serves(p *pins.Keys, name string) kms.DEK {
	k.Helper()
	dek, err := p.GenerateDEK(k.Context(), name, encContext)
	k.must(err)
	opened, err := p.DecryptDEK(k.Context(), name, dek.Ciphertext, encContext)
	k.must(err)
	if opened != dek.Plaintext {
		k.Error("a DEK opens as another")
	}
	return dek
}

func TestReplacedKeyIsRefused(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		running := k.proxy()
		old := k.serves(running, key)
		other := k.proxy()
		k.serves(other, key)
		if k.notes.puts != 1 {
			k.Errorf("%d pins were kept for one key", k.notes.puts)
		}
		k.replace(key)
		for name, p := range map[string]*pins.Keys{"running": running, "other": other, "new": k.proxy()} {
			k.refused(p, key, old)
			if p.Alarms() != 3 {
				k.Errorf("%s: %d alarms", name, p.Alarms())
			}
		}
		if n := strings.Count(k.log.String(), "level=ERROR msg=\"ALARM: a KMS key was replaced"); n != 3 {
			k.Errorf("%d lines of alarm, want one of each proxy: %s", n, k.log)
		}
	})
}

// A pin that upstream withholds makes no running proxy forget.
func TestRunningProxyRemembersItsPins(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		p := k.proxy()
		old, oldOwn := k.serves(p, key), k.serves(p, own)
		clear(k.notes.kept)
		k.replace(key)
		k.replace(own)
		k.refused(p, key, old)
		k.refused(p, own, oldOwn)
		if len(k.notes.kept) != 0 {
			k.Errorf("notes were written: %v", maps.Keys(k.notes.kept))
		}
	})
}

func TestAcceptedKeyServesEverywhere(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		running := k.proxy()
		old := k.serves(running, key)
		k.replace(key)
		k.refused(running, key, old)
		before, after, err := k.proxy().Accept(k.Context(), key)
		k.must(err)
		if _, silent := k.service.(silent); (before == after || before == "") != silent {
			k.Errorf("fingerprints %q and %q", before, after)
		}
		for i := 0; ; i++ { // the note is read again a second after it was
			if _, err = running.GenerateDEK(k.Context(), key, encContext); err == nil || i > 30 {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		k.must(err)
		k.serves(running, key)
		k.serves(k.proxy(), key)
		if _, err := running.DecryptDEK(k.Context(), key, old.Ciphertext, encContext); !errors.Is(err, kms.ErrDecrypt) {
			k.Errorf("what the former key sealed: %v", err)
		}
		if _, _, err := running.Accept(k.Context(), own); !errors.Is(err, kms.ErrNotSupported) {
			k.Errorf("accept the key of the pins: %v", err)
		}
	})
}

func TestTamperedCiphertextIsNoReplacedKey(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		p := k.proxy()
		dek := k.serves(p, key)
		dek.Ciphertext[3]++
		if _, err := p.DecryptDEK(k.Context(), key, dek.Ciphertext, encContext); !errors.Is(err, kms.ErrDecrypt) || p.Alarms() != 0 {
			k.Errorf("%v, %d alarms", err, p.Alarms())
		}
	})
}

func TestFirstUseAtManyProxiesMakesOnePin(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		k.notes.lost = errors.New("no answer") // the pin is kept all the same
		var group sync.WaitGroup
		errs := make(chan error, 40)
		for range 4 {
			p := k.proxy()
			for range 10 {
				group.Go(func() {
					_, err := p.GenerateDEK(k.Context(), key, encContext)
					errs <- err
				})
			}
		}
		group.Wait()
		close(errs)
		for err := range errs {
			k.must(err)
		}
		if len(k.notes.kept) != 1 || k.notes.puts != 1 {
			k.Errorf("%d notes, written %d times", len(k.notes.kept), k.notes.puts)
		}
	})
}

// Nothing is made or opened with a key whose pin cannot be read or kept.
func TestNoPinNoKey(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		p := k.proxy()
		notReady := fmt.Errorf("not set up")
		p.Keep(k.notes, func(context.Context) error { return notReady }, func(context.Context) error { return nil })
		if _, err := p.GenerateDEK(k.Context(), key, encContext); !errors.Is(err, notReady) {
			k.Errorf("not set up: %v", err)
		}
		k.serves(p, own) // which is needed to set it up
		if _, err := p.GenerateDEK(pins.PinNothing(k.Context()), key, encContext); err != nil || len(k.notes.kept) != 0 {
			k.Errorf("a try: %v, %d notes", err, len(k.notes.kept))
		}
		k.notes.kept["key-pinkeys/"+key] = []byte("not a pin")
		p = k.proxy()
		if _, err := p.GenerateDEK(k.Context(), key, encContext); !errors.Is(err, pins.ErrDamaged) {
			k.Errorf("a pin that is none: %v", err)
		}
	})
}

// rotated is a service whose key has a second version.
type rotated struct {
	kms.Service
	print kms.Fingerprint
}

func (r rotated) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	dek, err := r.Service.GenerateDEK(ctx, name, encContext)
	if used := kms.UsedKeyIn(ctx); used != nil {
		*used = kms.UsedKey{Version: 2, Fingerprint: r.print}
	}
	return dek, err
}

func TestNewVersionOfAPinnedKeyIsPinned(t *testing.T) {
	t.Parallel()
	eachService(t, func(k *kit) {
		k.serves(k.proxy(), key)
		honest := k.service
		k.service = rotated{honest, kms.Fingerprint{1}}
		k.serves(k.proxy(), key)
		if _, silent := honest.(silent); k.notes.puts != 2 && !silent {
			k.Errorf("%d notes were written", k.notes.puts)
		}
		k.service = rotated{honest, kms.Fingerprint{2}} // another second version
		if _, err := k.proxy().GenerateDEK(k.Context(), key, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
			k.Errorf("a version that was replaced: %v", err)
		}
		k.service = honest
		k.replace(key)
		k.service = rotated{honest, kms.Fingerprint{3}} // no version is the pinned one
		if _, err := k.proxy().GenerateDEK(k.Context(), key, encContext); !errors.Is(err, kms.ErrKeyReplaced) {
			k.Errorf("a new version of another key: %v", err)
		}
	})
}
