package rekey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrStale says that a record has another wrap than the one that was seen.
var ErrStale = errors.New("the object's key was sealed anew meanwhile")

// Run is a re-wrap of a bucket on its way. It is safe for concurrent use.
type Run struct {
	book   *Book
	bucket string
	name   string

	mu sync.Mutex
	// written are the wraps' sequences by the KMS key that the record names.
	written map[string]map[sse.RecordDigest]uint64
}

// Run begins a re-wrap of a bucket. It writes nothing before Ensure.
func (b *Book) Run(bucket string) *Run {
	return &Run{book: b, bucket: bucket, name: token(), written: make(map[string]map[sse.RecordDigest]uint64)}
}

// Opened returns the KMS keys about whose records the book says, because of this run, that
// somebody writes wraps. In order.
func (r *Run) Opened() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.written))
}

// Resume takes over what a run of the same kind had opened that was killed: End says that it is
// written.
func (r *Run) Resume(ctx context.Context, opened []string) error {
	if len(opened) == 0 {
		return nil
	}
	doc, err := r.book.current(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range opened {
		if s := doc.scopeOf(r.bucket, key); s != nil && s.open && r.written[key] == nil {
			r.written[key] = make(map[sse.RecordDigest]uint64)
		}
	}
	return nil
}

// Ensure has wraps of records count, before they are written. What it costs it costs once
// for each KMS key. wrapped are records that have wraps already: an earlier run may have been
// ended before they counted, or before all proxies agreed. Errors are those of Update.
func (r *Run) Ensure(ctx context.Context, records, wrapped []*sse.Record) error {
	doc, err := r.book.current(ctx)
	if err != nil {
		return err
	}
	upTo := make(map[string]uint32)
	for _, rec := range records {
		upTo[rec.KMSKey] = max(upTo[rec.KMSKey], rec.KMSKeyVersion)
	}
	for _, rec := range wrapped {
		if p, in := doc.place(r.bucket, rec); !in || p.unsettled {
			upTo[rec.KMSKey] = max(upTo[rec.KMSKey], rec.KMSKeyVersion)
		}
	}
	for key, version := range upTo {
		r.mu.Lock()
		if r.written[key] == nil {
			r.written[key] = make(map[sse.RecordDigest]uint64)
		}
		r.mu.Unlock()
		if s := doc.scopeOf(r.bucket, key); s != nil && s.open && s.upTo >= version {
			continue
		}
		_, err := r.book.queue.do(ctx, func(d *draft) bool {
			if s := d.scopeOf(r.bucket, key); s != nil && s.open && s.upTo >= version {
				return false
			}
			s := d.scope(r.bucket, key)
			s.upTo, s.open, s.epoch = max(s.upTo, version), true, d.generation
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Put writes the wrap of a record in the place of the one that was seen, nil for none. ErrStale
// if another one is there by now: Current says which. With anew it takes the place of whatever
// is there. storage.ErrUnreachable, or the key service's errors.
func (r *Run) Put(ctx context.Context, ref manifest.WrapRef, rec *sse.Record, seen, w *sse.Wrap, anew bool) error {
	doc, err := r.book.current(ctx)
	if err != nil {
		return err
	}
	p, _ := doc.place(r.bucket, rec)
	if p.tooOld(seen) && !anew {
		return fmt.Errorf("%w (%w)", ErrStale, withheld(ref, seen, p.floor))
	}
	if err := r.book.write(ctx, ref, &p, seen, w, anew); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.must && r.written[rec.KMSKey] != nil {
		r.written[rec.KMSKey][ref.Record] = w.Sequence
	}
	return nil
}

// Current reads a record's wrap as it is now, nil if there is none. keyring.ErrWithheld if
// one must be there, and is not.
func (r *Run) Current(ctx context.Context, ref manifest.WrapRef, rec *sse.Record) (*sse.Wrap, error) {
	doc, err := r.book.current(ctx)
	if err != nil {
		return nil, err
	}
	p, _ := doc.place(r.bucket, rec)
	return r.book.read(ctx, ref, &p)
}

// Check returns keyring.ErrWithheld if a wrap, nil for none, is not the one that must be
// there.
func (r *Run) Check(ctx context.Context, ref manifest.WrapRef, rec *sse.Record, w *sse.Wrap) error {
	doc, err := r.book.current(ctx)
	if err != nil {
		return err
	}
	if p, _ := doc.place(r.bucket, rec); p.tooOld(w) {
		return withheld(ref, w, p.floor)
	}
	return nil
}

// Counts says whether a wrap that was read as the last one of a record counts: whether the
// object is encrypted as it says. nil, for none, never does. keyring.ErrWithheld if another one
// must be there: the one that was read may be out of date. Errors are also those of Rekeyed.
func (b *Book) Counts(ctx context.Context, ref manifest.WrapRef, rec *sse.Record, w *sse.Wrap) (bool, error) {
	doc, err := b.current(ctx)
	if err != nil {
		return false, err
	}
	p, in := doc.place(ref.Name.Bucket, rec)
	if p.tooOld(w) {
		return false, withheld(ref, w, p.floor)
	}
	return in && w != nil, nil
}

// write numbers a wrap, and writes it as the next one after the one that was seen, or, with
// anew, after whatever is there. ErrStale if there is another one.
func (b *Book) write(ctx context.Context, ref manifest.WrapRef, p *place, seen, w *sse.Wrap, anew bool) error {
	w.Sequence = p.floor + 1
	if seen != nil {
		w.Sequence = max(w.Sequence, seen.Sequence+1)
	}
	if anew {
		last, err := b.wraps.Last(ctx, ref)
		if err != nil {
			return err
		}
		w.Sequence = max(w.Sequence, last+1)
	}
	k := b.begin(p.epoch)
	err := b.wraps.Put(ctx, ref, w)
	if errors.Is(err, system.ErrConflict) {
		return fmt.Errorf("%w (%w)", ErrStale, err)
	}
	if err != nil {
		return err
	}
	k.wrap = w
	_ = b.keep(ref, k)
	return nil
}

// End says that all is written. What it returns is for Book.Obeyed. A run that was ended
// before is no harm, and better ended so than by nothing. Errors are those of Update.
func (r *Run) End(ctx context.Context) (known register.Instant, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.written) == 0 {
		return r.book.clock.Now(), nil
	}
	return r.book.queue.do(ctx, func(d *draft) (changed bool) {
		for key, written := range r.written {
			if s := d.scopeOf(r.bucket, key); s != nil && s.closed == r.name {
				continue
			}
			s := d.scope(r.bucket, key)
			s.open, s.closed, s.epoch = false, r.name, d.generation
			for digest, sequence := range written {
				if one, ok := s.singles[digest]; ok {
					one.floor = max(one.floor, sequence)
					s.singles[digest] = one
				}
			}
			changed = true
		}
		return changed
	})
}

// Obeyed returns when every proxy obeys a change that this process first knew of at a
// moment. The error is the context's.
func (b *Book) Obeyed(ctx context.Context, known register.Instant) error {
	return b.index.Obeyed(ctx, known)
}

// ObeyedAfter is Obeyed for a change of so long ago, of which another process knew.
func (b *Book) ObeyedAfter(ctx context.Context, ago time.Duration) error {
	return b.clock.Sleep(ctx, 2*b.lease-ago)
}

// Sealed is a wrap that is to be written.
type Sealed struct {
	Wrap *sse.Wrap
	// Confirm is called before it is written, and before it counts or, where it does at once,
	// before Update returns. Its error ends the update.
	Confirm func(context.Context) error
}

// updateTries is how often one record is re-keyed anew because another one was faster.
const updateTries = 5

// updateTimeout bounds an update.
const updateTimeout = 30 * time.Second

// Update re-keys one record: seal returns the wrap to write, given the one that counts now, nil
// if none does. It returns when every proxy goes by the new one. keyring.ErrWithheld, ErrStale
// if others were faster again and again, the errors of seal, storage.ErrUnreachable, or the
// key service's. After other errors than seal's the object may be re-keyed. A caller who goes
// away does not end what has begun: it would leave a note that somebody writes.
func (b *Book) Update(ctx context.Context, ref manifest.WrapRef, rec *sse.Record, seal func(counts *sse.Wrap) (Sealed, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), updateTimeout)
	defer cancel()
	var err error
	for range updateTries {
		var known register.Instant
		if known, err = b.update(detached, ref, rec, seal); err == nil {
			return b.Obeyed(ctx, known)
		}
		if !errors.Is(err, ErrStale) {
			return err
		}
	}
	return err
}

func (b *Book) update(ctx context.Context, ref manifest.WrapRef, rec *sse.Record, seal func(*sse.Wrap) (Sealed, error)) (register.Instant, error) {
	bucket, mine := ref.Name.Bucket, token()
	// Where wraps count already, nobody may go on believing in what is there while another
	// one takes its place. Where none does, the new one does not either before it is noted.
	var pending bool
	_, err := b.queue.do(ctx, func(d *draft) bool {
		changed := d.pend(bucket, rec, ref.Record, mine)
		_, pending = d.place(bucket, rec)
		return changed
	})
	if err != nil {
		return register.Instant{}, err
	}
	written := false
	defer func() {
		if !written {
			_, _ = b.queue.do(context.WithoutCancel(ctx), func(d *draft) bool { return d.unpend(bucket, rec, ref.Record, mine) })
		}
	}()
	doc, err := b.current(ctx)
	if err != nil {
		return register.Instant{}, err
	}
	p, in := doc.place(bucket, rec)
	if in && !pending {
		return register.Instant{}, errCameIn
	}
	seen, err := b.read(ctx, ref, &p)
	foreign := errors.Is(err, keyring.ErrWithheld) && !in // something is in its place that does not count
	if foreign {
		seen, err = nil, nil
	}
	if err != nil {
		return register.Instant{}, err
	}
	counts := seen
	if !in {
		counts = nil
	}
	sealed, err := seal(counts)
	if err == nil {
		err = sealed.Confirm(ctx)
	}
	w := sealed.Wrap
	if err == nil && !pending {
		err = b.stillOut(ctx, bucket, rec)
	}
	if err != nil {
		return register.Instant{}, err
	}
	written = true // or perhaps so
	if err := b.write(ctx, ref, &p, seen, w, foreign); err != nil {
		if !errors.Is(err, ErrStale) { // it may lie there
			_ = sealed.Confirm(ctx)
		}
		return register.Instant{}, err
	}
	if err := keyring.Unconfirmed(sealed.Confirm(ctx)); err != nil {
		return register.Instant{}, err
	}
	return b.queue.do(ctx, func(d *draft) bool { return d.note(bucket, rec, ref.Record, w.Sequence, mine) })
}

// errCameIn says that wraps of a record count that did not when its update began: nobody knows
// of that update, and it has to begin anew.
var errCameIn = fmt.Errorf("%w (wraps of it count by now)", ErrStale)

// stillOut returns errCameIn if wraps of a record count. It asks the system bucket.
func (b *Book) stillOut(ctx context.Context, bucket string, rec *sse.Record) error {
	var in bool
	_, err := b.queue.do(ctx, func(d *draft) bool {
		_, in = d.place(bucket, rec)
		return false
	})
	if err == nil && in {
		err = errCameIn
	}
	return err
}

// pend notes that somebody writes the wrap of a record that is in scope.
func (d *draft) pend(bucket string, rec *sse.Record, digest sse.RecordDigest, who string) bool {
	if _, in := d.place(bucket, rec); !in {
		return false
	}
	if d.scopeOf(bucket, rec.KMSKey).singles[digest].pending == who {
		return false
	}
	s := d.scope(bucket, rec.KMSKey)
	one := s.singles[digest]
	one.pending = who
	s.singles[digest], s.top = one, max(s.top, rec.KMSKeyVersion)
	return true
}

// unpend takes back what pend noted.
func (d *draft) unpend(bucket string, rec *sse.Record, digest sse.RecordDigest, who string) bool {
	old := d.scopeOf(bucket, rec.KMSKey)
	if old == nil || old.singles[digest].pending != who {
		return false
	}
	s := d.scope(bucket, rec.KMSKey)
	one := s.singles[digest]
	one.pending = ""
	s.singles[digest] = one
	if one.floor == 0 {
		delete(s.singles, digest)
	}
	return true
}

// note says which wrap of a record must be there from now on.
func (d *draft) note(bucket string, rec *sse.Record, digest sse.RecordDigest, sequence uint64, who string) bool {
	if s := d.scopeOf(bucket, rec.KMSKey); s != nil {
		one, ok := s.singles[digest]
		if ok && one.floor >= sequence && one.pending != who {
			return false
		}
	}
	s := d.scope(bucket, rec.KMSKey)
	one := s.singles[digest]
	one.floor = max(one.floor, sequence)
	if one.pending == who {
		one.pending = ""
	}
	s.singles[digest], s.top = one, max(s.top, rec.KMSKeyVersion)
	return true
}
