package audit

import (
	"errors"
	"time"
)

// missed are lines that a sink did not take.
type missed struct {
	first, last uint64
	reason      string
	over        bool // the sink takes lines again
	saying      bool // a line that says so is being written
}

// gaps makes the lines that say what is missing, as far as that is over.
func (l *Log) gaps(lines []byte) (longer []byte, count int) {
	now := l.o.Now()
	for i := range l.missed {
		g := &l.missed[i]
		if g.saying = g.over; g.saying {
			lines = l.chain.gap(lines, now, l.o.Sinks[i].Name(), g)
			count++
		}
	}
	l.saying = l.counts.lost.Load()
	if l.saying > l.said {
		lines = l.chain.lost(lines, now, l.saying-l.said, l.why)
		count++
	}
	return lines, count
}

// write gives lines to the sinks, the durable ones first. It fails if none took them, or, of
// a required log, if no durable one did; then nobody has them. With sync those of a required log
// are durable in the end, and all that were written before.
func (l *Log) write(lines []byte, count int, sync bool) error {
	var errs []error
	took, durable := false, false
	l.failures = append(l.failures[:0], make([]error, len(l.o.Sinks))...)
	give := func(i int, sync bool) bool {
		err := l.o.Sinks[i].Write(lines, count, sync)
		if l.failures[i] = err; err != nil {
			errs = append(errs, err)
		}
		return err == nil
	}
	for i, s := range l.o.Sinks {
		if s.Durable() && give(i, sync && l.o.Required && !durable) {
			took, durable = true, true
		}
	}
	if l.o.Required && !durable {
		return errors.Join(errs...)
	}
	for i, s := range l.o.Sinks {
		if !s.Durable() && give(i, false) {
			took = true
		}
	}
	if !took {
		return errors.Join(errs...)
	}
	l.wrote(count)
	return nil
}

// wrote notes who did not take what was written.
func (l *Log) wrote(count int) {
	first := l.chain.seq - uint64(count) + 1
	for i, err := range l.failures {
		g := &l.missed[i]
		switch {
		case err != nil:
			if g.first == 0 {
				g.first = first
				l.o.Logger.Error("an audit sink does not take lines", "sink", l.o.Sinks[i].Name(), "error", err)
			}
			g.last, g.reason, g.over, g.saying = l.chain.seq, err.Error(), false, false
			l.counts.missed.Add(uint64(count))
		case g.saying:
			*g = missed{}
		case g.first != 0:
			g.over = true
		}
	}
	l.counts.lines.Add(uint64(count))
	l.said = max(l.said, l.saying)
	if l.failing.Swap(false) {
		l.o.Logger.Info("the audit log is written again")
	}
}

// failed says, from time to time, that nobody takes lines.
func (l *Log) failed(err error) {
	const every = 10 * time.Second
	l.failing.Store(true)
	l.why = err.Error()
	if now := time.Now(); now.Sub(l.complained) >= every {
		l.complained = now
		l.o.Logger.Error("the audit log cannot be written", "required", l.o.Required, "lost", l.counts.lost.Load(), "error", err)
	}
}

// gathering is how long a required log waits for further lines, where several requests are under way.
// To make lines durable costs as much for one as for many, and more than to write them.
const gathering = time.Millisecond

// unhurried is how long lines wait for others that nobody waits for.
const unhurried = 10 * time.Millisecond

// few requests under way are too few to wait for one another.
const few = 3

// gather waits until half of the requests that are under way have a line, but not for long. A
// client that is alone never waits. It says whether it is time to write: what was urgent may be
// written already.
func (l *Log) gather() (urgent bool) {
	var over <-chan time.Time
	for {
		l.mu.Lock()
		urgent, enough := l.next.urgent, l.open.Load() < few || l.half(l.next)
		l.mu.Unlock()
		if !urgent || enough {
			return urgent
		}
		if over == nil {
			over = time.After(gathering)
		}
		select {
		case <-l.enough:
		case <-over:
			return true
		}
	}
}

// half says whether b has lines of half of the requests that are under way.
func (l *Log) half(b *batch) bool { return 2*int64(b.sync) >= l.open.Load() }

