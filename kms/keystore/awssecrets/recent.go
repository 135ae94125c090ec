package awssecrets

import (
	"sync"
	"time"
)

// AWS says that listings may be up to five minutes old, and that a secret may
// be missing for a moment after its creation.
const (
	recentFor  = 5 * time.Minute
	recentMax  = 4096
	firstPause = 100 * time.Millisecond
	lastPause  = 800 * time.Millisecond
)

// recent remembers what this process created and deleted a short while ago, so
// that its own listings can be checked against it.
type recent struct {
	mu    sync.Mutex
	names map[string]change
	now   func() time.Time
}

type change struct {
	created bool
	at      time.Time
}

func newRecent() *recent {
	return &recent{names: make(map[string]change), now: time.Now}
}

func (r *recent) note(name string, created bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	if len(r.names) >= recentMax {
		return
	}
	r.names[name] = change{created: created, at: r.now()}
}

// created says whether name was created here a short while ago.
func (r *recent) created(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.names[name]
	return ok && c.created && r.now().Sub(c.at) < recentFor
}

// all returns the changes that a listing may not show yet: name to created.
func (r *recent) all() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire()
	changes := make(map[string]bool, len(r.names))
	for name, c := range r.names {
		changes[name] = c.created
	}
	return changes
}

func (r *recent) expire() {
	for name, c := range r.names {
		if r.now().Sub(c.at) >= recentFor {
			delete(r.names, name)
		}
	}
}
