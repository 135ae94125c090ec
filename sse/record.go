package sse

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
)

const (
	recordVersion = 0x01
	// MaxRecordLength bounds a record's text form in bytes.
	MaxRecordLength = 4096

	tagMode       = 0x01
	tagKMSKey     = 0x02
	tagKeyVersion = 0x03
	tagContext    = 0x04
	tagSealedDEK  = 0x05
	tagBucketKey  = 0x06
	tagSealedKey  = 0x07
	tagPlainSize  = 0x08
	tagManifest   = 0x09
	tagLayout     = 0x0a
	tagOpaqueETag = 0x0b
	tagPrivate    = 0x10

	maxKMSKeyLength    = 128
	maxSealedDEKLength = 1024
)

// Record is what an object carries to be read again. Its public fields can be
// read without a key and are authentic only after Open.
type Record struct {
	Mode Mode
	// KMSKey and KMSKeyVersion name the KMS key that sealed the DEK; "" and 0
	// for SSE-C.
	KMSKey        string
	KMSKeyVersion uint32
	// ClientContext is the client's encryption context as it sent it, decoded
	// from base64; nil if it sent none. SSE-KMS only.
	ClientContext []byte
	// SealedDEK is the DEK's ciphertext; nil for SSE-C.
	SealedDEK []byte
	// BucketKey says that the client is told a bucket key was used. SSE-KMS only.
	BucketKey bool
	// PlainSize is the object's size in bytes before encryption; 0 where the
	// layout says that the manifest has it.
	PlainSize int64
	// Manifest names the object's manifest, which holds its facts; the zero value
	// says that the record holds them itself.
	Manifest ManifestID
	// Layout says of how many streams the object's data are.
	Layout Layout
	// OpaqueETag says that nobody computed MD5s: clients know the object by ETag, and of an
	// upload in parts those by PartETag that came without an MD5. SSE-S3 only; objects of
	// other modes have no MD5s in any case.
	OpaqueETag bool

	sealed  sealedKey
	public  []byte // everything before the private section
	private []byte // nonce, ciphertext, tag
}

// Layout says of how many streams an object's data are.
type Layout byte

// The layouts, with the numbers they have in a record.
const (
	// OneStream is an object that was not uploaded in parts.
	OneStream Layout = 0
	// Uploaded is an object of parts. Its manifest's name ends with upstream's
	// ETag: rival lists of parts of one upload must not share a manifest.
	Uploaded Layout = 1
	// Copied is a copy of an object of parts: its data are the parts', but
	// upstream and clients see one part.
	Copied Layout = 2
)

// ManifestID names a manifest. It is random, and drawn anew for every write.
type ManifestID [16]byte

// NewManifestID draws a manifest id.
func NewManifestID() ManifestID {
	var id ManifestID
	_, _ = rand.Read(id[:])
	return id
}

// MD5ETag says whether clients know the object by the MD5 among its facts: that of its
// plaintext, or of its parts' ETags.
func (r *Record) MD5ETag() bool {
	return r.Mode == ModeS3 && (!r.OpaqueETag || r.Layout == Uploaded)
}

// ETag is what clients know an object with OpaqueETag by, unless it was uploaded in
// parts: a digest of its sealed object key, so that no two writes have the same and
// upstream has no say in it. The record must have been parsed, or sealed.
func (r *Record) ETag() [16]byte {
	sum := sha256.Sum256(associated("etag", r.sealed[:]))
	return [16]byte(sum[:16])
}

