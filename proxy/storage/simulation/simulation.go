// Package simulation runs clients of several proxies over one storage in memory, in an
// order that follows from a seed: at every step of a call to the storage it decides which
// call goes on, which one fails, comes too late or breaks off, and which proxy dies. Two
// runs of one seed are the same, as long as what is run does nothing at random.
//
// A simulation runs inside a bubble of testing/synctest: time passes only where nobody
// can go on, and is not waited for.
package simulation

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
)

// Why contexts end. Both are context.Canceled too.
var (
	// ErrCrashed is for those of a proxy that dies; its calls end with it from then on.
	ErrCrashed = fmt.Errorf("the proxy has crashed: %w", context.Canceled)
	// ErrLeft is for that of a client that goes away.
	ErrLeft = fmt.Errorf("the client has left: %w", context.Canceled)
)

// Chances are how many of a thousand steps go wrong, each in its way.
type Chances struct {
	// Fail ends a call with storage.ErrUnreachable: before or after it was carried out.
	Fail int
	// Late ends a write so, and has it carried out later.
	Late int
	// Cut breaks a body off, of a read or a write.
	Cut int
	// Leave ends a client's context in the middle of what it does.
	Leave int
	// Crash kills the proxy that a call comes from.
	Crash int
}

// World is a simulation on its way.
type World struct {
	storage *memory.Storage
	chances Chances
	// Crashed is called when a proxy has died, before anything else goes on; nil for
	// nothing. It may start another in its place.
	Crashed func(p *Proxy)
	// Each, if not nil, is called after every step: an error ends the simulation.
	Each func() error

	random *rand.Rand

	mu      sync.Mutex
	clock   int
	parked  []*parked
	proxies map[string]*Proxy
	clients []*client // that have not ended
	trace   []string
	calm    bool
}

// parked is a call that waits to go on.
type parked struct {
	call    *memory.Call
	proxy   *Proxy
	client  string // "" for nobody's
	release chan error
}

// client is a goroutine of Go's.
type client struct {
	name  string
	leave context.CancelCauseFunc
}

// New returns a simulation over a storage whose faults it takes over.
func New(s *memory.Storage, seed uint64, chances Chances) *World {
	w := &World{
		storage: s, chances: chances, proxies: make(map[string]*Proxy),
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // it shall be predictable
	}
	s.SetFaults(w.hook)
	return w
}

// Proxy is a process that may die.
type Proxy struct {
	// Name is its own alone.
	Name string
	// View is the storage as it sees it.
	View *memory.View

	ctx    context.Context
	cancel context.CancelCauseFunc
	dead   bool
}

// Alive says whether the proxy has not crashed: what a dead one answers reaches nobody.
func (w *World) Alive(p *Proxy) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !p.dead
}

// Proxy returns a new process. Its context ends with ctx.
func (w *World) Proxy(ctx context.Context) *Proxy {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &Proxy{Name: fmt.Sprint("proxy-", len(w.proxies)+1)}
	p.View = w.storage.Seen(p.Name)
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	w.proxies[p.Name] = p
	return p
}

// clientKey is under which a context says whose it is.
type clientKey struct{}

// Go runs a client of a proxy until it waits for something. Its context ends when the
// proxy dies, or the client leaves. Only the goroutine that calls Run may call it, and what
// Run calls.
func (w *World) Go(p *Proxy, name string, f func(ctx context.Context)) {
	ctx, leave := context.WithCancelCause(context.WithValue(p.ctx, clientKey{}, name))
	c := &client{name, leave}
	w.mu.Lock()
	w.clients = append(w.clients, c)
	w.mu.Unlock()
	go func() {
		defer func() {
			leave(nil)
			w.mu.Lock()
			defer w.mu.Unlock()
			w.clients = slices.DeleteFunc(w.clients, func(other *client) bool { return other == c })
		}()
		f(ctx)
	}()
	synctest.Wait() // so that all begin in the order of these calls
}

// Now returns a moment, later than every one that was returned before.
func (w *World) Now() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock++
	return w.clock
}

// Calm lets every call through from now on, and carries out what was postponed.
func (w *World) Calm() {
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	w.storage.RunLate()
}

// Undisturbed does something whose calls are let through, while all else stands still: to
// start a proxy, for example. It is called as Go is.
func (w *World) Undisturbed(do func()) {
	set := func(calm bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.calm = calm
	}
	set(true)
	do()
	synctest.Wait()
	set(false)
}

// hook parks the calls of proxies. Those of the test itself go through.
func (w *World) hook(ctx context.Context, c *memory.Call) error {
	w.mu.Lock()
	p := w.proxies[c.From]
	if p == nil || w.calm {
		w.mu.Unlock()
		return nil
	}
	if p.dead {
		w.mu.Unlock()
		return ErrCrashed
	}
	name, _ := ctx.Value(clientKey{}).(string)
	here := &parked{c, p, name, make(chan error, 1)}
	w.parked = append(w.parked, here)
	w.mu.Unlock()
	select {
	case err := <-here.release:
		return err
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.parked = slices.DeleteFunc(w.parked, func(other *parked) bool { return other == here })
		return context.Cause(ctx)
	}
}

// In simulated time: how long nothing may happen, and how often it is looked.
const (
	maxWait  = 48 * time.Hour
	shortNap = time.Millisecond
	longNap  = 10 * time.Second
)

// Run goes on until every client has ended and no call is on its way, or Each fails: then
// all proxies die. It must be called inside a bubble of testing/synctest, by the goroutine
// that the others were started by.
func (w *World) Run() error {
	err := w.run()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, w.Trace())
		w.end()
	}
	return err
}

