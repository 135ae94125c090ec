package register_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/register"
)

// counted returns flights of a run that takes a second and gives its number.
func counted() *register.Flights[int] {
	n := 0
	return register.NewFlights(timeout, func(ctx context.Context) (int, error) {
		n++
		number := n
		return number, register.SystemClock().Sleep(ctx, time.Second)
	})
}

func TestFreshRunBeganAfterTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := counted()
		f.Begin()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				start := time.Now()
				n, err := f.Fresh(t.Context())
				if n != 2 || err != nil || time.Since(start) != 2*time.Second {
					t.Errorf("run %d, %v, after %v; want the next one after the one in progress", n, err, time.Since(start))
				}
			})
		}
		wg.Wait()
	})
}

func TestBeginStartsNoSecondRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := counted()
		for range 10 {
			f.Begin()
		}
		time.Sleep(2 * time.Second)
		if n, err := f.Fresh(t.Context()); n != 2 || err != nil {
			t.Errorf("run %d, %v", n, err)
		}
	})
}

func TestRunEndsForNobodysSakeButByItsTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		f := register.NewFlights(timeout, func(ctx context.Context) (int, error) {
			err := register.SystemClock().Sleep(ctx, time.Hour)
			ended <- err
			return 7, err
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if n, err := f.Fresh(ctx); n != 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(start))
		}
		f.Begin() // joins it
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != timeout {
			t.Errorf("the run ended with %v after %v", err, time.Since(start))
		}
	})
}

// Who gives up in the moment in which an older run ends has no fresh result.
func TestOlderRunIsNoFreshResultForWhoGivesUp(t *testing.T) {
	t.Parallel()
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			f := counted()
			f.Begin()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if n, err := f.Fresh(ctx); err == nil || n != 0 {
				t.Errorf("run %d, %v", n, err)
			}
			time.Sleep(time.Minute)
		})
	}
}
