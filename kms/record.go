package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of a stored key as KES writes it, base64 of a protocol buffer, and
// fieldLater, which KES does not know and skips (docs/keys.md, section 2).
const (
	fieldSecret    protowire.Number = 1   // message: 1 key, 2 algorithm
	fieldHMAC      protowire.Number = 2   // message: 1 key, 2 hash
	fieldCreatedAt protowire.Number = 3   // message: 1 seconds, 2 nanoseconds
	fieldCreatedBy protowire.Number = 4   // string
	fieldLater     protowire.Number = 100 // message, repeated: 1 secret, 2 version, 3 created at, 4 created by
)

// laterNumber is the field of fieldLater with the number of the version.
const laterNumber protowire.Number = 2

// hashSHA256 is KES's only hash of an HMAC key.
const hashSHA256 = 1

// MarshalRecord returns the key as it is stored. A key of one version is
// byte-compatible with KES; of a key with more, KES sees the first.
func (k *Key) MarshalRecord() []byte {
	first := k.versions[0]
	raw := appendBytes(nil, fieldSecret, secretMessage(&first.secret, uint64(first.algorithm)))
	if k.hmacKey != nil {
		raw = appendBytes(raw, fieldHMAC, secretMessage(k.hmacKey, hashSHA256))
	}
	raw = first.appendCreation(raw)
	for _, v := range k.versions[1:] {
		raw = v.appendLater(raw)
	}
	defer clear(raw)
	return base64.StdEncoding.AppendEncode(nil, raw)
}

func (v *keyVersion) appendLater(dst []byte) []byte {
	later := appendBytes(nil, fieldSecret, secretMessage(&v.secret, uint64(v.algorithm)))
	later = appendNumber(later, laterNumber, uint64(v.number))
	return appendBytes(dst, fieldLater, v.appendCreation(later))
}

// appendCreation leaves out what is not known.
func (v *keyVersion) appendCreation(dst []byte) []byte {
	if !v.createdAt.IsZero() {
		var at []byte
		if s := v.createdAt.Unix(); s != 0 {
			at = appendNumber(at, 1, uint64(s))
		}
		if n := v.createdAt.Nanosecond(); n != 0 {
			at = appendNumber(at, 2, uint64(n))
		}
		dst = appendBytes(dst, fieldCreatedAt, at)
	}
	if v.createdBy != "" {
		dst = appendBytes(dst, fieldCreatedBy, []byte(v.createdBy))
	}
	return dst
}

func appendBytes(dst []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), value)
}

func appendNumber(dst []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
}

func secretMessage(secret *[DEKSize]byte, kind uint64) []byte {
	return appendNumber(appendBytes(nil, 1, secret[:]), 2, kind)
}

// ParseRecord reads a stored key: KES's protocol buffer, or the JSON of its
// older releases. ErrCorruptKey.
func ParseRecord(record []byte) (*Key, error) {
	record = bytes.TrimSpace(record)
	if len(record) > 0 && record[0] == '{' {
		return parseJSONRecord(record)
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(record)))
	defer clear(raw)
	n, err := base64.StdEncoding.Decode(raw, record)
	if err != nil {
		return nil, corrupt("not base64")
	}
	k, err := parseKey(raw[:n])
	if err != nil {
		return nil, err
	}
	return k, nil
}

func corrupt(why string) error { return fmt.Errorf("%w: %s", ErrCorruptKey, why) }

func parseKey(raw []byte) (*Key, error) {
	k := &Key{versions: []*keyVersion{{number: 1}}}
	first := k.versions[0]
	err := eachField(raw, func(f field) error {
		switch f.number {
		case fieldHMAC:
			k.hmacKey = new([DEKSize]byte)
			if kind, err := f.secret(k.hmacKey); err != nil || kind != hashSHA256 {
				return corrupt("HMAC key")
			}
			return nil
		case fieldLater:
			return k.addVersion(f)
		}
		return first.set(f)
	})
	if err == nil && first.algorithm == 0 {
		err = corrupt("no secret")
	}
	if err != nil {
		k.Zero()
		return nil, err
	}
	return k, nil
}

