package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of a stored key, as KES writes it: base64 of a protocol buffer.
// Numbers from 100 on are for later versions of a key; KES skips fields that it
// does not know.
const (
	fieldSecret    = 1 // message: 1 key, 2 algorithm
	fieldHMAC      = 2 // message: 1 key, 2 hash
	fieldCreatedAt = 3 // message: 1 seconds, 2 nanoseconds
	fieldCreatedBy = 4
	hashSHA256     = 1
)

// MarshalRecord returns the key as it is stored, byte-compatible with KES.
func (k *Key) MarshalRecord() []byte {
	var raw []byte
	raw = appendMessage(raw, fieldSecret, secretMessage(k.secret, uint64(k.Algorithm)))
	if k.hasHMAC {
		raw = appendMessage(raw, fieldHMAC, secretMessage(k.hmac, hashSHA256))
	}
	var at []byte
	if s := k.CreatedAt.Unix(); s != 0 {
		at = protowire.AppendVarint(protowire.AppendTag(at, 1, protowire.VarintType), uint64(s))
	}
	if n := k.CreatedAt.Nanosecond(); n != 0 {
		at = protowire.AppendVarint(protowire.AppendTag(at, 2, protowire.VarintType), uint64(n))
	}
	raw = appendMessage(raw, fieldCreatedAt, at)
	if k.CreatedBy != "" {
		raw = appendMessage(raw, fieldCreatedBy, []byte(k.CreatedBy))
	}
	defer clear(raw)
	out := make([]byte, base64.StdEncoding.EncodedLen(len(raw)))
	base64.StdEncoding.Encode(out, raw)
	return out
}

func appendMessage(dst []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), value)
}

func secretMessage(key secretBytes, kind uint64) []byte {
	b := appendMessage(nil, 1, key[:])
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), kind)
}

// ParseRecord reads a stored key: KES's protocol buffer, or the JSON of its
// older releases. ErrCorruptKey.
func ParseRecord(b []byte) (*Key, error) {
	b = bytes.TrimSpace(b)
	if len(b) > 0 && b[0] == '{' {
		return parseJSONRecord(b)
	}
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(b)))
	n, err := base64.StdEncoding.Decode(raw, b)
	if err != nil {
		return nil, corrupt("not base64")
	}
	defer clear(raw)
	k := new(Key)
	if err := k.unmarshal(raw[:n]); err != nil {
		k.Zero()
		return nil, err
	}
	return k, nil
}

func corrupt(why string) error { return fmt.Errorf("%s: %w", why, ErrCorruptKey) }

func (k *Key) unmarshal(raw []byte) error {
	seconds, nanos, hasSecret := int64(0), int64(0), false
	err := eachField(raw, func(field protowire.Number, _ uint64, value []byte) error {
		switch field {
		case fieldSecret:
			kind, err := parseSecret(value, &k.secret)
			if err != nil || kind != uint64(AES256) && kind != uint64(ChaCha20) {
				return corrupt("secret of the key")
			}
			k.Algorithm, hasSecret = Algorithm(kind), true
		case fieldHMAC:
			kind, err := parseSecret(value, &k.hmac)
			if err != nil || kind != hashSHA256 {
				return corrupt("HMAC key")
			}
			k.hasHMAC = true
		case fieldCreatedAt:
			return eachField(value, func(part protowire.Number, n uint64, _ []byte) error {
				switch part {
				case 1:
					seconds = int64(n)
				case 2:
					nanos = int64(n)
				}
				return nil
			})
		case fieldCreatedBy:
			k.CreatedBy = string(value)
		}
		return nil
	})
	if err == nil && !hasSecret {
		err = corrupt("no secret")
	}
	k.CreatedAt = time.Unix(seconds, nanos).UTC()
	return err
}

func parseSecret(b []byte, key *secretBytes) (kind uint64, err error) {
	found := false
	err = eachField(b, func(field protowire.Number, n uint64, value []byte) error {
		switch field {
		case 1:
			if len(value) != len(key) {
				return corrupt("length of a secret")
			}
			copy(key[:], value)
			found = true
		case 2:
			kind = n
		}
		return nil
	})
	if err == nil && !found {
		err = corrupt("no secret")
	}
	return kind, err
}

// eachField calls f for every varint and byte field, and skips others.
func eachField(b []byte, f func(field protowire.Number, n uint64, value []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return corrupt("protocol buffer")
		}
		b = b[n:]
		var number uint64
		var value []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return corrupt("protocol buffer")
		}
		if err := f(field, number, value); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func parseJSONRecord(b []byte) (*Key, error) {
	var v struct {
		Bytes     []byte    `json:"bytes"`
		Algorithm string    `json:"algorithm"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, corrupt("JSON")
	}
	defer clear(v.Bytes)
	if len(v.Bytes) != DEKSize {
		return nil, corrupt("length of the secret")
	}
	algorithm := AES256
	if v.Algorithm != "" {
		var err error
		if algorithm, err = ParseAlgorithm(v.Algorithm); err != nil {
			return nil, corrupt("algorithm")
		}
	}
	return &Key{Algorithm: algorithm, CreatedAt: v.CreatedAt, CreatedBy: v.CreatedBy, secret: secretBytes(v.Bytes)}, nil
}
