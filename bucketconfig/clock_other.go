//go:build !linux

package bucketconfig

import "time"

// epoch is never changed: it makes Go's monotonic clock readable as a number.
var epoch = time.Now()

// now uses Go's monotonic clock for boot time. Where it stands still while the machine sleeps, the wall clock ends the
// lease.
func (systemClock) now() instant {
	t := time.Now()
	return instant{wall: t.UnixNano(), boot: int64(t.Sub(epoch))}
}
