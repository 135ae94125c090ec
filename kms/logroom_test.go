package kms

import (
	"errors"
	"testing"
)

// Rotations alone do not fill the log of a key: what is to be said of the versions that
// there are still can be.
func TestRotationsLeaveRoomInTheLog(t *testing.T) {
	t.Parallel()
	l := newTestLocal(t, LocalOptions{Store: newFakeStore()})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	old := mustGenerate(t, l)
	mustRotate(t, l, 2)
	key, err := l.stored(t.Context(), "key")
	noErr(t, "stored", err)
	log := key.log
	key.Zero()
	for log.length < maxRotated { // as many as can be, but quicker
		e := logEvent{Event: eventRetire, Version: 1, At: l.now().UTC()}
		if log.length%2 == 0 {
			e.Event = eventReinstate
		}
		noErr(t, "append", l.append(t.Context(), "key", log, e))
		log.length++
	}
	if n, err := l.RotateKey(t.Context(), "key", 0); !errors.Is(err, ErrNotSupported) {
		t.Errorf("one more rotation: %d, %v", n, err)
	}
	mustChange(t, l, VersionChange{Action: Reinstate, Version: 1})
	mustChange(t, l, VersionChange{Action: Retire, Version: 1})
	wantOpens(t, l, "retired", old, ErrVersionRetired)
	mustChange(t, l, VersionChange{Action: Reinstate, Version: 1})
	wantOpens(t, l, "reinstated", old, nil)
	mustChange(t, l, VersionChange{Action: Destroy, Version: 1})
	wantOpens(t, l, "destroyed", old, ErrVersionDestroyed)
}
