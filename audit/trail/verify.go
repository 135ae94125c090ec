package trail

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/bucketseal/bucketseal/audit"
)

// ErrWrongKey says that a sealed key is none of this key service, or not for audit logs.
var ErrWrongKey = errors.New("the key is none of this key service's")

// Options are what Verify believes.
type Options struct {
	// Open opens the sealed key that a log names: ErrWrongKey, or why that cannot be told.
	// With it each line's own code is verified. nil if there is no key service.
	Open func(sealed []byte, kmsKey string) (*audit.Key, error)
	// Trust are public keys that are believed without it.
	Trust []ed25519.PublicKey
	// Heads are lines of heads that were kept elsewhere, each with the line of its signer
	// before it, as a PATH.head file has them.
	Heads [][]byte
}

// What is wrong with a line.
const (
	Changed   = "changed"
	Removed   = "removed"
	Inserted  = "inserted"
	Reordered = "reordered"
	CutOff    = "cut off"
	Forged    = "forged"
	Unsigned  = "unsigned"
)

// Finding is something that is wrong, or, of notes, worth knowing.
type Finding struct {
	// File and Number say where, counted from 1; 0 at the end of all files.
	File   string
	Number int
	Chain  string
	Seq    uint64
	// What is one of the constants; "" in notes.
	What string
	Text string
	// gone are sequence numbers that are missing; a line that says so lifts that.
	gone span
	lift bool
}

// span is from first to last, both in it; 0 for none.
type span struct{ first, last uint64 }

func (s span) has(seq uint64) bool { return s.first <= seq && seq <= s.last }

// String returns it as a line of text.
func (f Finding) String() string {
	where := f.File
	if f.Number > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Number)
	}
	if f.What != "" {
		return fmt.Sprintf("%s: %s: %s", where, f.What, f.Text)
	}
	return where + ": " + f.Text
}

// Report is what Verify found.
type Report struct {
	// Lines were read, of which Signed are vouched for: by a head, or by their own code.
	Lines, Signed uint64
	Chains        int
	// Findings are what is wrong, as it was met: the first one is about the first line that
	// is not as it was written. Notes are what is not wrong and worth knowing.
	Findings, Notes []Finding
	// Authentic says that the keys are those of the key service, or trusted. Otherwise the
	// log fits together, and whoever wrote all of it anew could have made it so.
	Authentic bool
}

// maxFindings bounds a report.
const maxFindings = 1000

// verifier verifies the lines of any number of chains.
type verifier struct {
	o      Options
	report Report
	chains map[string]*chainState
	order  []*chainState
	keys   map[string]*verifiedKey // by public key
	heads  []*Line
	fail   error // why it cannot be told
	// where it is
	file   string
	number int
}

// verifiedKey is a key that lines name.
type verifiedKey struct {
	public  ed25519.PublicKey
	key     *audit.Key // nil without a key service
	trusted bool
}

// chainState is what is known of a chain.
type chainState struct {
	id     string
	next   uint64
	hash   audit.Hash // of the last line, as it says, and before of that before it
	before audit.Hash
	// run is the first line of the process that wrote, 0 if unknown, and key what signs it.
	run uint64
	key *verifiedKey
	// early are lines with a code before the key is known.
	early []place
	// signed is the last line that a head covers, coded the last one whose own code is right.
	signed, coded uint64
	loose         uint64 // lines of this process that nothing vouches for yet
	broken        uint64 // lines that could not be read
	suspect       *suspect
	stopped       bool
	// after are lines that say after which other chain they begin this one.
	after []place
	// beheaded says that lines before the first one are missing, which may have named the key.
	beheaded bool
	last     place
}

// place is a line and where it stands.
type place struct {
	line   *Line
	file   string
	number int
}

// suspect is a line that does not follow the one before.
type suspect struct {
	seq     uint64
	before  audit.Hash
	finding int
}

func (v *verifier) find(what string, l *Line, gone span, format string, args ...any) int {
	f := Finding{File: v.file, Number: v.number, What: what, Text: fmt.Sprintf(format, args...), gone: gone}
	if l != nil {
		f.Chain, f.Seq = l.Chain, l.Seq
	}
	if len(v.report.Findings) < maxFindings {
		v.report.Findings = append(v.report.Findings, f)
	}
	return len(v.report.Findings) - 1
}

func (v *verifier) note(format string, args ...any) {
	if len(v.report.Notes) < maxFindings {
		v.report.Notes = append(v.report.Notes, Finding{File: v.file, Number: v.number, Text: fmt.Sprintf(format, args...)})
	}
}

