package sse

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
)

const (
	wrapVersion = 0x01
	// tagSequence is of wraps only.
	tagSequence = 0x19
	// recordDigestSize is how much of the SHA-256 of a record names it.
	recordDigestSize = 16
)

// RecordDigest names one record: two writes of an object have different ones.
type RecordDigest [recordDigestSize]byte

// Digest returns the record's name, which its sealed and public fields decide. r was parsed
// or sealed.
func (r *Record) Digest() (d RecordDigest) {
	sum := sha256.Sum256(associated("wrap", appendField(r.public[:len(r.public):len(r.public)], tagPrivate, r.private)))
	copy(d[:], sum[:])
	return d
}

// Encryption says how an object's key is sealed: what clients are told of it.
type Encryption struct {
	Mode Mode
	// KMSKey and KMSKeyVersion name the KMS key; "" and 0 for SSE-C.
	KMSKey        string
	KMSKeyVersion uint32
	// ClientContext is the client's encryption context, as in a Record.
	ClientContext []byte
	// BucketKey says that the client is told a bucket key was used.
	BucketKey bool
}

// Encryption returns what the record says. A wrap may say something else.
func (r *Record) Encryption() Encryption {
	return Encryption{r.Mode, r.KMSKey, r.KMSKeyVersion, r.ClientContext, r.BucketKey}
}

// Wrap is the key of an object sealed once more, under another KMS key or version than its
// record says, or in another mode. It lies beside the object, which stays as it is. What it
// seals is the object's key only if the record opens with it.
type Wrap struct {
	// Mode is SSE-S3 or SSE-KMS; ModeNone stands for what the record says, of the client's
	// context and the bucket key too.
	Mode Mode
	// KMSKey and KMSKeyVersion name the KMS key that sealed the DEK.
	KMSKey        string
	KMSKeyVersion uint32
	// ClientContext and BucketKey are as in a Record. SSE-KMS only.
	ClientContext []byte
	BucketKey     bool
	// SealedDEK is the DEK's ciphertext.
	SealedDEK []byte
	// Key is the object's name in its bucket where the wrap's own name does not tell it.
	Key string
	// Sequence is one more than that of the wrap whose place this one takes; 0 if it was
	// not numbered.
	Sequence uint64

	sealed sealedKey
}

// Encryption returns how the object of a record is encrypted where this wrap counts.
func (w *Wrap) Encryption(r *Record) Encryption {
	if w.Mode == ModeNone {
		return Encryption{r.Mode, w.KMSKey, w.KMSKeyVersion, r.ClientContext, r.BucketKey}
	}
	return Encryption{w.Mode, w.KMSKey, w.KMSKeyVersion, w.ClientContext, w.BucketKey}
}

// NewWrap seals an object's key for the binding. sealedDEK is the ciphertext of secret. The
// caller says the rest: a wrap of another mode than the record's has Mode.
func NewWrap(b *Binding, secret *Secret, sealedDEK []byte, key *ObjectKey) *Wrap {
	return &Wrap{KMSKey: b.KMSKey, KMSKeyVersion: b.KMSKeyVersion, SealedDEK: sealedDEK, sealed: b.seal(secret, key)}
}

// Encode returns the wrap's content.
func (w *Wrap) Encode() []byte {
	out := []byte{wrapVersion}
	if w.Mode != ModeNone {
		out = appendField(out, tagMode, []byte{byte(w.Mode)})
	}
	out = appendField(out, tagKMSKey, []byte(w.KMSKey))
	out = appendField(out, tagKeyVersion, binary.AppendUvarint(nil, uint64(w.KMSKeyVersion)))
	if w.Mode == ModeKMS && len(w.ClientContext) > 0 {
		out = appendField(out, tagContext, w.ClientContext)
	}
	out = appendField(out, tagSealedDEK, w.SealedDEK)
	if w.Mode == ModeKMS && w.BucketKey {
		out = appendField(out, tagBucketKey, nil)
	}
	out = appendField(out, tagSealedKey, w.sealed[:])
	if w.Key != "" {
		out = appendField(out, tagKey, []byte(w.Key))
	}
	if w.Sequence > 0 {
		out = appendField(out, tagSequence, binary.AppendUvarint(nil, w.Sequence))
	}
	return out
}

// ParseWrap reads a wrap's content. It returns ErrRecord for everything that
// docs/format.md does not define.
func ParseWrap(b []byte) (*Wrap, error) {
	if len(b) == 0 || b[0] != wrapVersion {
		return nil, fmt.Errorf("unknown version of a wrap: %w", ErrRecord)
	}
	w := new(Wrap)
	var seen uint32
	var last byte
	for rest := b[1:]; len(rest) > 0; {
		f, after, err := nextField(rest, last)
		if err != nil {
			return nil, err
		}
		if err := w.setField(f); err != nil {
			return nil, err
		}
		rest, last = after, f.tag
		seen |= 1 << f.tag
	}
	const need = 1<<tagKMSKey | 1<<tagKeyVersion | 1<<tagSealedDEK | 1<<tagSealedKey
	if seen&need != need {
		return nil, fmt.Errorf("fields %#x do not make a wrap: %w", seen, ErrRecord)
	}
	if w.Mode != ModeKMS && (w.ClientContext != nil || w.BucketKey) {
		return nil, fmt.Errorf("fields %#x of a wrap in another mode: %w", seen, ErrRecord)
	}
	return w, nil
}

func (w *Wrap) setField(f field) error {
	v := f.value
	ok := false
	switch f.tag {
	case tagMode:
		if ok = len(v) == 1 && (Mode(v[0]) == ModeS3 || Mode(v[0]) == ModeKMS); ok {
			w.Mode = Mode(v[0])
		}
	case tagContext:
		ok = len(v) > 0
		w.ClientContext = v
	case tagBucketKey:
		ok = len(v) == 0
		w.BucketKey = true
	case tagSequence:
		n, err := wholeUvarint(v)
		ok = err == nil && n > 0
		w.Sequence = n
	case tagKMSKey:
		ok = len(v) > 0 && len(v) <= maxKMSKeyLength
		w.KMSKey = string(v)
	case tagKeyVersion:
		n, err := wholeUvarint(v)
		ok = err == nil && n > 0 && n <= math.MaxUint32
		w.KMSKeyVersion = uint32(n) //nolint:gosec // just compared
	case tagSealedDEK:
		ok = len(v) > 0 && len(v) <= maxSealedDEKLength
		w.SealedDEK = v
	case tagSealedKey:
		if ok = len(v) == sealedKeySize; ok {
			w.sealed = sealedKey(v)
		}
	case tagKey:
		ok = len(v) > 0
		w.Key = string(v)
	}
	if !ok {
		return fmt.Errorf("tag %#x of a wrap: %w", f.tag, ErrRecord)
	}
	return nil
}

// OpenWrapped is Open with the key that a wrap seals. ErrTampered too for a wrap of another
// object, or of another write of this one. context is that of w.Encryption.
func (r *Record) OpenWrapped(name Name, w *Wrap, secret *Secret, context []byte) (ObjectKey, *Private, error) {
	b := Binding{Mode: w.Encryption(r).Mode, Name: name, KMSKey: w.KMSKey, KMSKeyVersion: w.KMSKeyVersion, Context: context}
	key, err := b.unseal(secret, &w.sealed)
	if err != nil {
		return ObjectKey{}, nil, err
	}
	return r.openPrivate(name, key)
}
