package sse

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
)

const systemVersion = 0x01

// SystemObject names a sealed system object and the key it is sealed under.
type SystemObject struct {
	// Deployment names the installation, Kind what the object is, and Name is
	// its full key in the system bucket.
	Deployment, Kind, Name string
	// KMSKey, KMSKeyVersion and SealedDEK say how to get the DEK.
	KMSKey        string
	KMSKeyVersion uint32
	SealedDEK     []byte
}

// SealSystem seals data as the system object o under dek.
func SealSystem(o SystemObject, dek *Secret, data []byte) []byte {
	out := []byte{systemVersion}
	out = appendBytes(out, []byte(o.KMSKey))
	out = binary.AppendUvarint(out, uint64(o.KMSKeyVersion))
	out = appendBytes(out, o.SealedDEK)
	aad := append(o.aad(), out...)

	var nonce [nonceSize]byte
	_, _ = rand.Read(nonce[:])
	key := derive(dek[:], "system", nonce[:])
	defer clear(key[:])
	out = append(out, nonce[:]...)
	var zero [nonceSize]byte
	return newGCM(key[:]).Seal(out, zero[:], data, aad)
}

// SystemKey reads from a sealed system object which DEK opens it; the fields
// KMSKey, KMSKeyVersion and SealedDEK of the result are set. ErrRecord.
func SystemKey(sealed []byte) (SystemObject, error) {
	o, _, err := parseSystem(sealed)
	return o, err
}

// OpenSystem opens the system object o. ErrTampered if it is another object's,
// another deployment's, or altered; ErrRecord if it is none.
func OpenSystem(o SystemObject, dek *Secret, sealed []byte) ([]byte, error) {
	_, head, err := parseSystem(sealed)
	if err != nil {
		return nil, err
	}
	nonce, box := sealed[head:head+nonceSize], sealed[head+nonceSize:]
	key := derive(dek[:], "system", nonce)
	defer clear(key[:])
	var zero [nonceSize]byte
	data, err := newGCM(key[:]).Open(nil, zero[:], box, append(o.aad(), sealed[:head]...))
	if err != nil {
		return nil, fmt.Errorf("open system object %q: %w", o.Name, ErrTampered)
	}
	return data, nil
}

func (o *SystemObject) aad() []byte {
	return associated("system", []byte(o.Deployment), []byte(o.Kind), []byte(o.Name))
}

func appendBytes(dst, value []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

// parseSystem returns what stands before the nonce, and its length.
func parseSystem(b []byte) (o SystemObject, head int, err error) {
	bad := fmt.Errorf("system object: %w", ErrRecord)
	if len(b) == 0 || b[0] != systemVersion {
		return o, 0, bad
	}
	rest := b[1:]
	next := func(limit uint64) []byte {
		length, n, e := canonicalUvarint(rest)
		if e != nil || length > limit || length > uint64(len(rest)-n) {
			err = bad
			return nil
		}
		value := rest[n : n+int(length)]
		rest = rest[n+int(length):]
		return value
	}
	o.KMSKey = string(next(maxKMSKeyLength))
	if err != nil {
		return o, 0, err
	}
	version, n, e := canonicalUvarint(rest)
	if e != nil || version != uint64(uint32(version)) {
		return o, 0, bad
	}
	o.KMSKeyVersion, rest = uint32(version), rest[n:]
	o.SealedDEK = next(maxSealedDEKLength)
	if err != nil || len(rest) < nonceSize+tagSize {
		return o, 0, bad
	}
	return o, len(b) - len(rest), nil
}