// Seal seals key for the binding, and private under key, and returns the
// record's text form. r gives the public fields that the binding does not.
// ErrContextTooLong, ErrRecord.
func (r *Record) Seal(b *Binding, secret *Secret, key *ObjectKey, private *Private) (string, error) {
	r.Mode, r.KMSKey, r.KMSKeyVersion = b.Mode, b.KMSKey, b.KMSKeyVersion
	r.sealed = b.seal(secret, key)
	r.public = r.appendPublic(nil)

	plain := private.encode()
	recordKey := key.record()
	defer clear(recordKey[:])
	r.private = make([]byte, nonceSize, nonceSize+privateMaxSize+tagSize)
	_, _ = rand.Read(r.private)
	r.private = newGCM(recordKey[:]).Seal(r.private, r.private[:nonceSize], plain, r.aad(b.Name))

	text := base64.RawURLEncoding.EncodeToString(appendField(r.public, tagPrivate, r.private))
	if len(text) > MaxRecordLength {
		why := ErrRecord
		if len(r.ClientContext) > 0 {
			why = ErrContextTooLong
		}
		return "", fmt.Errorf("record of %d bytes, a context of %d: %w", len(text), len(r.ClientContext), why)
	}
	parsed, err := ParseRecord(text) // what is written can be read
	if err == nil {
		_, err = parsePrivate(plain, parsed)
	}
	if err != nil {
		return "", err
	}
	return text, nil
}

