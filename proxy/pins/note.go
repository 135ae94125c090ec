package pins

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
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
	// Context is the witness's encryption context where that is not witnessContext's:
	// it is then an object's DEK, as the proxy may make none under the key.
	Context []byte `json:"context,omitempty"`
	// unkept says that there is no note of it, or of Own, that nothing may be sealed yet.
	unkept bool
}

// load reads the pin of a key, or makes it, once for all who wait. opened is what was
// just opened: it may be read under a pin that cannot be kept.
func (k *Keys) load(ctx context.Context, name string, opened *pin) (*pin, error) {
	detached, flight := context.WithoutCancel(ctx), "make "+name
	if opened != nil {
		flight, opened = "open "+name, opened.clone() // the caller may be gone by then
	}
	done := k.flight.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(detached, loadTimeout)
		defer cancel()
		prior := k.known(name)
		if prior != nil && (opened != nil || !prior.unkept) && !k.isShorter(name, prior, opened) {
			return prior, nil
		}
		p, err := k.loadOnce(ctx, name, prior, opened)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v: %w", loadTimeout, kms.ErrUnavailable)
		}
		if err != nil {
			return nil, err
		}
		return k.learn(name, p), nil
	})
	select {
	case result := <-done:
		p, _ := result.Val.(*pin)
		return p, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// learn remembers a pin, and returns what counts: what was known before, unless that
// was not kept, or can never be.
func (k *Keys) learn(name string, p *pin) *pin {
	k.mu.Lock()
	defer k.mu.Unlock()
	if known := k.pins[name]; known != nil && (!known.unkept || p.unkept) && !k.isShorter(name, known, p) {
		return known
	}
	k.pins[name] = p
	return p
}

// find returns the pin of a key if one is kept; nil if there is none, or it cannot be
// told.
func (k *Keys) find(ctx context.Context, name string) *pin {
	if name == k.o.Own {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	p, err := k.read(ctx, name)
	if err != nil {
		k.alarmOf(name, err)
		return nil
	}
	return k.learn(name, p)
}

// loadOnce is given prior, a pin that could not be kept so far, or nil.
func (k *Keys) loadOnce(ctx context.Context, name string, prior, opened *pin) (*pin, error) {
	if name == k.o.Own {
		return k.loadOwn(ctx, prior, opened)
	}
	if err := k.ready(ctx); err != nil && opened == nil {
		return nil, err
	}
	p, err := k.read(ctx, name)
	if !errors.Is(err, system.ErrNotFound) {
		return p, err
	}
	if p, err = k.makeOr(ctx, name, opened); err != nil {
		return nil, err
	}
	if prior != nil {
		if err := k.same(ctx, name, prior, p); err != nil {
			return nil, err
		}
	}
	if err = errTooLong; len(p.Context) <= maxContext {
		err = k.notes.PersistNote(ctx, noteKind, notePrefix+name, p.encode(), nil)
	}
	if err == nil {
		k.o.Logger.Info("KMS key pinned", "key", name, "fingerprint", p.fingerprint())
		return p, nil
	}
	// Another proxy was first, or the answer got lost: what is kept counts.
	kept, readErr := k.read(ctx, name)
	switch {
	case readErr == nil:
		return kept, nil
	case opened != nil && errors.Is(readErr, system.ErrNotFound):
		k.o.Logger.Warn("the pin of a KMS key cannot be kept; it is remembered until the process ends, and nothing is written under the key before it is",
			"key", name, "fingerprint", p.fingerprint(), "error", err)
		p.unkept = true
		return p, nil
	case errors.Is(err, kms.ErrKeyReplaced): // which of the key that seals notes
		return nil, fmt.Errorf("keep the pin: %w", err)
	}
	return nil, fmt.Errorf("keep the pin: %w (%v)", kms.ErrUnavailable, err) //nolint:errorlint // a conflict means nothing to a client
}

// loadOwn pins the key that seals notes. Before anything is sealed with it, it must
// be the one that sealed what is there.
func (k *Keys) loadOwn(ctx context.Context, prior, opened *pin) (*pin, error) {
	if opened != nil {
		opened.unkept = true
		return opened, nil
	}
	p, err := k.make(ctx, k.o.Own)
	if err != nil {
		return nil, err
	}
	if prior != nil {
		if err := k.same(ctx, k.o.Own, prior, p); err != nil {
			return nil, err
		}
	}
	return p, k.fits(ctx)
}

// maxContext is the length of the longest context that fits a note.
const maxContext = 256

// isShorter says whether a pin is remembered that fits no note, and what was just opened
// makes one that does.
func (k *Keys) isShorter(name string, known, opened *pin) bool {
	return name != k.o.Own && known != nil && opened != nil && known.unkept && len(known.Context) > maxContext && len(opened.Context) <= maxContext
}

var errTooLong = errors.New("the encryption context of its witness is too long")

// same says whether a pin that was just made is one of the key that was pinned before.
func (k *Keys) same(ctx context.Context, name string, prior, made *pin) error {
	for version, print := range made.Versions {
		if pinned, known := prior.Versions[version]; known && pinned == print {
			return nil
		}
	}
	return k.witness(ctx, name, prior)
}

// makeOr makes a pin, or takes what was just opened where the key service lets the
// proxy only read under the key.
func (k *Keys) makeOr(ctx context.Context, name string, opened *pin) (*pin, error) {
	p, err := k.make(ctx, name)
	if opened != nil && (errors.Is(err, kms.ErrNotPermitted) || errors.Is(err, kms.ErrNotSupported)) {
		return opened, nil
	}
	return p, err
}

// pinOpened returns the pin whose witness is a DEK that was just opened. It shares
// ciphertext and encContext.
func pinOpened(ciphertext, encContext []byte, dek *[kms.DEKSize]byte, used kms.UsedKey) *pin {
	digest := sha256.Sum256(dek[:])
	p := &pin{Witness: ciphertext, Context: encContext, Digest: digest[:]}
	if used.Version != 0 {
		p.Versions = map[uint32]kms.Fingerprint{used.Version: used.Fingerprint}
	}
	return p
}

func (p *pin) clone() *pin {
	q := *p
	q.Witness, q.Context = bytes.Clone(p.Witness), append([]byte{}, p.Context...)
	q.Pinned = time.Now().UTC().Truncate(time.Second)
	return &q
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
	if errors.Is(err, system.ErrTampered) {
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	p, err := decodePin(data)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return p, nil
}

// decodePin is the inverse of encode. ErrDamaged.
func decodePin(data []byte) (*pin, error) {
	p := new(pin)
	if err := json.Unmarshal(data, p); err != nil || len(p.Witness) == 0 || len(p.Digest) != sha256.Size {
		return nil, ErrDamaged
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
