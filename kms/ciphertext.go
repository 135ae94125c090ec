package kms

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
)

// sealed is one reading of a ciphertext.
type sealed struct {
	iv, nonce []byte
	box       []byte    // ciphertext and tag
	algorithm Algorithm // 0 if the form does not name one
	head      []byte    // authenticated before the context; nil but for versioned forms
}

// versionMagic begins ciphertexts of key versions after the first; the version
// follows as four bytes, big-endian, and both are authenticated. No version but
// the first exists yet.
var versionMagic = [8]byte{'b', 's', 'e', 'a', 'l', 'k', 'v', 0x01}

// parseCiphertext returns all readings of a ciphertext: one of the older forms
// if it has that shape, and always the plain layout, since a ciphertext of
// random bytes may begin as those forms do.
func parseCiphertext(b []byte) []sealed {
	var out []sealed
	if len(b) > 0 && b[0] == '{' {
		if s, ok := parseJSONCiphertext(b); ok {
			out = append(out, s)
		}
	}
	if len(b) > 0 && b[0] == 0x95 {
		if s, ok := parseMsgpackCiphertext(b); ok {
			out = append(out, s)
		}
	}
	if head := len(versionMagic) + 4; len(b) >= head+overhead && bytes.HasPrefix(b, versionMagic[:]) {
		tail := b[len(b)-ivSize-nonceSize:]
		out = append(out, sealed{iv: tail[:ivSize], nonce: tail[ivSize:], box: b[head : len(b)-ivSize-nonceSize], head: b[:head]})
	}
	if len(b) >= overhead {
		tail := b[len(b)-ivSize-nonceSize:]
		out = append(out, sealed{iv: tail[:ivSize], nonce: tail[ivSize:], box: b[:len(b)-ivSize-nonceSize]})
	}
	return out
}

func parseJSONCiphertext(b []byte) (sealed, bool) {
	var v struct {
		AEAD  string `json:"aead"`
		ID    string `json:"id"`
		IV    []byte `json:"iv"`
		Nonce []byte `json:"nonce"`
		Bytes []byte `json:"bytes"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if dec.Decode(&v) != nil {
		return sealed{}, false
	}
	s := sealed{iv: v.IV, nonce: v.Nonce, box: v.Bytes}
	switch v.AEAD {
	case "AES-256-GCM-HMAC-SHA-256":
		s.algorithm = AES256
	case "ChaCha20Poly1305":
		s.algorithm = ChaCha20
	}
	return s, s.valid()
}

func (s sealed) valid() bool {
	return s.algorithm != 0 && len(s.iv) == ivSize && len(s.nonce) == nonceSize && len(s.box) >= tagSize
}

// parseMsgpackCiphertext reads an array of five: algorithm, key id, IV, nonce,
// bytes.
func parseMsgpackCiphertext(b []byte) (sealed, bool) {
	rest := b[1:]
	var fields [5][]byte
	for i := range fields {
		var ok bool
		if fields[i], rest, ok = nextMsgpack(rest); !ok {
			return sealed{}, false
		}
	}
	s := sealed{iv: fields[2], nonce: fields[3], box: fields[4]}
	switch string(fields[0]) {
	case "AES256-GCM_SHA256":
		s.algorithm = AES256
	case "XCHACHA20-POLY1305":
		s.algorithm = ChaCha20
	}
	return s, len(rest) == 0 && s.valid()
}

// nextMsgpack splits one string or byte string off b.
func nextMsgpack(b []byte) (value, rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, nil, false
	}
	var n, head int
	switch c := b[0]; {
	case c >= 0xa0 && c <= 0xbf: // fixstr
		n, head = int(c&0x1f), 1
	case (c == 0xd9 || c == 0xc4) && len(b) >= 2: // str 8, bin 8
		n, head = int(b[1]), 2
	case (c == 0xda || c == 0xc5) && len(b) >= 3: // str 16, bin 16
		n, head = int(binary.BigEndian.Uint16(b[1:])), 3
	case (c == 0xdb || c == 0xc6) && len(b) >= 5: // str 32, bin 32
		n, head = int(binary.BigEndian.Uint32(b[1:])), 5
	default:
		return nil, nil, false
	}
	if n < 0 || n > len(b)-head {
		return nil, nil, false
	}
	return b[head : head+n], b[head+n:], true
}
