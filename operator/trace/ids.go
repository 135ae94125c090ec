package trace

import "encoding/hex"

// IDs name a span, and say whether it is recorded.
type IDs struct {
	Trace   [16]byte
	Span    [8]byte
	Sampled bool
}

func (i IDs) traceID() string { return hex.EncodeToString(i.Trace[:]) }

// parentLength is that of a traceparent of version 00: 2, 32, 16 and 2 digits, and dashes.
const parentLength = 55

// String returns the IDs as a traceparent of version 00.
func (i IDs) String() string {
	var b [parentLength]byte
	copy(b[:], "00-")
	hex.Encode(b[3:35], i.Trace[:])
	b[35] = '-'
	hex.Encode(b[36:52], i.Span[:])
	copy(b[52:], "-00")
	if i.Sampled {
		b[54] = '1'
	}
	return string(b[:])
}

// Parse reads a traceparent, as W3C's Trace Context says in 2.2: of version 00 exactly, of
// later ones the fields that 00 has. ok is false for what is malformed.
func Parse(s string) (ids IDs, ok bool) {
	if len(s) < parentLength || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return IDs{}, false
	}
	var version, flags [1]byte
	if !digits(version[:], s[:2]) || version[0] == 0xff || !digits(ids.Trace[:], s[3:35]) || !digits(ids.Span[:], s[36:52]) || !digits(flags[:], s[53:55]) {
		return IDs{}, false
	}
	if len(s) > parentLength && (version[0] == 0 || s[parentLength] != '-') {
		return IDs{}, false
	}
	if ids.Trace == [16]byte{} || ids.Span == [8]byte{} {
		return IDs{}, false
	}
	ids.Sampled = flags[0]&1 != 0
	return ids, true
}

// digits decodes hexadecimal digits, of which only the small ones count.
func digits(to []byte, s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	_, err := hex.Decode(to, []byte(s))
	return err == nil
}
