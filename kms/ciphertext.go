package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"

	"github.com/bucketseal/bucketseal/kms/strictjson"
)

const (
	ivSize    = 16
	nonceSize = 12
	tagSize   = 16
	// overhead is how much longer than its plaintext a raw ciphertext is.
	overhead = tagSize + ivSize + nonceSize
)

// sealed is a ciphertext taken apart. Its slices are parts of the ciphertext.
type sealed struct {
	version   uint32
	algorithm Algorithm // 0: the key's
	iv, nonce []byte
	box       []byte // ciphertext and tag
	header    []byte // authenticated before the context; nil but for versions after 1
}

// ciphertextMagic begins the ciphertexts of all key versions but the first; the
// version follows as four bytes, big-endian. It begins neither as JSON nor as
// msgpack does.
const ciphertextMagic = "\x89BSKEY\x1a\n"

const ciphertextHeaderSize = len(ciphertextMagic) + 4

func ciphertextHeader(version uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte(ciphertextMagic), version)
}

// parseRaw takes apart what has no header: ciphertext, tag, IV, nonce.
func parseRaw(b []byte) (sealed, bool) {
	if len(b) < overhead {
		return sealed{}, false
	}
	box, tail := b[:len(b)-ivSize-nonceSize], b[len(b)-ivSize-nonceSize:]
	return sealed{version: 1, iv: tail[:ivSize], nonce: tail[ivSize:], box: box}, true
}

// parseMarked takes apart the forms that a ciphertext's first byte tells.
func parseMarked(b []byte) (sealed, bool) {
	if len(b) == 0 {
		return sealed{}, false
	}
	switch b[0] {
	case ciphertextMagic[0]:
		return parseVersioned(b)
	case '{':
		return parseJSONCiphertext(b)
	case 0x95:
		return parseMsgpackCiphertext(b)
	}
	return sealed{}, false
}

// parseVersioned refuses version 1, whose ciphertexts have no header: with one,
// a caller could have "header || context" authenticated as a context of his, and
// present the result as sealed under a context that he may not use.
func parseVersioned(b []byte) (sealed, bool) {
	if !bytes.HasPrefix(b, []byte(ciphertextMagic)) || len(b) < ciphertextHeaderSize {
		return sealed{}, false
	}
	header := b[:ciphertextHeaderSize]
	s, ok := parseRaw(b[ciphertextHeaderSize:])
	s.header, s.version = header, binary.BigEndian.Uint32(header[len(ciphertextMagic):])
	return s, ok && s.version > 1
}

// parseJSONCiphertext reads the oldest form that KES wrote. The key id in it
// says nothing: the ciphertext is the same without.
func parseJSONCiphertext(b []byte) (sealed, bool) {
	members, err := strictjson.Strings(b)
	if err != nil {
		return sealed{}, false
	}
	s := sealed{version: 1}
	for name, value := range members {
		var field *[]byte
		switch name {
		case "aead":
			switch value {
			case "AES-256-GCM-HMAC-SHA-256":
				s.algorithm = AES256
			case "ChaCha20Poly1305":
				s.algorithm = ChaCha20
			}
			continue
		case "id":
			continue
		case "iv":
			field = &s.iv
		case "nonce":
			field = &s.nonce
		case "bytes":
			field = &s.box
		default:
			return sealed{}, false
		}
		if *field, err = base64.StdEncoding.Strict().DecodeString(value); err != nil {
			return sealed{}, false
		}
	}
	return s, s.complete()
}

// parseMsgpackCiphertext reads the form KES wrote after that: an array of
// algorithm, key id, IV, nonce and bytes.
func parseMsgpackCiphertext(b []byte) (sealed, bool) {
	var (
		fields [5][]byte
		rest   = b[1:]
		texts  = 2 // the first two are strings, the others binary
	)
	for i := range fields {
		var ok bool
		if fields[i], rest, ok = cutMsgpack(rest, i < texts); !ok {
			return sealed{}, false
		}
	}
	s := sealed{version: 1, iv: fields[2], nonce: fields[3], box: fields[4]}
	switch string(fields[0]) {
	case "AES256-GCM_SHA256":
		s.algorithm = AES256
	case "XCHACHA20-POLY1305":
		s.algorithm = ChaCha20
	}
	return s, len(rest) == 0 && s.complete()
}

func (s sealed) complete() bool {
	return s.algorithm != 0 && len(s.iv) == ivSize && len(s.nonce) == nonceSize && len(s.box) >= tagSize
}

// cutMsgpack splits a string, or else a byte string, off b.
func cutMsgpack(b []byte, text bool) (value, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	kinds := []byte{0xc4, 0xc5, 0xc6} // with a length of one, two, four bytes
	if text {
		kinds = []byte{0xd9, 0xda, 0xdb}
	}
	first, rest := b[0], b[1:]
	var size uint64
	switch at := slices.Index(kinds, first); {
	case text && first >= 0xa0 && first <= 0xbf:
		size = uint64(first & 0x1f)
	case at >= 0 && len(rest) >= 1<<at:
		for _, c := range rest[:1<<at] {
			size = size<<8 | uint64(c)
		}
		rest = rest[1<<at:]
	default:
		return nil, nil, false
	}
	if size > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:size], rest[size:], true
}
