// Package pins remembers which secret stands behind the name of each KMS key that the
// proxy has used, and refuses another one. Whoever can delete and import keys at a key
// server could else put a secret of his own in the place of a key, and read and forge
// what is written from then on.
//
// A pin is made when a key is first used, kept as a sealed note in the system bucket,
// and checked on every DEK that is made or opened (docs/keys.md).
package pins

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// ErrDamaged says that a pin does not open. It is system.ErrTampered.
var ErrDamaged = fmt.Errorf("the pin of a KMS key: %w", system.ErrTampered)

const (
	noteKind   = "key-pin"
	notePrefix = "keys/"
	// loadTimeout bounds the making and reading of one pin.
	loadTimeout = 20 * time.Second
	// readAgain is how long a mismatch stands before the note is read again, which an
	// operator may have replaced.
	readAgain = time.Second
	// alarmPause is the pause between two lines of the log about one key.
	alarmPause = time.Minute
)

// Notes keep sealed pins; *system.Store does.
type Notes interface {
	PersistNote(ctx context.Context, kind, name string, data, body []byte) error
	ReplaceNote(ctx context.Context, kind, name string, data, body []byte) error
	GetNote(ctx context.Context, kind, name string) ([]byte, error)
}

// Options are the dependencies of Keys.
type Options struct {
	// Service is the key service, with no cache in front of it. Required.
	Service kms.Service
	// Own is the KMS key that seals notes: its pin is kept in memory only. Required.
	Own string
	// Logger gets the alarms. Required.
	Logger *slog.Logger
}

// Keys is a kms.Service whose DEKs come of pinned keys only: GenerateDEK and
// DecryptDEK return kms.ErrKeyReplaced for others. Keep must be called before the first use.
// It is safe for concurrent use.
type Keys struct {
	kms.Service
	o     Options
	notes Notes
	ready func(context.Context) error
	fits  func(context.Context) error

	flight singleflight.Group
	alarms atomic.Uint64

	mu   sync.RWMutex
	pins map[string]*pin // not changed once they are here
	bad  map[string]*mismatch
}

// mismatch is what is known of a key that was replaced.
type mismatch struct{ read, logged time.Time }

// New returns the service; it makes no request.
func New(o Options) (*Keys, error) {
	if o.Service == nil || o.Own == "" || o.Logger == nil {
		return nil, errors.New("pins: incomplete options")
	}
	return &Keys{Service: o.Service, o: o, pins: make(map[string]*pin), bad: make(map[string]*mismatch)}, nil
}

// Keep says where notes are kept, what has to be done before one is written, and how
// to find out whether Own is the key that sealed what is there: fits returns
// kms.ErrKeyReplaced if it is not, and nil where nothing is there. It must not use Keys.
func (k *Keys) Keep(notes Notes, ready, fits func(context.Context) error) {
	k.notes, k.ready, k.fits = notes, ready, fits
}

// Alarms is how many DEKs were refused since the start.
func (k *Keys) Alarms() uint64 { return k.alarms.Load() }

// GenerateDEK implements kms.Service. kms.ErrKeyReplaced.
func (k *Keys) GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error) {
	var used kms.UsedKey
	dek, err := k.Service.GenerateDEK(kms.NoteUsedKey(ctx, &used), name, encContext)
	if err != nil {
		return dek, err
	}
	if err := k.check(ctx, name, used, nil); err != nil {
		clear(dek.Plaintext[:])
		return kms.DEK{}, err
	}
	tell(ctx, used)
	return dek, nil
}

// DecryptDEK implements kms.Service. kms.ErrKeyReplaced, also for a ciphertext of the pinned
// key, which its successor cannot open.
func (k *Keys) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	var used kms.UsedKey
	dek, err := k.Service.DecryptDEK(kms.NoteUsedKey(ctx, &used), name, ciphertext, encContext)
	if errors.Is(err, kms.ErrDecrypt) {
		return dek, k.explain(ctx, name, err)
	}
	if err != nil {
		return dek, err
	}
	if err := k.check(ctx, name, used, pinOpened(ciphertext, encContext, &dek, used)); err != nil {
		clear(dek[:])
		return [kms.DEKSize]byte{}, err
	}
	tell(ctx, used)
	return dek, nil
}

// tell passes on which version was used to a caller who wants to know.
func tell(ctx context.Context, used kms.UsedKey) {
	if asked := kms.UsedKeyIn(ctx); asked != nil {
		*asked = used
	}
}

type pinNothingKey struct{}

// PinNothing returns a context under which a key that has no pin is tried and gets none.
func PinNothing(ctx context.Context) context.Context {
	return context.WithValue(ctx, pinNothingKey{}, true)
}

