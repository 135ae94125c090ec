package register

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock returns the machine's clock.
func SystemClock() Clock { return bootClock{} }

type bootClock struct{ machineSleep }

// Now implements Clock.
func (bootClock) Now() Instant {
	wall := time.Now().UnixNano()
	var ts unix.Timespec
	// Go's monotonic clock stands still while the machine sleeps, CLOCK_BOOTTIME does not.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Kernels before 2.6.39 and some sandboxes lack it. The wall clock alone still ends a lease.
		return Instant{Wall: wall, Boot: wall}
	}
	return Instant{Wall: wall, Boot: ts.Nano()}
}
