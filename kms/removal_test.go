package kms

import (
	"bytes"
	"context"
	"testing"
)

// overtakenStore is a store with a rival who acts right after an event was stored.
type overtakenStore struct {
	*fakeStore
	event string
	rival func()
}

func (s *overtakenStore) Create(ctx context.Context, name string, value []byte) error {
	err := s.fakeStore.Create(ctx, name, value)
	if err == nil && bytes.Contains(value, []byte(`{"event":"`+s.event+`"`)) {
		s.rival()
	}
	return err
}

// A key that was made anew under the name of one that is being destroyed or deleted keeps its
// record and its log.
func TestAKeyMadeAnewOutlivesTheRemovalOfTheOneBefore(t *testing.T) {
	t.Parallel()
	for event, remove := range map[string]func(*Local) error{
		eventDestroyed: func(l *Local) error {
			return l.ChangeVersion(t.Context(), "key", VersionChange{Action: Destroy, Version: 1, Force: true})
		},
		eventDeleted: func(l *Local) error { return l.DeleteKey(t.Context(), "key") },
	} {
		for _, versions := range []uint32{1, 2} {
			store := newFakeStore()
			rival := newTestLocal(t, LocalOptions{Store: store})
			noErr(t, "CreateKey", rival.CreateKey(t.Context(), "key"))
			mustRotate(t, rival, 2)
			var first, last DEK
			slow := newTestLocal(t, LocalOptions{Store: &overtakenStore{store, event, func() {
				noErr(t, "DeleteKey", rival.DeleteKey(t.Context(), "key"))
				noErr(t, "CreateKey", rival.CreateKey(t.Context(), "key"))
				first = mustGenerate(t, rival)
				if versions > 1 {
					mustRotate(t, rival, versions)
				}
				last = mustGenerate(t, rival)
			}}})
			noErr(t, event, remove(slow))
			after := newTestLocal(t, LocalOptions{Store: store})
			wantOpens(t, after, event+": the key made anew", first, nil)
			wantOpens(t, after, event+": its newest version", last, nil)
		}
	}
}
