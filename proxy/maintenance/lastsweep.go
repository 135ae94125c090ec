package maintenance

import (
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
)

// LastSweep is how a sweep in the background went.
type LastSweep struct {
	Ended time.Time
	// Err is why it ended early, nil for one that went over everything.
	Err error
	// Removed, Waiting and Skipped are how much was removed, waits for a later sweep, and
	// cannot be judged.
	Removed, Waiting, Skipped int
	// Found is what there was.
	Found manifest.Found
}

// lastSweep is the last one, nil before there was one.
type lastSweep struct{ atomic.Pointer[LastSweep] }

// LastSweep returns how this process's last sweep in the background went; ok is false before
// there was one.
func (k *Keeper) LastSweep() (last LastSweep, ok bool) {
	if s := k.last.Load(); s != nil {
		return *s, true
	}
	return LastSweep{}, false
}
