package turns

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var turns ByKey
		take := func(ctx context.Context, key string) func() {
			t.Helper()
			end, err := turns.Take(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			return end
		}
		end := take(t.Context(), "a")
		take(t.Context(), "b")() // of another key
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := turns.Take(impatient, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that waits in vain: %v", err)
		}
		var having, most int
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				end := take(t.Context(), "a")
				having++ // by turns, as the race detector sees
				most = max(most, having)
				time.Sleep(time.Millisecond)
				having--
				end()
			})
		}
		synctest.Wait()
		if most != 0 {
			t.Errorf("%d have the turn of another", most)
		}
		end()
		group.Wait()
		if most != 1 || len(turns.byKey) != 0 {
			t.Errorf("%d at once; %d turns are left", most, len(turns.byKey))
		}
	})
}
