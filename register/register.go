// Package register keeps one small document in a store and lets many processes read and change it. Every process answers
// from a copy. A change that was acknowledged is obeyed by all of them.
//
// The document is any type T that has a generation number. The store keeps its encoding, and swaps it only for a caller
// who names the ETag of the one that is there (Store says what else it must do). The package knows neither what is in the
// document nor how it is sealed.
//
// # Clocks
//
// An Instant is one moment on two clocks: the wall clock, which somebody may set, and the boot clock, which may run slow in
// a guest that was stopped and moved. Where an answer ends with time, the clock that says more time has passed counts, and
// one that was set back ends it too (Instant.Within). Where somebody waits, the clock that says less has passed counts
// (Instant.Since). So it is enough that one of a process's clocks is right.
//
// # The order of documents
//
// Every change makes a document whose generation is one more than that of the document it was made from, and the store
// swaps it for that very document or not at all. So the documents that were ever stored form one line: generation g+1 was
// made from generation g, and was stored after it.
//
// # Why nobody obeys an old document after an acknowledged change
//
// A copy answers for one lease L, counted from before the call was sent that brought it: a read, or a store of this process.
// A change is acknowledged by Obeyed, two leases after a process first knew of a document in which it is in force, or of one
// that was made from that.
//
// Let s be the moment at which the store took that document, of generation g. Assume that a process answers with an older
// one, of generation h < g, at the moment u, by a Get that began after the change was acknowledged at the moment t.
//
//   - The copy was brought by a call that was sent at some moment b. A read that is sent after s finds generation g or a
//     later one, because the store is linearizable. A store of generation h took effect before s, because the documents
//     form one line. Either way b < s.
//   - If the copy answers because its lease has not ended, less than L has passed since b on each clock of the process. If
//     it answers because it was read after Get began, then t < b < s, and nothing is acknowledged before it is stored.
//   - The change was first known at s or later. From then to t the process that acknowledged it counted 2 L: what had passed
//     on both its clocks when Obeyed began, and the rest by a timer, which stands still while the machine sleeps.
//   - So u < b + L < s + L and t ≥ s + 2 L, each L by the clocks of its process. As u > t, the clocks of one process run
//     more than twice as fast as those of the other.
//
// Nothing else has to be assumed of clocks: they need not agree on the time. A process that was stopped between looking
// at its clocks and acting on the answer acts late; that is a request which began before the change was acknowledged.
//
// Without Obeyed a change is in force in its own process when Change returns, and in every other one a lease later.
//
// # What is refused
//
// A document that cannot be decoded, one without an ETag, one of generation 0, one older than a document that this
// process had seen before it asked, and another one of a generation that it has seen. None of them takes the place of the
// copy. While they are what the store gives, Get answers until the lease ends, and then fails. An answer that is older only
// than what this process has learned since it asked was overtaken on its way: it is asked for again.
//
// A store that lies can hand a process that has seen nothing yet any document that was ever stored. It cannot lead one
// back behind what that one has seen.
//
// # A missing document
//
// A store without a document is an error: it was taken away. Init makes the first one, for a caller who knows from elsewhere
// that there was none. With Options.Absent it stands for that document of generation 0, as long as this process has not
// seen a stored one; from then on it is an error here too.
//
// # A store whose outcome is unknown
//
// Save may fail although the document was stored, or will be. Change then reads what is there. If the change is in force in
// it, the change counts. All else is an error, and the change may have been in force, or come into force until somebody
// stores another one: a late store names an ETag that is gone by then.
//
// Change never sends one again whose outcome is unknown. It could be made twice: somebody may have undone it in between, and
// been told so. Only after ErrConflict, where nothing was stored, the edit is judged and made anew.
//
// A client that goes away does not end a change that has had its turn.
package register

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// What a Store says of a document. Its errors wrap these.
var (
	// ErrNotModified: the stored document still has the ETag that the caller named.
	ErrNotModified = errors.New("not modified")
	// ErrNotFound: there is no document.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the stored document has another ETag than the caller named, or exists although none should.
	ErrConflict = errors.New("was changed by someone else")
)

// Meaning returns err, which keeps its text, as one that also wraps what it means to a Register.
func Meaning(outcome, err error) error { return meaning{err, outcome} }

type meaning struct {
	error
	outcome error
}

func (m meaning) Unwrap() []error { return []error{m.error, m.outcome} }

// Store keeps one document. Implementations are safe for concurrent use, return when the context ends, and are
// linearizable: a Load that begins after a Save has returned sees it. No two documents that were ever stored have the
// same ETag.
type Store interface {
	// Load returns the document and its ETag, which is not empty. If etag is not empty and still current it returns
	// ErrNotModified, if there is no document ErrNotFound; any other error means that it cannot be read now. The caller
	// does not modify data.
	Load(ctx context.Context, etag string) (data []byte, newETag string, err error)
	// Save stores the document only if the current one has the given ETag, with an empty etag only if there is none;
	// otherwise ErrConflict, and it will not be stored later either. Any other error leaves open whether it was stored, or will be.
	Save(ctx context.Context, data []byte, etag string) (newETag string, err error)
}