// add verifies a line that could be read.
func (v *verifier) add(l *Line) {
	v.report.Lines++
	c := v.chains[l.Chain]
	if c == nil {
		c = v.first(l)
	} else if !v.follows(c, l) {
		return
	}
	c.last = place{l, v.file, v.number}
	c.stopped = c.stopped && l.Kind == "head"
	c.loose++
	switch l.Kind {
	case "start":
		v.start(c, l)
	case "signer":
		v.signer(c, l)
	}
	v.code(c, l)
	switch l.Kind {
	case "head":
		v.head(c, l)
	case "gap":
		v.gap(c, l)
	case "stop":
		c.stopped = true
	}
	for _, known := range v.heads {
		if known.Chain == l.Chain && known.Seq == l.Seq && known.Hash != l.Hash {
			v.find(Changed, l, span{}, "line %d is another one than the head that was kept elsewhere", l.Seq)
		}
	}
}

// first begins with a chain.
func (v *verifier) first(l *Line) *chainState {
	c := &chainState{id: l.Chain}
	v.chains[l.Chain] = c
	v.order = append(v.order, c)
	v.report.Chains++
	begins := l.Kind == "start" || l.Kind == "file"
	switch {
	case !begins:
		v.find(Removed, l, span{}, "the lines before line %d are missing: no file begins with it", l.Seq)
		c.beheaded = true
	case audit.HashOf(hashOf(l.Prev), l.Body) != l.Hash:
		v.find(Changed, l, span{}, "line %d is not as it was written", l.Seq)
	case l.Seq > 1:
		v.note("the chain %s begins with line %d here: the %d before it are in files that were not given, or are no longer kept", l.Chain, l.Seq, l.Seq-1)
	}
	c.next, c.hash = l.Seq+1, l.Hash
	return c
}

// hashOf reads a hash; the zero one if it is none.
func hashOf(text string) audit.Hash {
	h, err := parseHash(text)
	if err != nil {
		return audit.Hash{}
	}
	return h
}

// follows says whether a line is the next one, or may be taken for it, and finds what is
// wrong otherwise.
func (v *verifier) follows(c *chainState, l *Line) bool {
	if s := c.suspect; s != nil && l.Seq == s.seq && audit.HashOf(s.before, l.Body) == l.Hash {
		f := &v.report.Findings[s.finding]
		f.What, f.Text = Inserted, fmt.Sprintf("a line that says it is %d is none of the chain", l.Seq)
		c.suspect, c.next, c.before, c.hash = nil, l.Seq+1, s.before, l.Hash
		return true
	}
	switch {
	case l.Seq < c.next:
		v.earlier(l)
		return false
	case l.Seq > c.next:
		v.later(c, l)
	case audit.HashOf(c.hash, l.Body) != l.Hash:
		c.suspect = &suspect{l.Seq, c.hash, v.find(Changed, l, span{}, "line %d is not as it was written, or the line before it is not", l.Seq)}
	default:
		c.suspect = nil
	}
	c.next, c.before, c.hash, c.broken = l.Seq+1, c.hash, l.Hash, 0
	return true
}

// earlier is a line that should have come before.
func (v *verifier) earlier(l *Line) {
	for i := range v.report.Findings {
		f := &v.report.Findings[i]
		if f.Chain == l.Chain && f.What == Removed && f.gone.has(l.Seq) {
			f.What, f.Text = Reordered, fmt.Sprintf("line %d stands where line %d should, which comes later", f.Seq, f.gone.first)
			return
		}
		if f.Chain == l.Chain && f.What == Reordered && f.gone.has(l.Seq) {
			return
		}
	}
	v.find(Inserted, l, span{}, "line %d stands here, where it was not written", l.Seq)
}

// later is a line before which others are missing.
func (v *verifier) later(c *chainState, l *Line) {
	c.suspect = nil
	gone := span{c.next, l.Seq - 1}
	if c.broken > 0 && gone.last-gone.first+1 <= c.broken { // they are there, and were found already
		return
	}
	text := fmt.Sprintf("the lines %d to %d are missing", gone.first, gone.last)
	if gone.first == gone.last {
		text = fmt.Sprintf("line %d is missing", gone.first)
	}
	v.find(Removed, l, gone, "%s before line %d", text, l.Seq)
}

// start is the first line of a process.
func (v *verifier) start(c *chainState, l *Line) {
	if unsigned := c.loose - 1; c.run != 0 && unsigned > 0 { // l itself is counted
		text := fmt.Sprintf("nothing vouches for the %d lines before line %d: they were not signed when their process ended", unsigned, l.Seq)
		if v.o.Open != nil || v.keyless(c) { // lines have codes, as soon as there is a key
			v.find(Unsigned, l, span{}, "%s", text)
		} else {
			v.note("%s", text)
		}
	}
	c.run, c.key, c.early, c.loose, c.beheaded = l.Seq, nil, nil, 1, false
	if l.AfterChain != "" {
		c.after = append(c.after, place{l, v.file, v.number})
	}
	if l.Torn > 0 {
		v.note("the process before was killed while it wrote: %d bytes of a line without an end were cut off", l.Torn)
	}
	if l.MissingTo > 0 {
		v.find(CutOff, l, span{}, "when a process began with line %d, the log ended before line %d of chain %s, which a head had signed", l.Seq, l.MissingTo, l.MissingChain)
	}
}