// check says whether what was just used is pinned, and pins what never was. opened is
// what was just opened, nil for what was made: that needs a pin that is kept.
func (k *Keys) check(ctx context.Context, name string, used kms.UsedKey, opened *pin) error {
	p := k.known(name)
	if pinNothing, _ := ctx.Value(pinNothingKey{}).(bool); p == nil && pinNothing {
		kept, err := k.read(ctx, name)
		if err != nil {
			return nil //nolint:nilerr // there is none, or it cannot be told
		}
		return k.compare(ctx, name, kept, used)
	}
	shorter := k.isShorter(name, p, opened)
	if p == nil || p.unkept && opened == nil || shorter {
		loaded, err := k.load(ctx, name, opened)
		switch {
		case err == nil:
			p = loaded
		case shorter && !errors.Is(err, kms.ErrKeyReplaced) && !errors.Is(err, system.ErrTampered):
			// what was remembered still serves for reading
		default:
			k.alarmOf(name, err)
			return fmt.Errorf("pin of the KMS key %q: %w", name, err)
		}
	}
	err := k.compare(ctx, name, p, used)
	if !errors.Is(err, kms.ErrKeyReplaced) && !ended(err) {
		return err
	}
	if again := k.reread(ctx, name, p); again != nil {
		err = k.compare(ctx, name, again, used)
	}
	if errors.Is(err, kms.ErrKeyReplaced) {
		k.alarm(name, p, used)
	}
	return err
}

// ended says that the version that a witness lies under was retired or destroyed. Then a
// newer one can be told to be of the same key by those only who pinned it before: what they
// noted counts.
func ended(err error) bool {
	return errors.Is(err, kms.ErrVersionRetired) || errors.Is(err, kms.ErrVersionDestroyed)
}

// explain tells a ciphertext that is not authentic from a key that is another one.
func (k *Keys) explain(ctx context.Context, name string, failed error) error {
	p := k.known(name)
	if p == nil {
		if p = k.find(ctx, name); p == nil {
			return failed
		}
	}
	err := k.witness(ctx, name, p)
	if errors.Is(err, kms.ErrKeyReplaced) {
		if again := k.reread(ctx, name, p); again != nil {
			p = again
			err = k.witness(ctx, name, p)
		}
	}
	if !errors.Is(err, kms.ErrKeyReplaced) {
		return failed
	}
	k.alarm(name, p, kms.UsedKey{})
	return err
}

// compare judges by the fingerprint, else by the witness: that is asked after the DEK
// was made or opened, so that a key that was replaced before does not pass.
func (k *Keys) compare(ctx context.Context, name string, p *pin, used kms.UsedKey) error {
	pinned, known := p.Versions[used.Version]
	switch {
	case used.Version == 0:
		return k.witness(ctx, name, p)
	case known && pinned == used.Fingerprint:
		return nil
	case known:
		return fmt.Errorf("%q: %w", name, kms.ErrKeyReplaced)
	}
	// A version that is new: the pinned ones must still be there.
	if err := k.witness(ctx, name, p); err != nil {
		return err
	}
	return k.add(ctx, name, p, used)
}

// witness asks whether the key opens what the pinned one sealed.
func (k *Keys) witness(ctx context.Context, name string, p *pin) error {
	encContext := p.Context
	if encContext == nil {
		encContext = witnessContext(name)
	}
	dek, err := k.Service.DecryptDEK(kms.Uncached(ctx), name, p.Witness, encContext)
	digest := sha256.Sum256(dek[:])
	clear(dek[:])
	switch {
	case errors.Is(err, kms.ErrDecrypt), err == nil && !bytes.Equal(digest[:], p.Digest):
		return fmt.Errorf("%q: %w", name, kms.ErrKeyReplaced)
	case err != nil:
		return fmt.Errorf("check the KMS key %q: %w", name, err)
	}
	return nil
}

func witnessContext(name string) []byte {
	return kms.Context{kms.ContextUse: "pin", kms.ReservedContextPrefix + "pin": name}.Canonical()
}

func (k *Keys) known(name string) *pin {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.pins[name]
}

// add pins a further version. Proxies that do so at once lose nothing: who does not
// find a version adds it again.
func (k *Keys) add(ctx context.Context, name string, p *pin, used kms.UsedKey) error {
	next := *p
	next.Versions = map[uint32]kms.Fingerprint{used.Version: used.Fingerprint}
	for version, print := range p.Versions {
		next.Versions[version] = print
	}
	k.renewWitness(ctx, name, &next, used)
	if name != k.o.Own && !p.unkept {
		if err := k.notes.ReplaceNote(ctx, noteKind, notePrefix+name, next.encode(), nil); err != nil {
			return fmt.Errorf("pin version %d of the KMS key %q: %w", used.Version, name, err)
		}
	}
	k.mu.Lock()
	first := k.pins[name] == p
	if first {
		k.pins[name] = &next
	}
	k.mu.Unlock()
	if first { // of those who met it at once
		k.o.Logger.Info("version of a KMS key pinned", "key", name, "version", used.Version, "fingerprint", used.Fingerprint)
	}
	return nil
}

