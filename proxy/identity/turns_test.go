package identity

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flood has more access keys looked up than have turns and may wait, all unknown, and
// returns what counts them by their error, once all of them ended.
func flood(t *testing.T, s *Store, round string) (ended func() map[error]int) {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := make(map[error]int)
	for i := range 2 * (maxLookups + maxWaiting) {
		wg.Go(func() {
			_, err := s.Lookup(t.Context(), fmt.Sprintf("stranger-%s-%d", round, i))
			mu.Lock()
			defer mu.Unlock()
			for _, known := range []error{ErrUnknown, ErrBusy, ErrUnavailable} {
				if errors.Is(err, known) {
					counts[known]++
				}
			}
		})
	}
	synctest.Wait()
	return func() map[error]int {
		wg.Wait()
		return counts
	}
}

// Unknown access keys are anybody's, and nothing was verified of who names them. Sessions that
// are known are read again without waiting for them.
func TestStrangersHoldNoTurnsOfSessions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.store(t)
		learn(t, s, w.session("SESSION"))
		free, own := make(chan struct{}), make(chan struct{})
		close(own)
		w.set(func() {
			w.hold = func(name string) <-chan struct{} {
				if name == sessionName("SESSION") {
					return own
				}
				return free
			}
		})
		w.pass(trust)
		if _, err := s.Lookup(t.Context(), "root"); err != nil {
			t.Fatal(err)
		}
		ended := flood(t, s, "a")
		began := time.Now()
		for range 3 { // each time it is read again
			w.pass(trust)
			if _, err := s.Lookup(t.Context(), "SESSION"); err != nil || time.Since(began) != 0 {
				t.Errorf("a live session beside strangers: %v after %v", err, time.Since(began))
			}
		}
		close(free)
		if counts := ended(); counts[ErrUnknown] != maxLookups+maxWaiting || counts[ErrBusy] != maxLookups+maxWaiting {
			t.Errorf("strangers: %v", counts)
		}
	})
}

func TestStrangersBeyondTheLineAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.store(t)
		free := make(chan struct{})
		w.set(func() { w.hold = func(string) <-chan struct{} { return free } })
		ended := flood(t, s, "a")
		began := time.Now()
		if _, err := s.Lookup(t.Context(), "one-more"); !errors.Is(err, ErrBusy) || time.Since(began) != 0 {
			t.Errorf("one more stranger: %v after %v", err, time.Since(began))
		}
		time.Sleep(lookupPatience) // by the test's clock
		synctest.Wait()
		close(free)
		if counts := ended(); counts[ErrUnknown] != maxLookups || counts[ErrBusy] != maxLookups+2*maxWaiting {
			t.Errorf("strangers: %v", counts)
		}
		if _, err := s.Lookup(t.Context(), "one-more"); !errors.Is(err, ErrUnknown) {
			t.Errorf("a stranger afterwards: %v", err)
		}
	})
}

// Where nobody can tell whether a session was revoked, it counts no longer than it is trusted.
func TestASessionThatCannotBeReadAgainIsNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := w.store(t)
		learn(t, s, w.session("SESSION"))
		for i := range 2 * maxLookups {
			learn(t, s, w.session(fmt.Sprintf("SESSION-%d", i)))
		}
		never := make(chan struct{})
		w.set(func() { w.hold = func(string) <-chan struct{} { return never } })
		w.pass(trust - time.Nanosecond)
		if _, err := s.Lookup(t.Context(), "SESSION"); err != nil {
			t.Errorf("within its trust: %v", err)
		}
		w.pass(time.Nanosecond)
		if id, err := s.Lookup(t.Context(), "SESSION"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("while the system bucket stalls: %v, %v", id, err)
		}
		var wg sync.WaitGroup
		for i := range 2 * maxLookups {
			wg.Go(func() {
				if id, err := s.Lookup(t.Context(), fmt.Sprintf("SESSION-%d", i)); !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrBusy) {
					t.Errorf("while all turns are taken: %v, %v", id, err)
				}
			})
		}
		wg.Wait()
	})
}
