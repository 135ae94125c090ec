// Package history is the record of what clients asked and were answered: what the checker judges.
//
// A history is written as JSON lines, one operation each, so that a run can be judged again later.
package history

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kind is what an operation does.
type Kind string

// The operations. Put, Copy and Complete write a value; Delete writes its absence.
const (
	Put           Kind = "put"
	Copy          Kind = "copy"
	Complete      Kind = "complete"
	Delete        Kind = "delete"
	Get           Kind = "get"
	Head          Kind = "head"
	GetVersion    Kind = "get-version"
	DeleteVersion Kind = "delete-version"
	List          Kind = "list"
	ListVersions  Kind = "list-versions"
	Abort         Kind = "abort"
	SetRule       Kind = "set-rule"
	GetRule       Kind = "get-rule"
	CreateKey     Kind = "create-key"
	DeleteKey     Kind = "delete-key"
	UseExpired    Kind = "use-expired"
	AssumeRole    Kind = "assume-role"
)

// Outcome is what the client knows of its operation's effect.
type Outcome string

// An operation that Failed was refused: it had no effect. Of an Unknown one the answer was lost, was a
// fault of the server, or never came: it may have had its effect, and may have it later still.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Unreadable is the code of a read that failed again and again when all was whole again.
const Unreadable = "client: unreadable"

// Absent is the write that a client sees where there is no object.
const Absent Write = 0

// Write names one write of one client. Every 16 bytes of its data say it, see package workload.
type Write int64

// Segment is a run of bytes of a body, all of one write: Len bytes that lay at From in what Write sent.
type Segment struct {
	Write Write `json:"w"`
	From  int64 `json:"from,omitempty"`
	Len   int64 `json:"len"`
}

// Body is data as the runs of which it is made. Damage stands where it is none of anybody's.
type Body []Segment

// Damage is the write of bytes that nobody wrote.
const Damage Write = -1

func (b Body) String() string {
	parts := make([]string, len(b))
	for i, s := range b {
		parts[i] = fmt.Sprintf("%d[%d:%d]", s.Write, s.From, s.From+s.Len)
	}
	return strings.Join(parts, "+")
}

// Size returns the length in bytes.
func (b Body) Size() int64 {
	var n int64
	for _, s := range b {
		n += s.Len
	}
	return n
}

// Cut returns the bytes from first up to, not including, end.
func (b Body) Cut(first, end int64) Body {
	var out Body
	var at int64
	for _, s := range b {
		from, to := max(first, at), min(end, at+s.Len)
		if from < to {
			out = out.Append(Segment{Write: s.Write, From: s.From + from - at, Len: to - from})
		}
		at += s.Len
	}
	return out
}

// Append adds a run, or lengthens the last one where the new one goes on from it.
func (b Body) Append(s Segment) Body {
	if s.Len == 0 {
		return b
	}
	if n := len(b); n > 0 && b[n-1].Write == s.Write && (s.Write == Damage || b[n-1].From+b[n-1].Len == s.From) {
		b[n-1].Len += s.Len
		return b
	}
	return append(b, s)
}

// Equal tells whether two bodies are the same bytes.
func (b Body) Equal(o Body) bool { return b.String() == o.String() }

// Value is an object as an answer shows it.
type Value struct {
	Write   Write  `json:"write"`             // from the object's metadata; Absent: there is none
	Body    Body   `json:"body,omitempty"`    // what was read; nil for HEAD
	First   int64  `json:"first,omitempty"`   // where in the object the body begins
	Partial bool   `json:"partial,omitempty"` // only a range was asked for
	Size    int64  `json:"size,omitempty"`    // of the whole object
	ETag    string `json:"etag,omitempty"`
	Version string `json:"version,omitempty"`
	Seal    string `json:"seal,omitempty"`   // AES256, aws:kms:KEY, C, or empty
	Digest  string `json:"digest,omitempty"` // what a checksum disagreed about, or empty
}

// Entry is an object in a listing.
type Entry struct {
	Key     string `json:"key"`
	ETag    string `json:"etag,omitempty"`
	Size    int64  `json:"size"`
	Version string `json:"version,omitempty"`
	Marker  bool   `json:"marker,omitempty"`
}

// Span is the bytes of an object from First up to, not including, End.
type Span struct {
	First int64 `json:"first"`
	End   int64 `json:"end"`
}

// Forever is the end of an operation whose effect may come at any time.
const Forever = time.Duration(math.MaxInt64)

