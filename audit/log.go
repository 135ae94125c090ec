package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options are a Log's sinks and settings.
type Options struct {
	// Sinks get every line. At least one is required. If Required is set, one of them must
	// be durable.
	Sinks []Sink
	// Required says that Record returns when a line is durable.
	Required bool
	// About is who writes, for the line that begins a process's lines.
	About string
	// HeadEvery is how often a head is signed, if lines were written; 0 is a second.
	HeadEvery time.Duration
	// Pending is how many bytes of lines may wait; 0 is 16 MiB. Of a log that is not
	// required what comes beyond is lost, and counted.
	Pending int
	// Logger is told what goes wrong. Required.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Log writes events to sinks. It implements Recorder, and is safe for concurrent use.
type Log struct {
	o Options

	mu      sync.Mutex
	next    *batch // what comes
	closed  bool
	spare   []byte        // memory of a batch that is done
	wake    chan struct{} // somebody waits for a line
	later   chan struct{} // lines have come that nobody waits for
	enough  chan struct{} // half of the requests have a line: see gather
	ask     chan func()
	done    chan struct{}
	failing atomic.Bool
	open    atomic.Int64 // see Enter
	counts  counts

	// What follows belongs to the goroutine that writes.
	chain  chain
	keeper Keeper // nil if no sink keeps the chain
	lines  []byte
	signer []byte // the line that names the key
	given  *Key   // the key, while no line names it yet
	// begun says that the first line is written, and newFile that a file begins whose first
	// lines are not. tail is what was found.
	begun, newFile bool
	tail           Tail
	missed         []missed // by sink
	failures       []error  // of the last write, by sink
	said           uint64   // lost events that a line tells of
	saying         uint64   // the same, once what is being written is written
	why            string   // events are lost
	complained     time.Time
}

type counts struct{ lines, lost, missed, refused atomic.Uint64 }

// Counts are what a log has counted since it was opened.
type Counts struct {
	// Lines were written. Lost events got no line, Missed lines are not in every sink, and
	// Refused events were not durable, so that what they are about was refused.
	Lines, Lost, Missed, Refused uint64
}

// batch are events that are written together.
type batch struct {
	text []byte
	ends []int // of each event in text
	// sync is how many of them are to be durable, and urgent says that it is time for that.
	sync   int
	urgent bool
	done   chan struct{}
	err    error
}

func newBatch(memory []byte) *batch { return &batch{text: memory[:0], done: make(chan struct{})} }

// New returns a log that has written the first line, or, if it is not required, tries that
// again from time to time. Close ends it.
func New(o Options) (*Log, error) {
	if len(o.Sinks) == 0 || o.Logger == nil {
		return nil, errors.New("audit: no sink, or no logger")
	}
	durable := false
	for _, s := range o.Sinks {
		durable = durable || s.Durable()
	}
	if o.Required && !durable {
		return nil, errors.New("audit: it is required, and no sink is durable: a file, or a webhook's queue")
	}
	if o.HeadEvery <= 0 {
		o.HeadEvery = time.Second
	}
	if o.Pending <= 0 {
		o.Pending = 16 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{
		o: o, next: newBatch(nil), wake: make(chan struct{}, 1), later: make(chan struct{}, 1), enough: make(chan struct{}, 1), ask: make(chan func()), done: make(chan struct{}),
		missed: make([]missed, len(o.Sinks)),
	}
	var tail Tail
	for _, s := range o.Sinks {
		if k, ok := s.(Keeper); ok && l.keeper == nil {
			l.keeper, tail = k, k.Tail()
		}
	}
	l.tail = tail
	first, n := l.opening(o.Now())
	if err := l.write(first, n, true); err == nil {
		l.began()
	} else if o.Required {
		return nil, fmt.Errorf("audit: write the first line: %w", err)
	} else {
		l.chain = chain{}
		l.failed(err)
	}
	if tail.HeadSeq > 0 && (tail.HeadChain != l.chain.id || tail.HeadSeq >= l.chain.seq) && l.begun {
		o.Logger.Error("the audit log ends before the last head that was signed: lines were removed while nobody wrote it",
			"chain", tail.HeadChain, "head", tail.HeadSeq, "goes_on_at", l.chain.seq)
	}
	go l.run()
	return l, nil
}

// Record implements Recorder.
func (l *Log) Record(_ context.Context, e *Event) error {
	if !l.o.Required {
		l.take(e, false)
		return nil
	}
	return l.await(l.hurry(e))
}

// Start implements Recorder.
func (l *Log) Start(e *Event) func() error {
	if !l.o.Required {
		l.take(e, false)
		return Durable
	}
	b := l.hurry(e)
	return func() error { return l.await(b) }
}

// hurry takes an event whose line is to be durable; nil if it cannot.
func (l *Log) hurry(e *Event) *batch {
	if l.failing.Load() {
		return nil
	}
	return l.take(e, true)
}

// await waits until a batch is durable. It does so also for a client that is gone: that is not
// long, and who is gone may not learn what nobody wrote down.
func (l *Log) await(b *batch) error {
	if b == nil {
		l.counts.refused.Add(1)
		return ErrUnavailable
	}
	l.mu.Lock()
	first := b == l.next && !b.urgent
	b.urgent = true
	l.mu.Unlock()
	if first {
		tell(l.wake)
	}
	<-b.done
	if b.err != nil {
		l.counts.refused.Add(1)
		return fmt.Errorf("%w (%w)", ErrUnavailable, b.err)
	}
	return nil
}

// Note implements Recorder.
func (l *Log) Note(e *Event) { l.take(e, false) }

// Enter says that a request has come whose event will be recorded, and Leave that it was, or never
// will be. The log so knows whether it is worth waiting a moment for more lines before it makes
// those that it has durable.
func (l *Log) Enter() { l.open.Add(1) }

// Leave is the end of what Enter began.
func (l *Log) Leave() { l.open.Add(-1) }

// Required says whether Record waits.
func (l *Log) Required() bool { return l.o.Required }

// Ready returns ErrUnavailable while a required log cannot be written.
func (l *Log) Ready() error {
	if l.o.Required && l.failing.Load() {
		return ErrUnavailable
	}
	return nil
}

// Counts returns what was counted.
func (l *Log) Counts() Counts {
	c := &l.counts
	return Counts{Lines: c.lines.Load(), Lost: c.lost.Load(), Missed: c.missed.Load(), Refused: c.refused.Load()}
}

// take adds an event to the next batch; nil if it cannot. sync says that the line is to be durable
// when it is written: as soon as somebody waits for that, or most requests that are under way have
// such a line. In a steady load that is when the time of most of an answer has passed, so that the
// sync is over before the first of them has its answer, and few syncs serve all. Otherwise lines
// are written within the time of unhurried.
func (l *Log) take(e *Event, sync bool) *batch {
	if e.Time.IsZero() {
		e.Time = l.o.Now()
	}
	l.mu.Lock()
	b := l.next
	if l.closed || len(b.text) > l.o.Pending {
		l.mu.Unlock()
		l.counts.lost.Add(1)
		return nil
	}
	b.text = appendEvent(b.text, e)
	b.ends = append(b.ends, len(b.text))
	if sync {
		b.sync++
	}
	open, first := l.open.Load(), len(b.ends) == 1
	enough := sync && b.urgent && l.half(b)
	due := sync && !b.urgent && (open < few || 4*int64(b.sync) >= 3*open)
	b.urgent = b.urgent || due
	l.mu.Unlock()
	switch {
	case due:
		tell(l.wake)
	case first:
		tell(l.later)
	}
	if enough {
		tell(l.enough)
	}
	return b
}

// tell says something to the goroutine that writes, unless that was said already.
func tell(what chan<- struct{}) {
	select {
	case what <- struct{}{}:
	default:
	}
}

// SetKey has lines signed from now on. It returns when a line says so, or the log is closed.
func (l *Log) SetKey(k *Key) {
	for set := false; !set; {
		set = true
		l.do(func() { l.given = k; set = l.nameKey() })
		if !set {
			time.Sleep(l.o.HeadEvery)
		}
	}
}

// nameKey writes the line that names the key that was given, and signs everything so far.
func (l *Log) nameKey() (named bool) {
	k := l.given
	if k == nil {
		return true
	}
	if !l.inOrder() {
		return false
	}
	now := l.o.Now()
	saved := l.chain
	l.chain.key, l.chain.mac = k, newMacer(k.mac)
	lines := l.chain.signer(l.lines[:0], now)
	if err := l.write(lines, 1, true); err != nil {
		l.chain = saved
		l.failed(err)
		return false
	}
	l.signer, l.given = bytes.Clone(lines), nil
	l.sign(now)
	return true
}

// Reopen begins a new file if somebody has moved the one that is written to.
func (l *Log) Reopen() { l.do(l.reopen) }

// Yield leaves the log's file to another process, which begins a chain of its own there. This log
// goes on beside it, to its end, in what is a former file then. Resume takes that back, if the
// other process does not come.
func (l *Log) Yield() (err error) {
	l.do(func() { err = l.yield() })
	return err
}

// Resume is the opposite of Yield.
func (l *Log) Resume() {
	l.do(func() {
		if l.keeper != nil {
			l.keeper.Resume()
			l.reopen()
		}
	})
}

func (l *Log) yield() error {
	if l.keeper == nil {
		return nil
	}
	l.commit()
	if !l.inOrder() {
		return errors.New("the audit log cannot be written")
	}
	now := l.o.Now()
	l.sign(now)
	return l.keeper.Yield(now)
}

// Flush returns when all events that were taken are written, and signed if there is a key.
func (l *Log) Flush() { l.do(func() { l.commit(); l.sign(l.o.Now()) }) }

// do has the writing goroutine do something, and waits for it. Once the log is closed it
// does nothing.
func (l *Log) do(what func()) {
	finished := make(chan struct{})
	select {
	case l.ask <- func() { defer close(finished); what() }:
		<-finished
	case <-l.done:
	}
}

// Close writes what was taken, signs and closes the sinks.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	var errs []error
	l.do(func() {
		l.commit()
		errs = append(errs, l.stop())
		for _, s := range l.o.Sinks {
			errs = append(errs, s.Close())
		}
		close(l.done)
	})
	return errors.Join(errs...)
}

// stop writes the last line.
func (l *Log) stop() error {
	if !l.inOrder() {
		return errors.New("audit: the log could not be written in the end")
	}
	l.nameKey() // if the log could not be written since there is one
	now, saved := l.o.Now(), l.chain
	lines := l.chain.add(nil, members(nil).text("kind", string(kindStop)).time(now))
	if err := l.write(lines, 1, true); err != nil {
		l.chain = saved
		return err
	}
	l.sign(now)
	return nil
}

// run writes until Close.
func (l *Log) run() {
	tick := time.NewTicker(l.o.HeadEvery)
	defer tick.Stop()
	var unhurriedEnd <-chan time.Time
	for {
		select {
		case <-l.done:
			return
		default:
		}
		select {
		case <-l.done:
			return
		case what := <-l.ask:
			what()
		case <-l.wake:
			if l.gather() {
				l.commit()
				unhurriedEnd = nil
			}
		case <-l.later:
			unhurriedEnd = time.After(unhurried)
		case <-unhurriedEnd:
			unhurriedEnd = nil
			l.commit()
		case <-tick.C:
			l.tick()
		}
	}
}
