package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"time"
)

// Kinds of lines about the chain itself.
const (
	kindStart  Kind = "start"  // a process begins to write
	kindFile   Kind = "file"   // a file begins
	kindSigner Kind = "signer" // the key that follows
	kindHead   Kind = "head"   // a signature over all lines of this process
	kindGap    Kind = "gap"    // lines that could not be written
	kindStop   Kind = "stop"   // an orderly end
)

// chain makes lines of events. It is not safe for concurrent use.
type chain struct {
	id   string
	seq  uint64 // of the last line
	hash Hash   // of the last line
	from uint64 // of the first line of this process
	key  *Key   // nil before there is one
	mac  *macer // of the key
	// signed is the last line that a head covers.
	signed uint64
}

// begin makes the first line of a process, which goes on with the chain of t.
func (c *chain) begin(lines []byte, now time.Time, t Tail, about string) []byte {
	m := members(nil)
	if c.id, c.seq, c.hash = t.Chain, t.Seq, t.Hash; c.id == "" || t.Unreadable {
		c.id, c.seq, c.hash = newChainID(), 0, Hash{}
	}
	c.from, c.signed = c.seq+1, c.seq
	m = m.text("kind", string(kindStart)).time(now).text("prev", c.hash.String()).text("about", about).number("torn", int64(t.Torn))
	if t.Unreadable {
		m = m.text("reason", "the last line that was found is none of a chain")
	}
	if t.AfterChain != "" {
		m = m.text("after_chain", t.AfterChain).number("after", int64(t.AfterSeq))
	}
	if t.HeadSeq > 0 && (t.HeadChain != c.id || t.HeadSeq > c.seq) {
		m = m.text("missing_chain", t.HeadChain).number("missing_to", int64(t.HeadSeq))
	}
	return c.add(lines, m)
}

func newChainID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// add makes a line of members and returns the longer slice.
func (c *chain) add(lines, members []byte) []byte {
	start := len(lines)
	c.seq++
	lines = append(lines, `{"seq":`...)
	lines = strconv.AppendUint(lines, c.seq, 10)
	lines = append(lines, `,"chain":"`...)
	lines = append(lines, c.id...)
	lines = append(lines, '"', ',')
	lines = append(lines, members...)
	lines, c.hash = link(lines, start, c.hash, c.mac)
	return lines
}

// file makes the first line of a file, which says where in the chain it begins.
func (c *chain) file(lines []byte, now time.Time) []byte {
	lines = c.add(lines, members(nil).text("kind", string(kindFile)).time(now).text("prev", c.hash.String()))
	return c.signer(lines, now)
}

// signer says which key signs from here on, if there is one.
func (c *chain) signer(lines []byte, now time.Time) []byte {
	if c.key == nil {
		return lines
	}
	m := members(nil).text("kind", string(kindSigner)).time(now).bytes("public", c.key.Public()).bytes("sealed", c.key.Sealed)
	return c.add(lines, m.text("kms_key", c.key.KMSKey).number("kms_version", int64(c.key.KMSVersion)))
}

// head signs all lines of this process so far, if there is a key and anything new.
func (c *chain) head(lines []byte, now time.Time) []byte {
	if c.key == nil || c.signed == c.seq {
		return lines
	}
	signature := ed25519.Sign(c.key.sign, HeadText(c.id, c.from, c.seq, c.hash))
	m := members(nil).text("kind", string(kindHead)).time(now).number("from", int64(c.from)).number("to", int64(c.seq))
	m = m.text("of", c.hash.String()).bytes("public", c.key.Public()).bytes("signature", signature)
	lines = c.add(lines, m)
	c.signed = c.seq
	return lines
}

// gap says which lines a sink does not have, while others may have them.
func (c *chain) gap(lines []byte, now time.Time, sink string, g *missed) []byte {
	m := members(nil).text("kind", string(kindGap)).time(now).text("sink", sink)
	m = m.number("first", int64(g.first)).number("last", int64(g.last))
	return c.add(lines, m.text("reason", bound(g.reason, maxReason)))
}

// lost says of how many events nobody has a line.
func (c *chain) lost(lines []byte, now time.Time, events uint64, reason string) []byte {
	m := members(nil).text("kind", string(kindGap)).time(now).number("lost", int64(events))
	return c.add(lines, m.text("reason", bound(reason, maxReason)))
}