// commit writes what has come.
func (l *Log) commit() {
	l.mu.Lock()
	b := l.next
	if len(b.ends) == 0 {
		l.mu.Unlock()
		return
	}
	l.next, l.spare = newBatch(l.spare), nil
	l.mu.Unlock()

	now := l.o.Now()
	if l.keeper != nil && l.keeper.Due(now, len(b.text)) {
		l.rotate(now, l.keeper.Rotate)
	}
	saved := l.chain
	lines, n := l.opening(now)
	from := 0
	for _, end := range b.ends {
		lines = l.chain.add(lines, b.text[from:end])
		from = end
	}
	if b.err = l.write(lines, n+len(b.ends), b.sync > 0); b.err != nil {
		l.chain = saved
		l.counts.lost.Add(uint64(len(b.ends)))
		l.failed(b.err)
	} else {
		l.began()
	}
	close(b.done)
	l.keepMemory(lines, b.text)
}

// keepMemory keeps what was used for the next time, unless it is much.
func (l *Log) keepMemory(lines, text []byte) {
	const most = 4 << 20
	if cap(lines) <= most {
		l.lines = lines
	}
	if cap(text) <= most {
		l.mu.Lock()
		l.spare = text
		l.mu.Unlock()
	}
}

// opening makes the lines that come before events: those of a new file, and what is missing.
func (l *Log) opening(now time.Time) (lines []byte, count int) {
	lines = l.lines[:0]
	if !l.begun {
		lines, count = l.chain.begin(lines, now, l.tail, l.o.About), 1
	}
	before := l.chain.seq
	if l.newFile && l.begun {
		lines = l.chain.file(lines, now)
	}
	lines, _ = l.gaps(lines)
	return lines, count + int(l.chain.seq-before)
}

// began notes that the lines of opening are written.
func (l *Log) began() { l.begun, l.newFile = true, false }

// inOrder says whether what is written next follows the first lines of the process and of
// the file, after a try to write those.
func (l *Log) inOrder() bool {
	if !l.begun || l.newFile {
		l.tryAgain()
	}
	return l.begun && !l.newFile
}

// tick does what is due from time to time.
func (l *Log) tick() {
	if l.keeper != nil && l.keeper.Moved() {
		l.reopen()
	}
	l.commit()
	if l.failing.Load() || l.counts.lost.Load() > l.said {
		l.tryAgain()
	}
	l.sign(l.o.Now())
}

// tryAgain writes a line that says what is missing, so that it shows whether lines can be
// written again.
func (l *Log) tryAgain() {
	now, saved := l.o.Now(), l.chain
	lines, n := l.opening(now)
	if n == 0 {
		lines, n = l.chain.lost(lines, now, 0, "lines can be written again"), 1
	}
	if err := l.write(lines, n, true); err != nil {
		l.chain = saved
		l.failed(err)
		return
	}
	l.began()
}

// rotate begins a new file after the lines so far are signed.
func (l *Log) rotate(now time.Time, begin func(time.Time) error) {
	l.sign(now)
	if err := begin(now); err != nil {
		l.o.Logger.Error("the audit log goes on in the file that is to be replaced", "error", err)
		return
	}
	l.newFile = true
}

// reopen begins a new file if somebody has moved the former.
func (l *Log) reopen() {
	if l.keeper == nil || !l.keeper.Moved() {
		return
	}
	l.rotate(l.o.Now(), func(time.Time) error { return l.keeper.Reopen() })
	if l.newFile {
		l.tryAgain() // so that the new file begins at once
	}
}

// sign signs what was written, if there is a key and anything new.
func (l *Log) sign(now time.Time) {
	saved := l.chain
	if !l.begun || l.newFile { // there is nothing to sign, or it is in another file
		return
	}
	lines := l.chain.head(l.lines[:0], now)
	if len(lines) == 0 {
		return
	}
	if err := l.write(lines, 1, true); err != nil {
		l.chain = saved
		l.failed(err)
		return
	}
	if l.keeper == nil {
		return
	}
	if err := l.keeper.KeepHead(append(l.signer[:len(l.signer):len(l.signer)], lines...)); err != nil {
		l.o.Logger.Warn("the head of the audit log cannot be kept beside it", "error", err)
	}
}
