// Package rekey knows which objects are encrypted otherwise than their records say: whose
// wraps count.
//
// A wrap is an object's key sealed once more (package manifest). It counts if the *book* says
// that it may: one register in the system bucket, with a scope for each bucket and KMS key
// that records name. A scope is of any record up to a version of that KMS key, which is what a
// re-wrap of a bucket leaves, or of single records, which is what UpdateObjectEncryption
// leaves. So an object whose bucket and KMS key the book does not name costs no look-up.
//
// What a wrap says takes the place of what the record says, for whoever asks how the object
// is encrypted, and for what callers may do with it.
//
// # Why every proxy agrees once a change was acknowledged
//
// A wrap that was read is kept with the scope's epoch, as it was known before the wrap was
// asked for. Who is done with writing wraps raises the epoch, or notes a record with the
// least sequence that its wrap must have, and answers two leases later (package register):
// from then on every proxy asks anew for what it has read before.
//
// While somebody writes, the scope is *open*, or the record *pending*, and what was read is
// believed for some seconds only. A writer that is killed leaves it so, and proxies agree
// within these seconds too: on what it had written.
//
// # What a hostile storage can do
//
// It can withhold a wrap, or answer an older one. Of a record that is noted singly both are
// seen, and an error: keyring.ErrWithheld. In a scope of any record neither is, as long as
// this process has not seen the newer one: the record counts then, as before the re-wrap.
package rekey

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	bookKind = "rekeyed"
	// BookName is the book's name in the system bucket.
	BookName = "rekeyed/index"

	defaultLease = time.Second
	// callTimeout bounds one exchange with the system bucket.
	callTimeout = 5 * time.Second
	// unsettledFor is how long is believed what was read while somebody was writing.
	unsettledFor = 10 * time.Second
	// absentFor is how long is believed that there is no wrap: a MinIO that was just started
	// says so of what it has.
	absentFor = 30 * time.Second
	// maxKept bounds the wraps in memory, about 700 bytes each.
	maxKept = 16384
)

// ErrFull says that the book has no room for another bucket.
var ErrFull = errors.New("the book of re-keyed objects is full")

// errUnavailable says that the book cannot be read or changed now.
var errUnavailable = fmt.Errorf("which objects were re-keyed cannot be told: %w", storage.ErrUnreachable)

// Options are a Book's dependencies and settings.
type Options struct {
	// System is the system bucket, and Wraps those in it. Required.
	System *system.Store
	Wraps  *manifest.Wraps
	// Lease is how long a copy of the book answers; it must be the same for all proxies of an
	// installation. 0 is one second.
	Lease time.Duration
	// Clock measures the lease and what is believed for a while; nil is the machine's.
	Clock register.Clock
	// Logger is told what goes wrong in the background. Required.
	Logger *slog.Logger
}

// Book says which wraps count. It is safe for concurrent use.
type Book struct {
	wraps *manifest.Wraps
	index *register.Register[*document]
	clock register.Clock
	lease time.Duration
	// ended is a context that has ended: who asks with it waits for nothing.
	ended context.Context //nolint:containedctx // nobody's request

	// seen is the document that was last in force, as far as this process knows.
	seen atomic.Pointer[document]

	mu   sync.Mutex
	kept map[manifest.WrapRef]kept
	// steps counts what was begun and kept, to tell what was overtaken on its way.
	steps uint64

	queue queue
}

// kept is what was read of a record's wrap.
type kept struct {
	wrap  *sse.Wrap // nil if there was none
	epoch uint64    // of the scope, from before it was read
	at    register.Instant
	// began and done are the steps at which it was asked for and kept.
	began, done uint64
}

