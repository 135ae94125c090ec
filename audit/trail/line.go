// Package trail reads what package audit has written: it verifies the chain of lines, and
// searches in them.
package trail

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/audit"
)

// ErrMalformed says that something is no line of an audit log.
var ErrMalformed = errors.New("it is no line of an audit log")

// Line is a line, as far as it could be read. What it says is not verified.
type Line struct {
	Seq   uint64    `json:"seq"`
	Chain string    `json:"chain"`
	Kind  string    `json:"kind"`
	Time  time.Time `json:"time"`

	Request    string    `json:"request,omitempty"`
	Operation  string    `json:"op,omitempty"`
	AccessKey  string    `json:"access_key,omitempty"`
	Identity   string    `json:"identity,omitempty"`
	Source     string    `json:"source,omitempty"`
	Via        []Voucher `json:"via,omitempty"`
	Claims     string    `json:"claims,omitempty"`
	Address    string    `json:"address,omitempty"`
	Peer       string    `json:"peer,omitempty"`
	Bucket     string    `json:"bucket,omitempty"`
	Object     string    `json:"object,omitempty"`
	Version    string    `json:"version,omitempty"`
	Target     string    `json:"target,omitempty"`
	SSE        string    `json:"sse,omitempty"`
	KMSKey     string    `json:"kms_key,omitempty"`
	KMSVersion uint32    `json:"kms_version,omitempty"`
	BytesIn    int64     `json:"bytes_in,omitempty"`
	BytesOut   int64     `json:"bytes_out,omitempty"`
	Outcome    string    `json:"outcome,omitempty"`
	Status     int       `json:"status,omitempty"`
	Code       string    `json:"code,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	TookMicros int64     `json:"took_us,omitempty"`

	// What lines about the chain itself say.
	About        string `json:"about,omitempty"`
	Prev         string `json:"prev,omitempty"`
	Torn         int64  `json:"torn,omitempty"`
	MissingChain string `json:"missing_chain,omitempty"`
	MissingTo    uint64 `json:"missing_to,omitempty"`
	AfterChain   string `json:"after_chain,omitempty"`
	After        uint64 `json:"after,omitempty"`
	From         uint64 `json:"from,omitempty"`
	To           uint64 `json:"to,omitempty"`
	Of           string `json:"of,omitempty"`
	Public       []byte `json:"public,omitempty"`
	Sealed       []byte `json:"sealed,omitempty"`
	Signature    []byte `json:"signature,omitempty"`
	Sink         string `json:"sink,omitempty"`
	First        uint64 `json:"first,omitempty"`
	Last         uint64 `json:"last,omitempty"`
	Lost         uint64 `json:"lost,omitempty"`

	// Hash is the line's own, as it says, and MAC its code; nil for none.
	Hash audit.Hash `json:"-"`
	MAC  []byte     `json:"-"`
	// Body is what the hash is over, after the hash of the line before.
	Body []byte `json:"-"`
}

// Voucher is who vouches for an access key.
type Voucher struct {
	AccessKey string `json:"access_key"`
	Identity  string `json:"identity"`
	Source    string `json:"source,omitempty"`
}

const (
	hashMember = `,"hash":"`
	macMember  = `,"mac":"`
	hashDigits = 64
	macDigits  = 32
)

// Parse reads a line without its end. Body is a part of text. ErrMalformed.
func Parse(text []byte) (*Line, error) {
	if len(text) > audit.MaxLine {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrMalformed, len(text))
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: it is no UTF-8", ErrMalformed)
	}
	l := &Line{}
	rest, ok := bytes.CutSuffix(text, []byte(`"}`))
	if !ok {
		return nil, fmt.Errorf("%w: it does not end as one", ErrMalformed)
	}
	if before, digits, ok := cutLast(rest, macMember, macDigits); ok {
		l.MAC = digits
		if rest, ok = bytes.CutSuffix(before, []byte(`"`)); !ok {
			return nil, fmt.Errorf("%w: it has no hash", ErrMalformed)
		}
	}
	body, digits, ok := cutLast(rest, hashMember, hashDigits)
	if !ok {
		return nil, fmt.Errorf("%w: it has no hash", ErrMalformed)
	}
	copy(l.Hash[:], digits)
	l.Body = body
	if err := unmarshal(append(bytes.Clone(body), '}'), l); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if !bytes.HasPrefix(body, fmt.Appendf(nil, `{"seq":%d,"chain":`, l.Seq)) || l.Seq == 0 || l.Chain == "" || l.Kind == "" {
		return nil, fmt.Errorf("%w: it does not begin as one", ErrMalformed)
	}
	return l, nil
}

// unmarshal decodes one JSON value into a line.
func unmarshal(data []byte, l *Line) error {
	if err := json.Unmarshal(data, l); err != nil {
		return errors.New("it is no JSON of this form")
	}
	return nil
}

// cutLast cuts member and its value in hex, in lower case, off the end of text.
func cutLast(text []byte, member string, digits int) (before, value []byte, ok bool) {
	at := len(text) - digits - len(member)
	if at < 0 || string(text[at:at+len(member)]) != member {
		return nil, nil, false
	}
	value = make([]byte, digits/2)
	if _, err := hex.Decode(value, text[at+len(member):]); err != nil || hex.EncodeToString(value) != string(text[at+len(member):]) {
		return nil, nil, false
	}
	return text[:at], value, true
}