// keyless says that the process whose lines these are has named no key, while there is one to
// verify with: anybody can have written them.
func (v *verifier) keyless(c *chainState) bool {
	return c.key == nil && !c.beheaded && (v.o.Open != nil || len(v.o.Trust) > 0)
}

// signer is a line that names the key of those that follow.
func (v *verifier) signer(c *chainState, l *Line) {
	k := v.key(l)
	if k == nil {
		return
	}
	if c.key != nil && !c.key.public.Equal(k.public) && c.key.trusted && !k.trusted {
		return // found already
	}
	c.key = k
	for _, p := range c.early {
		file, number := v.file, v.number
		v.file, v.number = p.file, p.number
		v.code(c, p.line)
		v.file, v.number = file, number
	}
	c.early = nil
}

// key finds out whose a key is.
func (v *verifier) key(l *Line) *verifiedKey {
	if len(l.Public) != ed25519.PublicKeySize {
		v.find(Forged, l, span{}, "line %d names no key", l.Seq)
		return nil
	}
	if k := v.keys[string(l.Public)]; k != nil {
		return k
	}
	k := &verifiedKey{public: l.Public}
	k.trusted = slices.ContainsFunc(v.o.Trust, func(t ed25519.PublicKey) bool { return t.Equal(k.public) })
	if v.o.Open != nil {
		key, err := v.o.Open(l.Sealed, l.KMSKey)
		switch {
		case errors.Is(err, ErrWrongKey) || err == nil && !key.Public().Equal(k.public):
			v.find(Forged, l, span{}, "line %d names a key that is none of this key service's", l.Seq)
		case err != nil:
			v.fail = err
		default:
			k.key, k.trusted = key, true
		}
	} else if !k.trusted && len(v.o.Trust) > 0 {
		v.find(Forged, l, span{}, "line %d names a key that is not trusted", l.Seq)
	}
	if !k.trusted {
		v.report.Authentic = false
	}
	v.keys[string(l.Public)] = k
	return k
}

// code verifies a line's own code, if the key is known.
func (v *verifier) code(c *chainState, l *Line) {
	switch {
	case c.key == nil && l.MAC != nil && len(c.early) < 16:
		c.early = append(c.early, place{l, v.file, v.number})
	case c.key == nil || c.key.key == nil:
	case !bytes.Equal(c.key.key.MAC(l.Hash), l.MAC):
		v.find(Forged, l, span{}, "line %d was written by somebody without the key", l.Seq)
	default:
		c.coded = l.Seq
		c.loose = 0
		v.report.Signed++
	}
}

// head is a signature over the lines of a process.
func (v *verifier) head(c *chainState, l *Line) {
	since := max(c.signed, c.run)
	switch {
	case c.key == nil:
		v.note("line %d signs, and no line says with which key", l.Seq)
		return
	case !c.key.public.Equal(ed25519.PublicKey(l.Public)), !validHead(l, c.key.public), c.run != 0 && l.From != c.run:
		v.find(Forged, l, span{}, "the signature of line %d is not right", l.Seq)
		return
	case l.To != l.Seq-1 || l.Of != c.before.String():
		v.find(Changed, l, span{}, "of the lines %d to %d at least one is not as it was signed, and the hashes were made anew", since+1, l.Seq-1)
	}
	if c.key.key == nil {
		v.report.Signed += l.Seq - max(c.signed, l.From-1)
		c.loose = 0
	}
	c.signed = l.Seq
}

func validHead(l *Line, public ed25519.PublicKey) bool {
	h, err := parseHash(l.Of)
	return err == nil && ed25519.Verify(public, audit.HeadText(l.Chain, l.From, l.To, h), l.Signature)
}

// gap is a line that says what is missing.
func (v *verifier) gap(c *chainState, l *Line) {
	if l.Lost > 0 {
		v.note("line %d says that %d events have no line: %s", l.Seq, l.Lost, l.Reason)
	}
	if l.First == 0 {
		return
	}
	v.note("line %d says that %s did not take the lines %d to %d: %s", l.Seq, l.Sink, l.First, l.Last, l.Reason)
	for i := range v.report.Findings {
		f := &v.report.Findings[i]
		if f.Chain == l.Chain && f.What == Removed && f.gone.first >= l.First && f.gone.last <= l.Last {
			f.lift = true
		}
	}
}