// ParseRecord reads a record's text form. It returns ErrRecord for everything
// that docs/format.md does not define.
func ParseRecord(text string) (*Record, error) {
	if len(text) > MaxRecordLength {
		return nil, fmt.Errorf("record of %d bytes: %w", len(text), ErrRecord)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodedLen(len(raw)) != len(text) { // the decoder skips line ends
		return nil, fmt.Errorf("record is not base64url: %w", ErrRecord)
	}
	if len(raw) == 0 || raw[0] != recordVersion {
		return nil, fmt.Errorf("unknown record version: %w", ErrRecord)
	}
	r := new(Record)
	var seen uint32
	var last byte
	for rest := raw[1:]; len(rest) > 0; {
		var f field
		start := len(raw) - len(rest)
		if f, rest, err = nextField(rest, last); err != nil {
			return nil, err
		}
		if err = r.setField(f); err != nil {
			return nil, err
		}
		if f.tag == tagPrivate {
			r.public = raw[:start:start]
		}
		last = f.tag
		seen |= 1 << f.tag
	}
	if err := r.checkFields(seen); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Record) setField(f field) error {
	v := f.value
	bad := func() error { return fmt.Errorf("value of tag %#x: %w", f.tag, ErrRecord) }
	switch f.tag {
	case tagMode:
		if len(v) != 1 || Mode(v[0]) < ModeS3 || Mode(v[0]) > ModeC {
			return bad()
		}
		r.Mode = Mode(v[0])
	case tagKMSKey:
		if len(v) == 0 || len(v) > maxKMSKeyLength {
			return bad()
		}
		r.KMSKey = string(v)
	case tagKeyVersion:
		n, err := wholeUvarint(v)
		if err != nil || n == 0 || n > math.MaxUint32 {
			return bad()
		}
		r.KMSKeyVersion = uint32(n)
	case tagContext:
		if len(v) == 0 {
			return bad()
		}
		r.ClientContext = v
	case tagSealedDEK:
		if len(v) == 0 || len(v) > maxSealedDEKLength {
			return bad()
		}
		r.SealedDEK = v
	case tagBucketKey, tagOpaqueETag:
		if len(v) != 0 {
			return bad()
		}
		r.BucketKey, r.OpaqueETag = r.BucketKey || f.tag == tagBucketKey, r.OpaqueETag || f.tag == tagOpaqueETag
	case tagSealedKey:
		if len(v) != sealedKeySize {
			return bad()
		}
		r.sealed = sealedKey(v)
	case tagPlainSize:
		n, err := wholeUvarint(v)
		if err != nil || n > MaxPlainSize {
			return bad()
		}
		r.PlainSize = int64(n)
	case tagManifest:
		if len(v) != len(r.Manifest) || ManifestID(v) == (ManifestID{}) {
			return bad()
		}
		r.Manifest = ManifestID(v)
	case tagLayout:
		if len(v) != 1 || Layout(v[0]) != Uploaded && Layout(v[0]) != Copied {
			return bad()
		}
		r.Layout = Layout(v[0])
	case tagPrivate:
		if len(v) < nonceSize+tagSize {
			return bad()
		}
		r.private = v
	default:
		return fmt.Errorf("unknown tag %#x: %w", f.tag, ErrRecord)
	}
	return nil
}

// checkFields refuses a record that lacks a field its mode needs, or has one
// that its mode does not have.
func (r *Record) checkFields(seen uint32) error {
	common := uint32(1<<tagMode | 1<<tagSealedKey | 1<<tagPlainSize | 1<<tagPrivate)
	optional := uint32(1 << tagManifest)
	if r.Layout != OneStream {
		common = 1<<tagMode | 1<<tagSealedKey | 1<<tagManifest | 1<<tagLayout | 1<<tagPrivate
		optional = 0
	}
	const ofDEK = 1<<tagKMSKey | 1<<tagKeyVersion | 1<<tagSealedDEK
	need, may := common, common|optional
	switch r.Mode {
	case ModeS3:
		need, may = need|ofDEK, may|ofDEK|1<<tagOpaqueETag
	case ModeKMS:
		need, may = need|ofDEK, may|ofDEK|1<<tagContext|1<<tagBucketKey
	}
	if seen&need != need || seen&^may != 0 {
		return fmt.Errorf("fields %#x do not make a record of %v: %w", seen, r.Mode, ErrRecord)
	}
	return nil
}

func (r *Record) appendPublic(dst []byte) []byte {
	dst = append(dst, recordVersion)
	dst = appendField(dst, tagMode, []byte{byte(r.Mode)})
	if r.Mode != ModeC {
		dst = appendField(dst, tagKMSKey, []byte(r.KMSKey))
		dst = appendField(dst, tagKeyVersion, binary.AppendUvarint(nil, uint64(r.KMSKeyVersion)))
		if len(r.ClientContext) > 0 {
			dst = appendField(dst, tagContext, r.ClientContext)
		}
		dst = appendField(dst, tagSealedDEK, r.SealedDEK)
		if r.BucketKey {
			dst = appendField(dst, tagBucketKey, nil)
		}
	}
	dst = appendField(dst, tagSealedKey, r.sealed[:])
	if r.Layout == OneStream {
		dst = appendField(dst, tagPlainSize, binary.AppendUvarint(nil, uint64(r.PlainSize)))
	}
	if r.Manifest != (ManifestID{}) {
		dst = appendField(dst, tagManifest, r.Manifest[:])
	}
	if r.Layout != OneStream {
		dst = appendField(dst, tagLayout, []byte{byte(r.Layout)})
	}
	if r.OpaqueETag {
		dst = appendField(dst, tagOpaqueETag, nil)
	}
	return dst
}

func (r *Record) aad(name Name) []byte {
	return associated("record", r.public, []byte(name.Bucket), []byte(name.Key))
}

// Open unseals the object key and the private section. context is the
// canonical context that the DEK was requested with; nil for SSE-C.
// ErrWrongKey: secret, context or name are not those the record was sealed
// for; ErrTampered: public or private fields were altered; ErrRecord: sealed
// by somebody who has the key, but not in this format.
func (r *Record) Open(name Name, secret *Secret, context []byte) (ObjectKey, *Private, error) {
	b := Binding{Mode: r.Mode, Name: name, KMSKey: r.KMSKey, KMSKeyVersion: r.KMSKeyVersion, Context: context}
	key, err := b.unseal(secret, &r.sealed)
	if err != nil {
		return ObjectKey{}, nil, err
	}
	return r.openPrivate(name, key)
}

// openPrivate unseals the private section with the object's key, which it zeroes where that
// fails.
func (r *Record) openPrivate(name Name, key ObjectKey) (ObjectKey, *Private, error) {
	recordKey := key.record()
	defer clear(recordKey[:])
	plain, err := newGCM(recordKey[:]).Open(nil, r.private[:nonceSize], r.private[nonceSize:], r.aad(name))
	if err != nil {
		key.Zero()
		return ObjectKey{}, nil, fmt.Errorf("open private section: %w", ErrTampered)
	}
	private, err := parsePrivate(plain, r)
	if err != nil {
		key.Zero()
		return ObjectKey{}, nil, err
	}
	return key, private, nil
}
