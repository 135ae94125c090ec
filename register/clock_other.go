//go:build !linux

package register

import "time"

// SystemClock returns the machine's clock, with Go's monotonic clock for boot time. Where that stands still while the
// machine sleeps, the wall clock ends the lease.
func SystemClock() Clock { return ClockOf(time.Now) }