// set takes a field that versions of a key have in common.
func (v *keyVersion) set(f field) (err error) {
	switch f.number {
	case fieldSecret:
		var kind uint64
		if kind, err = f.secret(&v.secret); err != nil || kind != uint64(AES256) && kind != uint64(ChaCha20) {
			return corrupt("secret of the key")
		}
		v.algorithm = Algorithm(kind)
	case fieldCreatedAt:
		v.createdAt, err = f.time()
	case fieldCreatedBy:
		if f.kind != protowire.BytesType || !utf8.Valid(f.bytes) {
			return corrupt("who created the key")
		}
		v.createdBy = string(f.bytes)
	}
	return err
}

func (k *Key) addVersion(f field) error {
	v, err := parseLater(f)
	if err != nil {
		return err
	}
	if v.algorithm == 0 || v.number <= k.latest().number {
		return corrupt("versions of the key")
	}
	k.versions = append(k.versions, v)
	return nil
}

func parseLater(f field) (*keyVersion, error) {
	v := new(keyVersion)
	err := f.message(func(f field) error {
		if f.number == laterNumber {
			if f.kind != protowire.VarintType || uint64(uint32(f.varint)) != f.varint {
				return corrupt("number of a version")
			}
			v.number = uint32(f.varint)
			return nil
		}
		return v.set(f)
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// field is a field of a protocol buffer.
type field struct {
	number protowire.Number
	kind   protowire.Type
	varint uint64
	bytes  []byte
}

// eachField calls visit for every field. A field that is there twice, unless it
// may be repeated, is ErrCorruptKey: which of two secrets is the key's must not
// depend on who reads them.
func eachField(b []byte, visit func(field) error) error {
	seen := make(map[protowire.Number]bool)
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return corrupt("not a protocol buffer")
		}
		b = b[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.varint, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return corrupt("not a protocol buffer")
		}
		b = b[n:]
		if seen[number] && number != fieldLater {
			return corrupt("a field appears twice")
		}
		seen[number] = true
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func (f field) message(visit func(field) error) error {
	if f.kind != protowire.BytesType {
		return corrupt("no message where one belongs")
	}
	return eachField(f.bytes, visit)
}

func (f field) secret(secret *[DEKSize]byte) (kind uint64, err error) {
	found := false
	err = f.message(func(f field) error {
		switch f.number {
		case 1:
			if len(f.bytes) != DEKSize {
				return corrupt("length of a secret")
			}
			copy(secret[:], f.bytes)
			found = true
		case 2:
			kind = f.varint
		}
		return nil
	})
	if err == nil && !found {
		err = corrupt("no secret")
	}
	return kind, err
}

func (f field) time() (time.Time, error) {
	var seconds, nanos int64
	err := f.message(func(f field) error {
		switch f.number {
		case 1:
			seconds = int64(f.varint)
		case 2:
			nanos = int64(f.varint)
		}
		return nil
	})
	// The range of google.protobuf.Timestamp.
	const first, last = -62135596800, 253402300799
	if err != nil || seconds < first || seconds > last || nanos < 0 || nanos >= int64(time.Second) {
		return time.Time{}, corrupt("time of creation")
	}
	return time.Unix(seconds, nanos).UTC(), nil
}

func parseJSONRecord(record []byte) (*Key, error) {
	var v struct {
		Bytes     []byte    `json:"bytes"`
		Algorithm string    `json:"algorithm"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
	}
	err := json.Unmarshal(record, &v)
	defer clear(v.Bytes)
	if err != nil {
		return nil, corrupt("not JSON of a key")
	}
	if len(v.Bytes) != DEKSize {
		return nil, corrupt("length of a secret")
	}
	algorithm := AES256
	if v.Algorithm != "" {
		if algorithm, err = ParseAlgorithm(v.Algorithm); err != nil {
			return nil, corrupt("algorithm")
		}
	}
	return &Key{versions: []*keyVersion{{
		number: 1, algorithm: algorithm, createdAt: v.CreatedAt.UTC(), createdBy: v.CreatedBy, secret: [DEKSize]byte(v.Bytes),
	}}}, nil
}