// renewWitness takes a witness of a new version, so that the one after it can be told
// to be of the same key when the former ones are retired. Where none can be made the old
// one stays.
func (k *Keys) renewWitness(ctx context.Context, name string, p *pin, used kms.UsedKey) {
	for version := range p.Versions {
		if version > used.Version {
			return
		}
	}
	made, err := k.make(ctx, name)
	if err == nil && made.Versions[used.Version] == used.Fingerprint && kms.CiphertextVersion(made.Witness) == used.Version {
		p.Witness, p.Digest, p.Context = made.Witness, made.Digest, nil
	}
}

// reread returns the note of a key that does not fit its pin if it is another one by
// now, else nil: an operator accepts a key by replacing its note, and a proxy that pins a
// further version replaces it. An older one counts
// for nothing: upstream could bring it back.
func (k *Keys) reread(ctx context.Context, name string, p *pin) *pin {
	if name == k.o.Own || !k.mayReread(name) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	kept, err := k.read(ctx, name)
	if err != nil || bytes.Equal(kept.encode(), p.encode()) || kept.Pinned.Before(p.Pinned) && !p.unkept {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins[name] = kept
	return kept
}

func (k *Keys) mayReread(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.mismatchOf(name)
	if time.Since(m.read) < readAgain {
		return false
	}
	m.read = time.Now()
	return true
}

// mismatchOf is called with the lock held.
func (k *Keys) mismatchOf(name string) *mismatch {
	m := k.bad[name]
	if m == nil {
		m = new(mismatch)
		k.bad[name] = m
	}
	return m
}

func (k *Keys) alarm(name string, p *pin, used kms.UsedKey) {
	k.alarms.Add(1)
	if !k.alarmIsDue(name) {
		return
	}
	found := "unknown"
	if used.Version != 0 {
		found = used.Fingerprint.String()
	}
	k.o.Logger.Error("ALARM: a KMS key was replaced; nothing is written or read under it. Somebody may have put a key there that he knows. "+
		"If it was you, run this with the configuration of this server: bucketseal key accept "+name, "key", name, "pinned", p.fingerprint(), "pinned_at", p.Pinned, "found", found)
}

func (k *Keys) alarmIsDue(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.mismatchOf(name)
	due := time.Since(m.logged) >= alarmPause
	if due {
		m.logged = time.Now()
	}
	return due
}

// alarmOf is alarm for a pin that cannot be read, and for Own if it does not fit.
func (k *Keys) alarmOf(name string, err error) {
	if !errors.Is(err, system.ErrTampered) && (name != k.o.Own || !errors.Is(err, kms.ErrKeyReplaced)) {
		return
	}
	k.alarms.Add(1)
	if k.alarmIsDue(name) {
		k.o.Logger.Error("ALARM: what tells that a KMS key is the former one does not open; nothing is written or read under the key. "+
			"Either it was tampered with at MinIO, or the KMS key "+k.o.Own+" was replaced", "key", name, "error", err)
	}
}

// Accept pins a KMS key anew, as it is now, and returns the fingerprints of the latest
// pinned versions before and after: "" for a key that had no pin, or whose service
// tells none. Proxies take it within a second of the next request under that key.
func (k *Keys) Accept(ctx context.Context, name string) (before, after string, err error) {
	if name == k.o.Own {
		return "", "", fmt.Errorf("%q seals what proxies keep at MinIO, and is pinned by each for as long as it runs: %w", name, kms.ErrNotSupported)
	}
	if err := k.ready(ctx); err != nil {
		return "", "", err
	}
	old, err := k.read(ctx, name)
	if err != nil && !errors.Is(err, system.ErrNotFound) && !errors.Is(err, system.ErrTampered) {
		return "", "", err
	}
	if old != nil {
		before = old.fingerprint()
	}
	p, err := k.make(ctx, name)
	if err != nil {
		return "", "", err
	}
	if old != nil && !p.Pinned.After(old.Pinned) { // clocks differ; it must not look older
		p.Pinned = old.Pinned.Add(time.Second)
	}
	if err := k.notes.ReplaceNote(ctx, noteKind, notePrefix+name, p.encode(), nil); err != nil {
		return "", "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pins[name] = p
	return before, p.fingerprint(), nil
}
