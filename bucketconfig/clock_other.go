//go:build !linux

package bucketconfig

import "time"

// now uses Go's monotonic clock for boot time. Where it stands still while the machine sleeps, the wall clock ends the
// lease.
func (c systemClock) now() instant {
	t := time.Now()
	return instant{wall: t.UnixNano(), boot: int64(t.Sub(c.epoch))}
}
