package bucketconfig

import (
	"context"
	"time"
)

// clock is what leases are measured with. The system's and a test's are the two implementations.
type clock interface {
	now() instant
	// sleep returns after d, or the context's error.
	sleep(ctx context.Context, d time.Duration) error
}

// instant is one moment on two clocks, in nanoseconds. The wall clock may be set, the boot clock may run slow in a
// guest that was stopped and moved; where they disagree the one that says more time has passed is believed.
type instant struct {
	wall int64 // since 1970
	boot int64 // since an arbitrary moment; goes on while the machine sleeps, where the system offers that
}

// within reports whether i is less than d after start, by both clocks. A clock that was set back ends the time too: how
// long it was is not known then.
func (i instant) within(start instant, d time.Duration) bool {
	wall, boot := i.wall-start.wall, i.boot-start.boot
	return wall >= 0 && wall < int64(d) && boot >= 0 && boot < int64(d)
}

// since returns the time from start to i that has passed for sure: the shorter one of the two clocks, at least 0.
func (i instant) since(start instant) time.Duration {
	return time.Duration(max(0, min(i.wall-start.wall, i.boot-start.boot)))
}

// systemClock is the machine's clock.
type systemClock struct {
	epoch time.Time // where boot time counts from on systems that do not tell it
}

func (systemClock) sleep(ctx context.Context, d time.Duration) error {
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
