package verify

import (
	"errors"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// Kind is what is wrong with an object.
type Kind string

// Kinds of findings.
const (
	// Record is a record that cannot be read, or is another object's.
	Record Kind = "record"
	// Data are data that are not authentic, or not all there.
	Data Kind = "data"
	// Digest is an ETag or a checksum that is not the data's.
	Digest Kind = "digest"
	// NoManifest is an object whose manifest is missing or does not open: see object rescue.
	NoManifest Kind = "manifest"
	// Key is an object whose KMS key cannot be used: it, or its version, is gone, retired or
	// not permitted.
	Key Kind = "key"
	// Refused is an object that the storage does not let be read.
	Refused Kind = "refused"

	// Plain is an object that is not encrypted, Customer one whose key its client has: it was
	// not read. Orphan is a manifest that no object needs. Unproven is an object whose
	// manifest was made by a rescue. They are told, and are not wrong.
	Plain    Kind = "plain"
	Customer Kind = "customer-key"
	Orphan   Kind = "orphan"
	Unproven Kind = "unproven"

	changed Kind = "changed"
)

// Bad says whether the kind is something wrong.
func (k Kind) Bad() bool {
	return k != Plain && k != Customer && k != Orphan && k != Unproven
}

// Finding is something that was found.
type Finding struct {
	Kind                 Kind
	Bucket, Key, Version string
	// Err says more, nil for nothing.
	Err error
}

// found is an error whose kind is known.
type found struct {
	kind Kind
	error
}

// Unwrap returns the cause.
func (f *found) Unwrap() error { return f.error }

// kindOf says what an error is, and whether it may pass.
func kindOf(err error) (kind Kind, passes bool) {
	var known *found
	var answer *storage.Error
	is := func(targets ...error) bool {
		for _, target := range targets {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return "", false
	case is(kms.ErrKeyReplaced): // it opens nothing of before
		return Key, false
	case sealed.MayPass(err):
		return "", true
	case is(sealed.ErrChanged):
		return changed, false
	case errors.As(err, &known):
		return known.kind, false
	case is(manifest.ErrMissing, system.ErrTampered, system.ErrNotFound):
		return NoManifest, false
	case is(kms.ErrKeyNotFound, kms.ErrVersionRetired, kms.ErrVersionDestroyed, kms.ErrNotPermitted, keyring.ErrAccess, keyring.ErrKeyName):
		return Key, false
	case is(sse.ErrRecord, kms.ErrDecrypt): // a DEK of another key, or sealed for another object
		return Record, false
	case errors.As(err, &answer) && answer.Status >= 500:
		return "", true
	case answer != nil:
		return Refused, false
	case is(sse.ErrTampered, sse.ErrTruncated, storage.ErrLied):
		return Data, false
	}
	return "", true // nobody knows
}
