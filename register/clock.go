package register

import (
	"context"
	"time"
)

// Clock is what leases are measured with. Implementations are safe for concurrent use.
type Clock interface {
	Now() Instant
	// Sleep returns after d, or the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Instant is one moment on two clocks, in nanoseconds. The wall clock may be set, the boot clock may run slow in a
// guest that was stopped and moved; where they disagree the one that is safer to believe is believed.
type Instant struct {
	Wall int64 // since 1970
	Boot int64 // since an arbitrary moment; goes on while the machine sleeps, where the system offers that
}

// Within reports whether i is less than d after start, by both clocks. A clock that was set back ends the time too: how
// long it was is not known then.
func (i Instant) Within(start Instant, d time.Duration) bool {
	wall, boot := i.Wall-start.Wall, i.Boot-start.Boot
	return wall >= 0 && wall < int64(d) && boot >= 0 && boot < int64(d)
}

// Since returns the time from start to i that has passed for sure: the shorter one of the two clocks, at least 0.
func (i Instant) Since(start Instant) time.Duration {
	return time.Duration(max(0, min(i.Wall-start.Wall, i.Boot-start.Boot)))
}

// ClockOf returns a clock that reads now, with the monotonic reading of what it returns for boot time. It sleeps on the
// machine's time.
func ClockOf(now func() time.Time) Clock { return timeClock{now: now, epoch: now()} }

type timeClock struct {
	machineSleep
	now   func() time.Time
	epoch time.Time // where boot time counts from
}

// Now implements Clock.
func (c timeClock) Now() Instant {
	t := c.now()
	return Instant{Wall: t.UnixNano(), Boot: int64(t.Sub(c.epoch))}
}

// machineSleep sleeps on the machine's time.
type machineSleep struct{}

// Sleep implements Clock.
func (machineSleep) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
