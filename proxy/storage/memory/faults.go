package memory

import (
	"context"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Op is a method of storage.Backend, or what else May asks about.
type Op string

// The methods.
const (
	Put          Op = "Put"
	Get          Op = "Get"
	Head         Op = "Head"
	Delete       Op = "Delete"
	Copy         Op = "Copy"
	List         Op = "List"
	Tags         Op = "Tags"
	CreateUpload Op = "CreateUpload"
	PutPart      Op = "PutPart"
	Complete     Op = "Complete"
	Abort        Op = "Abort"
	ListParts    Op = "ListParts"
	ObjectParts  Op = "ObjectParts"
	May          Op = "May"

	// Nobody can do these: May asks for rights only.
	ReadRule   Op = "ReadRule"
	ReadLock   Op = "ReadLock"
	WriteRule  Op = "WriteRule"
	RemoveRule Op = "RemoveRule"
)

// Step is how far a call has come.
type Step int

// The steps of every call, in their order.
const (
	// Arrived is before anything: no byte of a body was read.
	Arrived Step = iota
	// Ready is once a body was read and the source of a copy was looked up. What is
	// stored is judged and changed right behind it.
	Ready
	// Done is once the call was carried out, or refused; nobody was told yet.
	Done
)

// Faults sees every call at every step, before it is taken, and may hold it up by not
// returning: of calls that it holds up the order is that in which it lets them go. An
// error that it returns ends the call, whatever was done until then. It may be called
// by many goroutines at once.
type Faults func(ctx context.Context, c *Call) error

// Call is a call of a storage.Backend on its way.
type Call struct {
	// N is the call's number, from 1, in the order of their arrival.
	N    int
	Step Step
	Op   Op
	// Name is the object's, or the bucket and the prefix that a listing asks for.
	Name sse.Name
	// Actor is who asks; Own says that it is the proxy itself.
	Actor storage.Actor
	Own   bool
	// From is the View that the call came through, "" for none.
	From string
	// Request is the method's argument, such as a *storage.Put. It must not be changed.
	Request any
	// Answer is what the method is about to return, at Done of a call that succeeded, such
	// as a *storage.Stored. What it points to may be changed: so a storage lies. Err is what
	// it was refused with.
	Answer any
	Err    error

	cut   int64 // -1 for a whole body
	stale uint64
	late  bool
	parts bool
}

// CutBody breaks the body off after n bytes: of an object that is read, or of one that is
// sent, of which nothing is stored then. It counts at Arrived.
func (c *Call) CutBody(n int64) { c.cut = n }

// Stale makes a listing leave out the latest writes to its bucket, so many of them.
func (c *Call) Stale(writes int) { c.stale = uint64(max(writes, 0)) } //nolint:gosec // not negative

// Postpone ends a write with storage.ErrUnreachable before it is carried out, which it
// will be by RunLate. It counts at Arrived and Ready.
func (c *Call) Postpone() { c.late = true }

// TakeParts has a Complete take the upload's parts away before it puts them together, as MinIO
// does: until it is carried out nobody else finds one. It counts at Arrived.
func (c *Call) TakeParts() { c.parts = true }

// SetFaults replaces the hook that calls pass; nil for none.
func (s *Storage) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// SetRights replaces what decides who may do what: it is asked at every call's arrival,
// and by May, whose Op is that of the call which the actor wants to do (Abort, for
// example). A listing asks Get and Tags for each entry, whose metadata and tags it leaves
// out then. Nil lets everybody; refusals are best made by Forbidden.
func (s *Storage) SetRights(f func(*Call) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rights = f
}

// Forbidden returns an error that is storage.ErrForbidden.
func Forbidden() error { return fail(403, "AccessDenied", "Access Denied.") }

// RunLate carries out what was postponed, in the order in which it arrived, and returns
// how many calls that were.
func (s *Storage) RunLate() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := s.late
	s.late = nil
	for _, carryOut := range late {
		carryOut()
	}
	return len(late)
}

// Calls returns how many calls have arrived.
func (s *Storage) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// FailAt returns a hook by which one call fails: the one of this number, with err, at a
// step of it.
func FailAt(n int, step Step, err error) Faults {
	return func(_ context.Context, c *Call) error {
		if c.N == n && c.Step == step {
			return err
		}
		return nil
	}
}

// Gate holds calls up until a test lets them go. Its method Hook is a Faults.
type Gate struct {
	match func(*Call) bool
	held  chan *Held
}

// NewGate returns a gate for the calls and steps of which match says true.
func NewGate(match func(*Call) bool) *Gate { return &Gate{match: match, held: make(chan *Held)} }

// Held is a call at a gate.
type Held struct {
	*Call
	released chan error
}

// Hook holds calls up that match.
func (g *Gate) Hook(ctx context.Context, c *Call) error {
	if !g.match(c) {
		return nil
	}
	h := &Held{Call: c, released: make(chan error, 1)}
	select {
	case g.held <- h:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-h.released:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Next waits for the next call to arrive at the gate.
func (g *Gate) Next() *Held { return <-g.held }

// Release lets the call go on, or ends it with an error. It may be called once.
func (h *Held) Release(err error) { h.released <- err }

// call begins a call.
func (b *backend) call(op Op, name sse.Name, request any) *Call {
	return &Call{Op: op, Name: name, Actor: b.actor, Own: b.own, From: b.from, Request: request, cut: -1}
}

// step takes a call to its next step.
func (s *Storage) step(ctx context.Context, c *Call, step Step) error {
	if step != Done && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	if step == Arrived {
		s.calls++
		c.N = s.calls
	}
	faults, rights := s.faults, s.rights
	s.mu.Unlock()
	c.Step = step
	if faults != nil {
		if err := faults(ctx, c); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if step == Arrived && rights != nil && c.Op != May {
		return rights(c)
	}
	return nil
}

// carryOut takes a call through its steps. prepare is what comes before the instant at
// which commit, under the storage's lock, judges and changes what is stored.
func carryOut[T any](ctx context.Context, s *Storage, c *Call, prepare func() error, commit func() (T, error)) (T, error) {
	var none T
	if err := s.step(ctx, c, Arrived); err != nil {
		return none, err
	}
	if prepare != nil {
		if err := prepare(); err != nil {
			return none, err
		}
	}
	if err := s.step(ctx, c, Ready); err != nil {
		return none, err
	}
	s.mu.Lock()
	if c.late {
		s.late = append(s.late, func() { _, _ = commit() })
		s.mu.Unlock()
		return none, storage.ErrUnreachable
	}
	out, err := commit()
	s.mu.Unlock()
	if c.Err = err; err == nil {
		c.Answer = out
	}
	if broken := s.step(ctx, c, Done); broken != nil {
		return none, broken
	}
	return out, err
}