// end kills all proxies.
func (w *World) end() {
	w.mu.Lock()
	for _, p := range w.proxies {
		p.dead = true
		p.cancel(ErrCrashed)
	}
	for _, here := range w.parked {
		here.release <- ErrCrashed
	}
	w.parked = nil
	w.mu.Unlock()
	synctest.Wait()
}

func (w *World) run() error {
	waited, nap := time.Duration(0), shortNap
	for {
		synctest.Wait()
		w.mu.Lock()
		slices.SortFunc(w.parked, compare)
		calls, clients := len(w.parked), len(w.clients)
		w.mu.Unlock()
		switch {
		case calls == 0 && clients == 0:
			return nil
		case calls == 0 && waited > maxWait:
			return fmt.Errorf("%d clients wait, and no call is on its way", clients)
		case calls == 0:
			time.Sleep(nap)
			waited += nap
			nap = min(2*nap, longNap)
			continue
		}
		waited, nap = 0, shortNap
		w.step()
		if w.Each != nil {
			synctest.Wait()
			if err := w.Each(); err != nil {
				return err
			}
		}
	}
}

// step lets one call go on, or something go wrong.
func (w *World) step() {
	if w.chance(2 * w.chances.Late) { // twice as often as calls are postponed
		w.storage.RunLate()
	}
	if len(w.clients) > 0 && w.chance(w.chances.Leave) {
		c := w.clients[w.random.IntN(len(w.clients))]
		w.note("%s leaves", c.name)
		c.leave(ErrLeft)
		return
	}
	w.mu.Lock()
	i := w.random.IntN(len(w.parked))
	here := w.parked[i]
	w.parked = slices.Delete(w.parked, i, i+1)
	w.mu.Unlock()
	if w.chance(w.chances.Crash) {
		w.crash(here)
		return
	}
	err := w.fate(here.call)
	w.note("%s %s", describe(here), outcome(here.call, err))
	here.release <- err
}

// chance is true of so many of a thousand.
func (w *World) chance(of1000 int) bool { return of1000 > 0 && w.random.IntN(1000) < of1000 }

// fate decides what becomes of a call at its step.
func (w *World) fate(c *memory.Call) error {
	if w.chance(w.chances.Fail) {
		return storage.ErrUnreachable
	}
	size := bodyOf(c.Request)
	switch {
	case c.Step == memory.Arrived && size > 0 && w.chance(w.chances.Cut):
		c.CutBody(w.random.Int64N(size))
	case c.Step == memory.Arrived && c.Op == memory.Get && w.chance(w.chances.Cut):
		c.CutBody(w.random.Int64N(1 << 10))
	case c.Step == memory.Ready && writes[c.Op] && w.chance(w.chances.Late):
		c.Postpone()
	}
	return nil
}

// writes are the calls that change what is stored.
var writes = map[memory.Op]bool{
	memory.Put: true, memory.Delete: true, memory.Copy: true, memory.CreateUpload: true,
	memory.PutPart: true, memory.Complete: true, memory.Abort: true,
}

// bodyOf returns the length of the body of a write, 0 for other calls.
func bodyOf(request any) int64 {
	switch r := request.(type) {
	case *storage.Put:
		return r.Length
	case *storage.PutPart:
		return r.Length
	}
	return 0
}

// crash kills the proxy of a call. What its other calls had sent to the storage may be
// carried out yet; nobody hears of it.
func (w *World) crash(here *parked) {
	p := here.proxy
	w.note("%s: %s dies", describe(here), p.Name)
	w.mu.Lock()
	p.dead = true
	victims := []*parked{here}
	w.parked = slices.DeleteFunc(w.parked, func(other *parked) bool {
		if other.proxy == p {
			victims = append(victims, other)
		}
		return other.proxy == p
	})
	w.mu.Unlock()
	for _, v := range victims {
		if v.call.Step == memory.Ready && w.random.IntN(2) == 0 {
			v.release <- nil
		} else {
			v.release <- ErrCrashed
		}
		synctest.Wait() // so that they go on in the same order in every run
	}
	p.cancel(ErrCrashed)
	synctest.Wait()
	if w.Crashed != nil {
		w.Crashed(p)
	}
}

// maxTrace is how many steps a failure shows.
const maxTrace = 400

func (w *World) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > maxTrace {
		w.trace = slices.Delete(w.trace, 0, len(w.trace)-maxTrace)
	}
}

// Note adds a line to the trace.
func (w *World) Note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(format, args...)
}

// Trace returns the last steps, for the report of a failure.
func (w *World) Trace() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.trace, "\n")
}

// describe names a call.
func describe(p *parked) string {
	step := [...]string{"arrives", "is ready", "is done"}[p.call.Step]
	return fmt.Sprintf("%s: %s's %s %s %s", p.proxy.Name, cmp.Or(p.client, "nobody"), p.call.Op, p.call.Name.Key, step)
}

func outcome(c *memory.Call, err error) string {
	switch {
	case err != nil:
		return "and fails"
	case c.Step == memory.Done && c.Err != nil:
		return fmt.Sprintf("refused: %v", c.Err)
	}
	return ""
}

// compare orders calls by what they are, so that a seed's run does not depend on the order
// in which goroutines came.
func compare(a, b *parked) int {
	return cmp.Or(
		strings.Compare(a.proxy.Name, b.proxy.Name), strings.Compare(a.client, b.client),
		strings.Compare(string(a.call.Op), string(b.call.Op)), cmp.Compare(a.call.Step, b.call.Step),
		strings.Compare(a.call.Name.Bucket, b.call.Name.Bucket), strings.Compare(a.call.Name.Key, b.call.Name.Key), cmp.Compare(a.call.N, b.call.N),
	)
}
