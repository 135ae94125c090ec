package bucketconfig

import (
	"time"

	"golang.org/x/sys/unix"
)

func (systemClock) now() instant {
	wall := time.Now().UnixNano()
	var ts unix.Timespec
	// Go's monotonic clock stands still while the machine sleeps, CLOCK_BOOTTIME does not.
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// Kernels before 2.6.39 and some sandboxes lack it. The wall clock alone still ends a lease.
		return instant{wall: wall, boot: wall}
	}
	return instant{wall: wall, boot: ts.Nano()}
}
