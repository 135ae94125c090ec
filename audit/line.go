package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strconv"
	"time"
	"unicode/utf8"
)

// A line is {"seq":N,"chain":"ID",MEMBERS,"hash":"HEX"} or, once there is a key,
// {"seq":N,"chain":"ID",MEMBERS,"hash":"HEX","mac":"HEX"}. The hash is SHA-256 over the
// hash of the line before and the bytes of this line before `,"hash":`.
const (
	hashMember = `,"hash":"`
	macMember  = `,"mac":"`
	// MaxLine is the longest line in bytes.
	MaxLine = 64 << 10
	macSize = 16
)

// Hash is a line's place in the chain.
type Hash [sha256.Size]byte

// String returns it in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashOf returns the hash of a line, given that of the line before and what stands before
// its own hash.
func HashOf(before Hash, body []byte) (h Hash) {
	d := sha256.New()
	d.Write(before[:])
	d.Write(body)
	d.Sum(h[:0])
	return h
}

// link ends a line that begins at lines[start:] and returns the longer slice.
func link(lines []byte, start int, before Hash, mac *macer) ([]byte, Hash) {
	h := HashOf(before, lines[start:])
	lines = append(lines, hashMember...)
	lines = hex.AppendEncode(lines, h[:])
	if mac != nil {
		lines = append(lines, '"')
		lines = append(lines, macMember...)
		lines = hex.AppendEncode(lines, mac.of(h))
	}
	return append(lines, '"', '}', '\n'), h
}

// macer makes the message authentication codes of lines. It is not safe for concurrent use.
type macer struct {
	d   hash.Hash
	sum [sha256.Size]byte
}

func newMacer(key []byte) *macer { return &macer{d: hmac.New(sha256.New, key)} }

// of returns the code of a line, which is valid until the next call.
func (m *macer) of(h Hash) []byte {
	m.d.Reset()
	m.d.Write(h[:])
	return m.d.Sum(m.sum[:0])[:macSize]
}

// members makes the members of a line.
type members []byte

func (m members) text(name, value string) members {
	if value == "" {
		return m
	}
	return appendText(m.name(name), value)
}

func (m members) name(name string) members {
	if n := len(m); n > 0 && m[n-1] != '{' && m[n-1] != '[' {
		m = append(m, ',')
	}
	m = append(m, '"')
	m = append(m, name...)
	return append(m, '"', ':')
}

func (m members) number(name string, value int64) members {
	if value == 0 {
		return m
	}
	return strconv.AppendInt(m.name(name), value, 10)
}

func (m members) bytes(name string, value []byte) members {
	m = append(m.name(name), '"')
	m = base64.StdEncoding.AppendEncode(m, value)
	return append(m, '"')
}

const timeForm = "2006-01-02T15:04:05.000000Z"

func (m members) time(t time.Time) members {
	m = append(m.name("time"), '"')
	m = t.UTC().AppendFormat(m, timeForm)
	return append(m, '"')
}

// appendText appends a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendText(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	last := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[last:i]...)
			if c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
			}
			i++
			last = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, s[last:i]...)
			b = append(b, "\ufffd"...)
			last = i + size
		case r == '\u2028' || r == '\u2029' || r == '\u0085': // line ends to some readers
			b = append(b, s[last:i]...)
			b = append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
			last = i + size
		}
		i += size
	}
	b = append(b, s[last:]...)
	return append(b, '"')
}

// appendEvent appends the members of an event's line.
func appendEvent(b []byte, e *Event) []byte {
	m := members(appendText(append(b, `"kind":`...), string(e.Kind))) // what is before it is another event's
	m = m.time(e.Time)
	m = m.text("request", e.RequestID).text("op", e.Operation)
	m = m.text("access_key", bound(e.AccessKey, maxName)).text("identity", e.Identity).text("source", e.Source)
	if len(e.Via) > 0 {
		m = append(m.name("via"), '[')
		for i, v := range e.Via {
			if i > 0 {
				m = append(m, ',')
			}
			m = append(m, '{')
			m = m.text("access_key", bound(v.AccessKey, maxName)).text("identity", v.Kind).text("source", v.Source)
			m = append(m, '}')
		}
		m = append(m, ']')
	}
	m = m.text("claims", bound(e.Claims, maxName)).text("address", e.Address).text("peer", e.Peer)
	m = m.text("bucket", bound(e.Bucket, maxName)).text("object", bound(e.Object, 4*maxName)).text("version", bound(e.Version, maxName)).text("target", bound(e.Target, maxName))
	m = m.text("sse", e.SSE).text("kms_key", bound(e.KMSKey, maxName)).number("kms_version", int64(e.KMSVersion))
	m = m.number("bytes_in", e.BytesIn).number("bytes_out", e.BytesOut)
	m = m.text("outcome", e.Outcome).number("status", int64(e.Status)).text("code", e.Code).text("reason", Redact(e.Reason))
	if e.Took >= 0 {
		m = strconv.AppendInt(m.name("took_us"), e.Took.Microseconds(), 10)
	}
	return m
}
