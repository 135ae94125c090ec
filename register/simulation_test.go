package register_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
	"github.com/bucketseal/bucketseal/register/registertest"
)

var (
	firstSeed = flag.Uint64("seed", 0, "the first seed of the simulations")
	seeds     = flag.Uint64("seeds", 25, "how many seeds each simulation is run with")
)

// simulation is random processes over one store, and what must hold of them.
type simulation struct {
	t     *testing.T
	store *registertest.Store
	end   time.Time

	mu      sync.Mutex
	rng     *rand.Rand
	history []*club // what was ever stored, by generation - 1
	floor   uint64  // no read that begins now may find an older generation
	next    int     // number of the next member
	acked   int     // changes
	gone    map[string]bool
	reads   []int // by process
}

// roll returns a number below n.
func (s *simulation) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

func (s *simulation) millis(n int) time.Duration { return time.Duration(s.roll(n)) * time.Millisecond }

// stored notes a document. Each member joins once, whatever became of the answer, and does not come back.
func (s *simulation) stored(data []byte) {
	c, err := decode(data)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Generation != uint64(len(s.history))+1 {
		s.t.Errorf("generation %d was stored after %d", c.Generation, len(s.history))
	}
	for _, name := range c.Members {
		if s.gone[name] {
			s.t.Errorf("generation %d has %s again", c.Generation, name)
		}
	}
	if len(s.history) > 0 {
		for _, name := range s.history[len(s.history)-1].Members {
			if !slices.Contains(c.Members, name) {
				s.gone[name] = true
			}
		}
	}
	s.history = append(s.history, c)
}

// ackedAt returns the generation that a change which was acknowledged made: that of the first document with the member,
// or the first one without it after that.
func (s *simulation) ackedAt(name string, joined bool) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := false
	for _, c := range s.history {
		is := slices.Contains(c.Members, name)
		if joined && is || !joined && was && !is {
			return c.Generation
		}
		was = is
	}
	return 0
}

// acknowledge notes that everybody has to obey generation gen from now on.
func (s *simulation) acknowledge(gen uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor = max(s.floor, gen)
	s.acked++
}

func (s *simulation) mark() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.floor
}

// read lets one goroutine of a process read until the end.
func (s *simulation) read(process int, r *register.Register[*club]) {
	last := uint64(0)
	for time.Now().Before(s.end) {
		time.Sleep(s.millis([]int{20, 300, 1500}[s.roll(3)]))
		mark := s.mark()
		var c *club
		var err error
		if s.roll(8) == 0 {
			c, err = r.Fresh(s.t.Context())
		} else {
			c, _, err = r.Get(s.t.Context())
		}
		if errors.Is(err, errUnavailable) {
			continue
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		s.reads[process]++
		is := s.history[c.Generation-1]
		s.mu.Unlock()
		if c.Generation < mark {
			s.t.Errorf("process %d found generation %d, %v before the end; %d was acknowledged before", process, c.Generation, time.Until(s.end), mark)
		}
		if c.Generation < last {
			s.t.Errorf("process %d found generation %d after %d", process, c.Generation, last)
		}
		if !slices.Equal(c.Members, is.Members) {
			s.t.Errorf("process %d found %v as generation %d, which is %v", process, c.Members, c.Generation, is.Members)
		}
		last = c.Generation
	}
}

// change lets one goroutine change the document by way of any process until the end. Those who join have numbers of
// their own; anybody may be made to leave.
func (s *simulation) change(processes []*register.Register[*club]) {
	for time.Now().Before(s.end) {
		time.Sleep(s.millis(1500))
		r := processes[s.roll(len(processes))]
		name, joined := s.pick()
		edit := leave(name)
		if joined {
			edit = join(name)
		}
		known, err := r.Change(s.t.Context(), edit)
		if errors.Is(err, errUnavailable) {
			continue
		}
		if err != nil {
			s.t.Error(err)
			return
		}
		gen := s.ackedAt(name, joined)
		if gen == 0 {
			s.t.Errorf("a change of %s was acknowledged and not made", name)
		}
		if c, _, err := r.Get(s.t.Context()); err == nil && c.Generation < gen {
			s.t.Errorf("the process that made generation %d found %d", gen, c.Generation)
		}
		if err := r.Obeyed(s.t.Context(), known); err != nil {
			s.t.Error(err)
		}
		s.acknowledge(gen)
	}
}

// pick returns who joins next, or some member who leaves.
func (s *simulation) pick() (name string, joined bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if members := s.history[len(s.history)-1].Members; len(members) > 0 && s.rng.IntN(3) == 0 {
		return members[s.rng.IntN(len(members))], false
	}
	s.next++
	return "m" + strconv.Itoa(s.next), true
}

// simulate runs fn for each seed.
func simulate(t *testing.T, fn func(t *testing.T, s *simulation)) {
	t.Helper()
	t.Parallel()
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &simulation{
					t: t, end: time.Now().Add(90 * time.Second), rng: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // no secret
					gone: make(map[string]bool), reads: make([]int, 4),
				}
				s.store = &registertest.Store{Stored: s.stored}
				fn(t, s)
				time.Sleep(time.Hour)
			})
		})
	}
}

