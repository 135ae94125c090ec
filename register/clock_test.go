package register_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/register"
)

func TestTimeEndsByEitherClockAndByOneSetBack(t *testing.T) {
	t.Parallel()
	start := register.Instant{Wall: 1000, Boot: 50}
	for name, c := range map[string]struct {
		wall, boot int64
		within     bool
		since      time.Duration
	}{
		"no time":       {0, 0, true, 0},
		"almost":        {9, 9, true, 9},
		"all of it":     {10, 10, false, 10},
		"wall":          {10, 3, false, 3},
		"boot":          {3, 10, false, 3},
		"wall set back": {-1, 3, false, 0},
		"boot set back": {3, -1, false, 0},
		"one each way":  {-1000, 10, false, 0},
		"both set back": {-1000, -1, false, 0},
	} {
		now := register.Instant{Wall: start.Wall + c.wall, Boot: start.Boot + c.boot}
		if got := now.Within(start, 10); got != c.within {
			t.Errorf("%s: within %v", name, got)
		}
		if got := now.Since(start); got != c.since {
			t.Errorf("%s: %v have passed, want %v", name, got, c.since)
		}
	}
}

func TestMachineClocks(t *testing.T) {
	t.Parallel()
	const pause = 30 * time.Millisecond
	for name, c := range map[string]register.Clock{"system": register.SystemClock(), "time": register.ClockOf(time.Now)} {
		before := c.Now()
		if err := c.Sleep(t.Context(), pause); err != nil {
			t.Fatal(err)
		}
		if d := c.Now().Since(before); d < pause*9/10 || d > time.Minute {
			t.Errorf("%s: %v passed on the clocks, %v in fact", name, d, pause)
		}
		if wall := time.Unix(0, c.Now().Wall); time.Since(wall).Abs() > time.Minute {
			t.Errorf("%s: it is %v", name, wall)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for _, d := range []time.Duration{-1, 0, time.Hour} {
			if err := c.Sleep(gone, d); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: sleep %v for nobody: %v", name, d, err)
			}
		}
	}
}

// A time without a monotonic reading is on one clock only.
func TestClockOfSetsBothClocks(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	c := register.ClockOf(func() time.Time { return now })
	before := c.Now()
	now = now.Add(time.Second)
	if after := c.Now(); after.Since(before) != time.Second || after.Within(before, time.Second) {
		t.Errorf("%+v after %+v", after, before)
	}
}