// Op is one operation. Times are since the run began, by a clock that does not jump.
type Op struct {
	ID      int           `json:"id"`
	Client  int           `json:"client"`
	Kind    Kind          `json:"kind"`
	By      string        `json:"by,omitempty"`  // http, boto3, mc ...
	Via     string        `json:"via,omitempty"` // the way in
	Bucket  string        `json:"bucket"`
	Key     string        `json:"key,omitempty"`
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Status  int           `json:"status,omitempty"`
	Code    string        `json:"code,omitempty"`

	// What was asked.
	Write   Write  `json:"asked_write,omitempty"` // what it writes
	Body    Body   `json:"asked_body,omitempty"`  // of what bytes; nil for a copy
	Seal    string `json:"asked_seal,omitempty"`  // what was asked for, or empty; of a KMS key itself that key's
	Version string `json:"asked_version,omitempty"`
	Upload  string `json:"upload,omitempty"`
	Resent  bool   `json:"resent,omitempty"`  // a part of the upload was sent more than once
	Range   *Span  `json:"range,omitempty"`   // of a read of a part only
	OnlyIf  *Write `json:"only_if,omitempty"` // the write that must be there for this one to happen
	ByRule  bool   `json:"by_rule,omitempty"` // no encryption was asked for: the bucket's rule decides
	Source  string `json:"source,omitempty"`  // BUCKET/KEY of a copy
	// Grace is for how long after the end what was deleted may still be in use.
	Grace time.Duration `json:"grace,omitempty"`
	After string        `json:"after,omitempty"` // where a page of a listing begins
	// Walk is when the first page was asked for of the listing to which a page belongs; 0: it is the first.
	Walk        time.Duration `json:"walk,omitempty"`
	Prefix      string        `json:"prefix,omitempty"`
	ExpiredNote string        `json:"expired,omitempty"` // what had expired

	// What was answered.
	Saw    *Value  `json:"saw,omitempty"`
	Listed []Entry `json:"listed,omitempty"`
	Last   string  `json:"last,omitempty"` // the last key that a page covers; empty: it covers all that follow
	Rule   string  `json:"rule,omitempty"` // a rule set or seen, as a Seal
}

// Writes tells whether the operation changes what a key holds.
func (o *Op) Writes() bool {
	switch o.Kind {
	case Put, Copy, Complete, Delete:
		return true
	}
	return false
}

// Listing is when a page's listing began. A store may answer all pages from what it found for the first one.
func (o *Op) Listing() time.Duration {
	if o.Walk > 0 {
		return o.Walk
	}
	return o.Start
}

// Until is when the operation's effect had come at the latest.
func (o *Op) Until() time.Duration {
	if o.Outcome == Unknown {
		return Forever
	}
	return o.End
}

// History is the operations of a run. Its methods may be called at once by many.
type History struct {
	mu  sync.Mutex
	ops []Op
	to  *bufio.Writer
	err error
}

// New returns an empty history that is also written to w as it grows; w may be nil.
func New(w io.Writer) *History {
	h := &History{}
	if w != nil {
		h.to = bufio.NewWriter(w)
	}
	return h
}

// Add appends an operation and numbers it.
func (h *History) Add(o Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.ID = len(h.ops)
	h.ops = append(h.ops, o)
	if h.to == nil || h.err != nil {
		return
	}
	line, err := json.Marshal(o)
	if err == nil {
		_, err = h.to.Write(append(line, '\n'))
	}
	h.err = err
}

// Flush writes out what is buffered, and reports the first failure to write.
func (h *History) Flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.to != nil && h.err == nil {
		h.err = h.to.Flush()
	}
	return h.err
}

// Ops returns the operations so far, by number.
func (h *History) Ops() []Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ops[:len(h.ops):len(h.ops)]
}

// Read reads a history as New wrote it.
func Read(r io.Reader) (*History, error) {
	h := &History{}
	d := json.NewDecoder(r)
	for {
		var o Op
		switch err := d.Decode(&o); err {
		case nil:
			h.Add(o)
		case io.EOF:
			return h, nil
		default:
			return nil, fmt.Errorf("operation %d: %w", len(h.ops), err)
		}
	}
}

// Counts tells how many operations of each kind ended in each way.
func (h *History) Counts() map[Kind]map[Outcome]int {
	out := map[Kind]map[Outcome]int{}
	for _, o := range h.Ops() {
		if out[o.Kind] == nil {
			out[o.Kind] = map[Outcome]int{}
		}
		out[o.Kind][o.Outcome]++
	}
	return out
}

func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d %s", o.ID, o.Kind)
	if o.Write != Absent {
		b.WriteString(" of " + strconv.FormatInt(int64(o.Write), 10))
	}
	if o.Saw != nil {
		fmt.Fprintf(&b, " saw %d %s", o.Saw.Write, o.Saw.Version)
	}
	fmt.Fprintf(&b, " %.3f-%.3f %s", o.Start.Seconds(), o.End.Seconds(), o.Outcome)
	if o.Code != "" {
		b.WriteString(" " + o.Code)
	}
	fmt.Fprintf(&b, " via %s", o.Via)
	return b.String()
}