// New checks the options. It makes no request.
func New(o Options) (*Book, error) {
	if o.System == nil || o.Wraps == nil || o.Logger == nil {
		return nil, errors.New("rekey: incomplete options")
	}
	if o.Lease == 0 {
		o.Lease = defaultLease
	}
	if o.Clock == nil {
		o.Clock = register.SystemClock()
	}
	index, err := register.New(register.Options[*document]{
		Store: bookStore{o.System}, Name: "book of re-keyed objects", Unavailable: errUnavailable,
		Encode: (*document).encode, Decode: decodeDocument,
		Generation: func(d *document) uint64 { return d.generation },
		Absent:     func() *document { return &document{} },
		Lease:      o.Lease, Timeout: callTimeout, Clock: o.Clock,
		Observe: register.LogTurns(o.Logger,
			"the book of re-keyed objects cannot be read: encrypted objects are not served", "the book of re-keyed objects can be read again"),
	})
	if err != nil {
		return nil, fmt.Errorf("rekey: %w", err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	b := &Book{ended: ended, wraps: o.Wraps, index: index, clock: o.Clock, lease: o.Lease, kept: make(map[manifest.WrapRef]kept)}
	b.queue.change = b.changeAll
	return b, nil
}

// Ahead has the book read in the background if the copy of it is about to end, so that who
// asks for an object at the same time need not wait. It does not wait.
func (b *Book) Ahead() {
	_, _ = b.current(b.ended) // a read that has begun goes on
}

// current returns the document that counts now.
func (b *Book) current(ctx context.Context) (*document, error) {
	d, _, err := b.index.Get(ctx)
	if err != nil {
		return nil, err
	}
	if b.seen.Load() != d {
		b.seen.Store(d)
	}
	return d, nil
}

// Seen implements keyring.Rekeyed.
func (b *Book) Seen(bucket string) uint64 {
	if d := b.seen.Load(); d != nil {
		return d.epochOf(bucket)
	}
	return 0
}

// Of implements keyring.Rekeyed.
func (b *Book) Of(ctx context.Context, name sse.Name, r *sse.Record) (w *sse.Wrap, in bool, err error) {
	if r.Mode == sse.ModeC {
		return nil, false, nil
	}
	doc, err := b.current(ctx)
	if err != nil {
		return nil, false, err
	}
	p, in := doc.place(name.Bucket, r)
	if !in {
		return nil, false, nil
	}
	ref := manifest.WrapRef{Name: name, Record: r.Digest()}
	if w, ok := b.known(ref, &p); ok {
		return w, true, nil
	}
	w, err = b.read(ctx, ref, &p)
	return w, true, err
}

// Epoch implements keyring.Rekeyed.
func (b *Book) Epoch(ctx context.Context, bucket string) (uint64, error) {
	doc, err := b.current(ctx)
	if err != nil {
		return 0, err
	}
	return doc.epochOf(bucket), nil
}

// Settled implements keyring.Rekeyed.
func (b *Book) Settled(ctx context.Context, name sse.Name, r *sse.Record) bool {
	doc, err := b.current(ctx)
	if err != nil {
		return false
	}
	p, in := doc.place(name.Bucket, r)
	return !in || !p.unsettled
}

// known returns what is kept of a record's wrap, if it still counts.
func (b *Book) known(ref manifest.WrapRef, p *place) (*sse.Wrap, bool) {
	b.mu.Lock()
	k, ok := b.kept[ref]
	b.mu.Unlock()
	switch {
	case !ok, k.epoch < p.epoch, p.tooOld(k.wrap):
		return nil, false
	case p.unsettled && !b.clock.Now().Within(k.at, unsettledFor):
		return nil, false
	case k.wrap == nil && !b.clock.Now().Within(k.at, absentFor):
		return nil, false
	}
	return k.wrap, true
}

// begin notes that something is asked for now, for a scope of this epoch.
func (b *Book) begin(epoch uint64) kept {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps++
	return kept{epoch: epoch, at: b.clock.Now(), began: b.steps}
}

// read reads a record's wrap.
func (b *Book) read(ctx context.Context, ref manifest.WrapRef, p *place) (*sse.Wrap, error) {
	k := b.begin(p.epoch)
	w, err := b.wraps.Get(ctx, ref)
	switch {
	case errors.Is(err, system.ErrNotFound):
		w = nil
	case errors.Is(err, manifest.ErrNoWrap):
		return nil, fmt.Errorf("%w (%w)", keyring.ErrWithheld, err)
	case err != nil:
		return nil, err
	}
	if p.tooOld(w) {
		return nil, withheld(ref, w, p.floor)
	}
	k.wrap = w
	return w, b.keep(ref, k)
}

// keep keeps what was read. keyring.ErrWithheld if it is older than what this process knew
// before it asked.
func (b *Book) keep(ref manifest.WrapRef, k kept) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.steps++
	k.done = b.steps
	old, known := b.kept[ref]
	if known && old.wrap != nil && (k.wrap == nil || k.wrap.Sequence < old.wrap.Sequence) {
		if k.began > old.done {
			return withheld(ref, k.wrap, old.wrap.Sequence)
		}
		return nil // overtaken on its way: it is an answer for who asked, and not kept
	}
	if known && k.epoch < old.epoch {
		return nil
	}
	if !known && len(b.kept) >= maxKept {
		for victim := range b.kept { // any: the map's order is random
			delete(b.kept, victim)
			break
		}
	}
	if !known {
		ref.Name.Key = strings.Clone(ref.Name.Key) // and not the listing that it is of
	}
	b.kept[ref] = k
	return nil
}

// withheld says that a wrap is not the one that was written.
func withheld(ref manifest.WrapRef, w *sse.Wrap, least uint64) error {
	if w == nil {
		return fmt.Errorf("wrap %x: MinIO has none: %w", ref.Record, keyring.ErrWithheld)
	}
	return fmt.Errorf("wrap %x: MinIO has number %d, and there was %d: %w", ref.Record, w.Sequence, least, keyring.ErrWithheld)
}

// Prepare implements keyring.Rekeyed.
func (b *Book) Prepare(ctx context.Context, bucket string, of []keyring.RecordOf) error {
	doc, err := b.current(ctx)
	if err != nil {
		return err
	}
	wanted := make(map[manifest.WrapRef]place)
	first, last := "", ""
	for i := range of {
		p, in := doc.place(bucket, of[i].Record)
		if !in {
			continue
		}
		ref := manifest.WrapRef{Name: of[i].Name, Record: of[i].Record.Digest()}
		if _, known := b.known(ref, &p); known || !ref.Mirrored() {
			continue
		}
		if len(wanted) == 0 {
			first, last = ref.Name.Key, ref.Name.Key
		}
		first, last = min(first, ref.Name.Key), max(last, ref.Name.Key)
		wanted[ref] = p
	}
	if len(wanted) == 0 {
		return nil
	}
	begun := b.begin(0)
	found := make(map[manifest.WrapRef]*sse.Wrap)
	if err := b.wraps.Range(ctx, bucket, first, last, func(ref manifest.WrapRef, w *sse.Wrap) { found[ref] = w }); err != nil {
		return err
	}
	for ref, p := range wanted {
		w, there := found[ref]
		k := begun
		k.wrap, k.epoch = w, p.epoch
		if (w != nil || !there) && !p.tooOld(w) { // else Of reads it by itself, and says what is wrong
			_ = b.keep(ref, k)
		}
	}
	return nil
}

// bookStore keeps the book in the system bucket.
type bookStore struct{ system *system.Store }

// Load implements register.Store.
func (s bookStore) Load(ctx context.Context, etag string) (data []byte, newETag string, err error) {
	data, newETag, err = s.system.Get(ctx, bookKind, BookName, etag)
	return data, newETag, outcome(err)
}

// Save implements register.Store.
func (s bookStore) Save(ctx context.Context, data []byte, etag string) (newETag string, err error) {
	newETag, err = s.system.Put(ctx, bookKind, BookName, data, etag)
	return newETag, outcome(err)
}

// outcome says what an error means to a register. Who may not read the system bucket has no
// book: a storage that lies could say of it, too, that it is not there, and a process that
// has seen one takes neither for an answer.
func outcome(err error) error {
	switch {
	case errors.Is(err, system.ErrNotModified):
		return register.Meaning(register.ErrNotModified, err)
	case errors.Is(err, system.ErrNotFound), errors.Is(err, system.ErrOwnRights), errors.Is(err, system.ErrOwnCredential):
		return register.Meaning(register.ErrNotFound, err)
	case errors.Is(err, system.ErrConflict):
		return register.Meaning(register.ErrConflict, err)
	}
	return err
}
