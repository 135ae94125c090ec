package pins

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// pin is what is known of one KMS key, as it is kept in a note.
type pin struct {
	// Versions are the fingerprints of the key's versions, where the service tells them.
	Versions map[uint32]kms.Fingerprint `json:"versions,omitempty"`
	// Witness is a DEK that the key sealed when it was pinned, and Digest the SHA-256
	// of its plaintext: only that key opens it so.
	Witness []byte    `json:"witness"`
	Digest  []byte    `json:"digest"`
	Pinned  time.Time `json:"pinned"`
}

// load reads the pin of a key, or makes it, once for all who wait.
func (k *Keys) load(ctx context.Context, name string) (*pin, error) {
	detached := context.WithoutCancel(ctx)
	done := k.flight.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, loadTimeout)
		defer cancel()
		if p := k.known(name); p != nil {
			return p, nil
		}
		p, err := k.loadOnce(ctx, name)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v: %w", loadTimeout, kms.ErrUnavailable)
		}
		if err != nil {
			return nil, err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.pins[name] = p
		return p, nil
	})
	select {
	case result := <-done:
		p, _ := result.Val.(*pin)
		return p, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *Keys) loadOnce(ctx context.Context, name string) (*pin, error) {
	if name == k.o.Own {
		return k.make(ctx, name)
	}
	if err := k.ready(ctx); err != nil {
		return nil, err
	}
	p, err := k.read(ctx, name)
	if !errors.Is(err, upstream.ErrNotFound) {
		return p, err
	}
	if p, err = k.make(ctx, name); err != nil {
		return nil, err
	}
	err = k.notes.PersistNote(ctx, noteKind, notePrefix+name, p.encode(), nil)
	if err == nil {
		k.o.Logger.Info("KMS key pinned", "key", name, "fingerprint", p.fingerprint())
		return p, nil
	}
	// Another proxy was first, or the answer got lost: what is kept counts.
	kept, readErr := k.read(ctx, name)
	if readErr != nil {
		return nil, fmt.Errorf("keep the pin: %w (%v)", kms.ErrUnavailable, err) //nolint:errorlint // a conflict means nothing to a client
	}
	return kept, nil
}

// make pins the key as it is now.
func (k *Keys) make(ctx context.Context, name string) (*pin, error) {
	var used kms.UsedKey
	dek, err := k.Service.GenerateDEK(kms.NoteUsedKey(ctx, &used), name, witnessContext(name))
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	digest := sha256.Sum256(dek.Plaintext[:])
	clear(dek.Plaintext[:])
	p := &pin{Witness: dek.Ciphertext, Digest: digest[:], Pinned: time.Now().UTC().Truncate(time.Second)}
	if used.Version != 0 {
		p.Versions = map[uint32]kms.Fingerprint{used.Version: used.Fingerprint}
	}
	return p, nil
}

func (k *Keys) read(ctx context.Context, name string) (*pin, error) {
	data, err := k.notes.GetNote(ctx, noteKind, notePrefix+name)
	if err != nil {
		return nil, err
	}
	p := new(pin)
	if err := json.Unmarshal(data, p); err != nil || len(p.Witness) == 0 || len(p.Digest) != sha256.Size {
		return nil, fmt.Errorf("pin of the KMS key %q: %w", name, system.ErrTampered)
	}
	return p, nil
}

func (p *pin) encode() []byte {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // it has no type that cannot be encoded
	}
	return data
}

// fingerprint is that of the latest version, "" if none is known.
func (p *pin) fingerprint() string {
	latest := uint32(0)
	for version := range p.Versions {
		latest = max(latest, version)
	}
	if latest == 0 {
		return ""
	}
	return p.Versions[latest].String()
}
