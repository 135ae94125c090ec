package audit

import "time"

// Sink is where lines go. Its methods are called by one goroutine.
type Sink interface {
	// Name is what the log and gap lines call it.
	Name() string
	// Write takes whole lines, count of them. With sync it returns when they are durable. A
	// sink that fails must have taken none of them.
	Write(lines []byte, count int, sync bool) error
	// Durable says whether lines outlive the process and the machine's power once Write
	// has returned.
	Durable() bool
	// Close hands over what it still holds, as far as that can be done soon.
	Close() error
}

// Keeper is a Sink that keeps the chain itself, so that it goes on after a restart.
type Keeper interface {
	Sink
	// Tail says what the sink held when it was opened.
	Tail() Tail
	// Due says whether what the sink writes to is to be replaced before so many bytes.
	Due(now time.Time, bytes int) bool
	// Rotate replaces what the sink writes to. If that fails it goes on with the former.
	Rotate(now time.Time) error
	// Moved says whether somebody else has moved away what the sink writes to, and Reopen
	// begins anew then.
	Moved() bool
	Reopen() error
	// Yield leaves the place of what the sink writes to, to another process, and goes on writing
	// to it elsewhere: it is replaced no more, and left to nobody else. Resume takes that back:
	// Moved says then that what the sink writes to is elsewhere.
	Yield(now time.Time) error
	Resume()
	// KeepHead keeps lines beside the log: who cuts the log off must cut them off too.
	KeepHead(lines []byte) error
}

// Tail is the end of a chain that was found.
type Tail struct {
	// Chain is its name; "" for none.
	Chain string
	// Seq and Hash are those of the last line.
	Seq  uint64
	Hash Hash
	// Torn is how many bytes of a line without an end were cut off.
	Torn int
	// Sealed is the sealed key that lines were signed with; nil for none.
	Sealed []byte
	// HeadSeq is the sequence number that the head says which is kept beside the log, 0 for
	// none, and HeadChain its chain.
	HeadSeq   uint64
	HeadChain string
	// AfterChain is a chain whose process has yielded, and may still write, and AfterSeq its
	// last line so far. A chain of its own begins after it.
	AfterChain string
	AfterSeq   uint64
	// Unreadable says that the last line is none of a chain.
	Unreadable bool
}