// process returns a process and its clock.
func (s *simulation) process(rate float64) (*register.Register[*club], *registertest.Clock) {
	clock := &registertest.Clock{Rate: rate}
	o := options(s.store)
	o.Clock, o.Absent = clock, func() *club { return &club{} }
	r, err := register.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, clock
}

// Processes whose clocks run at different rates, and each of which has one clock that is set at random, over a store that
// is slow, fails, fails after having stored, and stores after having failed. A read that begins after a change was
// acknowledged never finds what was before, and no change is made twice.
func TestAcknowledgedChangesAreObeyedEverywhere(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		s.store.Hook(s.slowLoad, s.failingSave)
		var processes []*register.Register[*club]
		var clocks []*registertest.Clock
		for _, rate := range []float64{1, 0.75, 1.4, 1} { // the fastest is not twice as fast as the slowest
			r, clock := s.process(rate)
			processes, clocks = append(processes, r), append(clocks, clock)
		}
		for s.mark() == 0 { // there is a document before anybody reads
			if _, err := processes[0].Change(t.Context(), join("m0")); err == nil {
				s.acknowledge(1)
			}
		}
		var wg sync.WaitGroup
		for i, r := range processes {
			for range 2 {
				wg.Go(func() { s.read(i, r) })
			}
		}
		for range 3 {
			wg.Go(func() { s.change(processes) })
		}
		wg.Go(func() {
			for time.Now().Before(s.end) {
				time.Sleep(s.millis(2000))
				n, by := s.roll(len(clocks)), s.millis(4000)-2*time.Second
				if n%2 == 0 {
					clocks[n].Jump(by, 0)
				} else {
					clocks[n].Jump(0, by)
				}
			}
		})
		wg.Wait()
		synctest.Wait()
		for i, n := range s.reads {
			if n < 100 {
				t.Errorf("process %d answered only %d times", i, n)
			}
		}
		s.mu.Lock() // a late store may come still
		defer s.mu.Unlock()
		if s.acked < 10 || len(s.gone) < 2 {
			t.Errorf("only %d changes were acknowledged, and %d members left", s.acked, len(s.gone))
		}
	})
}

func (s *simulation) slowLoad() registertest.Fault {
	f := registertest.Fault{Before: s.millis(200), After: s.millis(200)}
	switch s.roll(20) {
	case 0:
		f.Err = errBroken
	case 1:
		f.After = s.millis(3000)
	}
	return f
}

func (s *simulation) failingSave() registertest.Fault {
	f := registertest.Fault{Before: s.millis(200), After: s.millis(200)}
	switch s.roll(8) {
	case 0:
		f.Err = errBroken
	case 1:
		f.Err, f.Lost = errBroken, true
	case 2:
		f.Err, f.Lost, f.Late = errBroken, true, s.millis(2000)
	case 3:
		f.After = s.millis(8000) // some beyond the timeout
	}
	return f
}

// A store that puts old documents back, or none, or others, leads no process back behind what it has seen.
func TestNoProcessGoesBack(t *testing.T) {
	simulate(t, func(t *testing.T, s *simulation) {
		honest, _ := s.process(1)
		for n := range 20 {
			if _, err := honest.Change(t.Context(), join(strconv.Itoa(n))); err != nil {
				t.Fatal(err)
			}
		}
		s.store.Hook(s.lyingLoad, nil)
		var wg sync.WaitGroup
		for i := range s.reads {
			wg.Go(func() {
				for time.Now().Before(s.end) { // processes come and go
					r, _ := s.process(1)
					s.watch(i, r)
				}
			})
		}
		wg.Go(func() {
			for time.Now().Before(s.end) {
				time.Sleep(s.millis(5000))
				if _, err := honest.Change(t.Context(), join("m"+strconv.Itoa(s.roll(1e9)))); err != nil && !errors.Is(err, errUnavailable) {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		for i, n := range s.reads {
			if n < 50 {
				t.Errorf("process %d answered only %d times", i, n)
			}
		}
	})
}

// watch reads for some seconds and fails if a process goes back.
func (s *simulation) watch(process int, r *register.Register[*club]) {
	last := uint64(0)
	for range 1 + s.roll(100) {
		time.Sleep(s.millis(500))
		c, _, err := r.Get(s.t.Context())
		if err != nil {
			continue
		}
		s.mu.Lock()
		s.reads[process]++
		known := c.Generation == 0 || slices.Equal(c.Members, s.history[c.Generation-1].Members)
		s.mu.Unlock()
		if c.Generation < last || !known {
			s.t.Errorf("process %d found generation %d after %d; that it was ever stored is %v", process, c.Generation, last, known)
		}
		last = c.Generation
	}
}

func (s *simulation) lyingLoad() registertest.Fault {
	f := registertest.Fault{Before: s.millis(50), After: s.millis(50)}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.rng.IntN(6) {
	case 0:
		f.Data, _ = s.history[s.rng.IntN(len(s.history))].encode()
	case 1:
		f.Err = register.ErrNotFound
	case 2:
		f.Err = errBroken
	case 3:
		f.Data = []byte("{")
	}
	return f
}