// Options is what New needs.
type Options[T any] struct {
	// Store keeps the document. Required.
	Store Store
	// Name is what errors call the document, as "index". Required.
	Name string
	// Unavailable is wrapped in every error that says that the document cannot be read or changed, beside the cause.
	// Required.
	Unavailable error
	// Encode and Decode are each other's inverse. What Encode returns for a document that is too large, Change returns.
	// Required.
	Encode func(doc T) ([]byte, error)
	Decode func(data []byte) (T, error)
	// Generation returns a document's number, from 1. Required.
	Generation func(doc T) uint64
	// Absent returns the document of generation 0, which a store without one stands for. Nil = that is an error.
	Absent func() T
	// Lease is how long a copy answers. It must be the same for all processes over one store. Required.
	Lease time.Duration
	// Timeout bounds one call of Store. Required.
	Timeout time.Duration
	// Pause is how long a failed read stands for those who would begin another one because of the lease. 0 = not at all.
	Pause time.Duration
	// Clock measures all of these. Nil = SystemClock.
	Clock Clock
	// Observe gets the outcome of each read that Get, Fresh or Change began, nil for a success, one after another. Nil
	// = nobody asks.
	Observe func(err error)
}

// Register is one process's view of the document. Safe for concurrent use. Documents are shared: nobody modifies one.
type Register[T any] struct {
	o     Options[T]
	clock Clock
	reads *Flights[*snapshot[T]]

	mu  sync.Mutex                  // held while cur is replaced
	cur atomic.Pointer[snapshot[T]] // nil until the first read; its generation never falls
	// failed is the last read's failure, nil after a success.
	failed atomic.Pointer[failure]
	// ahead is the boot time in nanoseconds before which no other read is begun ahead of time.
	ahead atomic.Int64
	// changing has room for one: changes of this process go one after another, waiting in Obeyed not included.
	changing chan struct{}
}

// failure is a read that failed.
type failure struct {
	err error
	at  Instant // when it ended
}

// New returns a Register over the given store. It makes no request.
func New[T any](o Options[T]) (*Register[T], error) {
	switch {
	case o.Store == nil || o.Name == "" || o.Unavailable == nil || o.Encode == nil || o.Decode == nil || o.Generation == nil:
		return nil, errors.New("register: incomplete options")
	case o.Lease <= 0 || o.Timeout <= 0 || o.Pause < 0:
		return nil, errors.New("register: lease and timeout must be positive, and the pause not negative")
	}
	if o.Clock == nil {
		o.Clock = SystemClock()
	}
	if o.Observe == nil {
		o.Observe = func(error) {}
	}
	r := &Register[T]{o: o, clock: o.Clock, changing: make(chan struct{}, 1)}
	r.reads = NewFlights(o.Timeout, r.read)
	return r, nil
}

// read is one shared read.
func (r *Register[T]) read(ctx context.Context) (*snapshot[T], error) {
	s, err := r.load(ctx)
	if err != nil {
		r.failed.Store(&failure{err: err, at: r.clock.Now()})
	} else {
		r.failed.Store(nil)
	}
	r.o.Observe(err)
	return s, err
}

// Get returns the document that counts for whoever calls now, and a moment of this call at which it did. It waits for a
// request only if the copy is older than one lease. The error wraps Options.Unavailable, or is the context's.
func (r *Register[T]) Get(ctx context.Context) (doc T, at Instant, err error) {
	s, now, ok := r.valid()
	if !ok {
		if s, err = r.refresh(ctx); err != nil {
			return doc, now, err
		}
		return s.doc, r.clock.Now(), nil
	}
	if !now.Within(s.start, r.o.Lease/2) {
		r.refreshAhead(now)
	}
	return s.doc, now, nil
}

// Fresh returns the document as it is in the store after the call began. Errors are as those of Get.
func (r *Register[T]) Fresh(ctx context.Context) (doc T, err error) {
	s, err := r.reads.Fresh(ctx)
	if err != nil {
		return doc, err
	}
	return s.doc, nil
}

// seenOne says whether this process has seen a stored document.
func (r *Register[T]) seenOne() bool {
	s := r.cur.Load()
	return s != nil && s.gen > 0
}

// valid returns the current snapshot if its lease has not ended, with the moment at which that was checked.
func (r *Register[T]) valid() (*snapshot[T], Instant, bool) {
	s := r.cur.Load()
	now := r.clock.Now()
	return s, now, s != nil && now.Within(s.start, r.o.Lease)
}

// refresh returns a snapshot that answers for a call that begins now: one whose lease has not ended, or one that was
// read after the call began, however long the read took.
func (r *Register[T]) refresh(ctx context.Context) (*snapshot[T], error) {
	mark := r.reads.mark()
	for {
		if f := r.failedLately(r.clock.Now()); f != nil {
			return nil, f.err
		}
		s, fresh, err := r.reads.join(ctx, mark)
		if err != nil || fresh {
			return s, err
		}
		if s, _, ok := r.valid(); ok {
			return s, nil
		}
	}
}

// refreshAhead begins a read in the background, so that the next call after the lease's end need not wait. If reads
// fail it tries again only after a while.
func (r *Register[T]) refreshAhead(now Instant) {
	next := r.ahead.Load()
	pause := int64(r.o.Lease / 8)
	// The second condition is a boot clock that was set back.
	if now.Boot < next && now.Boot >= next-pause || r.failedLately(now) != nil {
		return
	}
	if r.ahead.CompareAndSwap(next, now.Boot+pause) {
		r.reads.Begin()
	}
}

// failedLately returns the failure that stands for those who would read now, nil if there is none.
func (r *Register[T]) failedLately(now Instant) *failure {
	if f := r.failed.Load(); f != nil && now.Within(f.at, r.o.Pause) {
		return f
	}
	return nil
}

// unavailable wraps err in Options.Unavailable.
func (r *Register[T]) unavailable(doing string, err error) error {
	return fmt.Errorf("%w: %s %s: %w", r.o.Unavailable, doing, r.o.Name, err)
}
