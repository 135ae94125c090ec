// Package audit keeps an account of who asked for what, which keys were used for it and
// how it ended: one line of JSON for each, in a chain of hashes whose head is signed from
// time to time. docs/audit.md has the form of the lines.
//
// A line holds names of objects and of access keys, and neither secrets, signatures nor
// metadata of objects.
package audit

import (
	"context"
	"errors"
	"strings"
	"time"
)

// ErrUnavailable says that an event could not be made durable. What it is about must not
// be answered.
var ErrUnavailable = errors.New("the audit log cannot be written")

// Kind is what a line is about.
type Kind string

// Kinds of events. Lines about the chain itself have kinds of their own.
const (
	// Intent is a request that was let in and that changes something: written before it is
	// done.
	Intent Kind = "intent"
	// Begin is a request that was let in and that reads: written before its answer's first byte,
	// when its end is not known.
	Begin Kind = "begin"
	// Request is a request that has ended.
	Request Kind = "request"
	// KeyUse is a use of a KMS key.
	KeyUse Kind = "key"
	// Object is one object that a request is about besides the one, or instead of the one, that
	// its line names: those that DeleteObjects deletes, the source of a copy.
	Object Kind = "object"
	// Act is what was done for no request, as maintenance is.
	Act Kind = "act"
)

// Outcomes of events.
const (
	Allowed = "allowed" // not done yet
	OK      = "ok"
	Refused = "refused" // the caller may not
	Failed  = "failed"
	Cut     = "cut" // the answer broke off
)

// Event is what one line says. Zero values are left out of the line.
type Event struct {
	Kind Kind
	// Time is when it was recorded; zero is now.
	Time time.Time
	// RequestID names the request, as the client's answer does.
	RequestID string
	// AccessKey is who asked, as was proven; "" for a caller without a signature. Identity
	// says how that access key came to be known, and Source which call issued it.
	AccessKey, Identity, Source string
	// Via are those who vouch for it: who asked for this access key, who asked for that one.
	Via []Voucher
	// Claims is an access key that was named and not proven.
	Claims string
	// Address is where the request comes from, and Peer the other end of the connection if
	// that is somebody else.
	Address, Peer string
	// Operation is its name in the API's documentation; of keys "kms:Decrypt" and the like.
	Operation string
	// Bucket, Object and Version name what it is about.
	Bucket, Object, Version string
	// Target is what an administrator's request is about, or sets: accounts, groups, policies, keys,
	// as in a query: user=alice&policies=readonly.
	Target string
	// SSE is how the object is encrypted: SSE-S3, SSE-KMS or SSE-C.
	SSE string
	// KMSKey is the KMS key that was used, and KMSVersion its version; 0 if unknown.
	KMSKey     string
	KMSVersion uint32
	// BytesIn are those of the request's body that were read, BytesOut those of the answer's
	// that were written.
	BytesIn, BytesOut int64
	// Outcome is one of the constants, Status the HTTP status and Code the API's error code.
	Outcome string
	Status  int
	Code    string
	// Reason says why it did not succeed, or what else there is to say.
	Reason string
	// Damage says what was not as it was written, as bucketseal_s3_integrity_failures_total has
	// it. It is in no line: Code and Reason tell it there.
	Damage string
	// Took is how long it took; negative for "not known".
	Took time.Duration
}

// Voucher is who vouches for an access key.
type Voucher struct{ AccessKey, Kind, Source string }

// Recorder takes events. It is safe for concurrent use.
type Recorder interface {
	// Record takes an event and keeps nothing of it. If the log is required it returns when
	// the event's line is durable, and so are those of all events that were taken before:
	// or ErrUnavailable. Otherwise it returns at once, with nil. The end of ctx ends neither
	// the wait nor the line.
	Record(ctx context.Context, e *Event) error
	// Start takes an event as Record does and returns at once, with what waits in Record's place:
	// it is never nil, and may be called any number of times.
	Start(e *Event) (durable func() error)
	// Note takes an event and does not wait for it.
	Note(e *Event)
}

// Nothing is a Recorder that records nothing.
type Nothing struct{}

// Record implements Recorder.
func (Nothing) Record(context.Context, *Event) error { return nil }

// Start implements Recorder.
func (Nothing) Start(*Event) func() error { return Durable }

// Durable is what Start returns if there is nothing to wait for.
func Durable() error { return nil }

// Note implements Recorder.
func (Nothing) Note(*Event) {}

// Bounds of what a caller decides, in bytes.
const (
	maxReason = 512
	maxName   = 1024
)

// Redact removes from a text what a URL or a header may hold of signatures and secrets, and
// bounds it.
func Redact(text string) string {
	for _, name := range []string{
		"x-amz-signature=", "signature=", "x-amz-credential=", "x-amz-security-token=", "authorization:", "secretkey", "secret_key",
		"x-amz-meta-", "customer-key",
	} {
		text = redactAfter(text, name)
	}
	return bound(text, maxReason)
}

// redactAfter removes what follows name, in any case, up to a separator.
func redactAfter(text, name string) string {
	from := 0
	for {
		i := strings.Index(asciiLower(text[from:]), name)
		if i < 0 {
			return text
		}
		i += from + len(name)
		end := i
		separators := " &\"'<>;,\t\n"
		if name == "authorization:" {
			separators, end = "\"<>\n", i
		}
		for end < len(text) && !strings.ContainsRune(separators, rune(text[end])) {
			end++
		}
		const mark = "[redacted]"
		text = text[:i] + mark + text[end:]
		from = i + len(mark)
	}
}

// asciiLower is strings.ToLower for ASCII alone, which keeps the length.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// bound cuts a text that is too long.
func bound(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "..."
}
