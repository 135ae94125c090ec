package kms

import (
	"sync"
	"sync/atomic"
	"time"
)

// lastUses remembers when versions of keys were last used, to the minute, since this
// process was started. It is kept nowhere else: a store cannot change a value, and
// what this process has not seen says nothing anyway.
type lastUses struct {
	mu   sync.RWMutex
	seen map[usedVersion]*lastUse
}

type usedVersion struct {
	name    string
	version uint32
}

// lastUse holds minutes since 1970.
type lastUse struct{ generate, decrypt atomic.Int64 }

// maxLastUses bounds the memory; names that exist are not many.
const maxLastUses = 100_000

func (u *lastUses) of(name string, version uint32) *lastUse {
	id := usedVersion{name, version}
	u.mu.RLock()
	use := u.seen[id]
	u.mu.RUnlock()
	if use != nil {
		return use
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if use = u.seen[id]; use == nil {
		use = new(lastUse)
		if u.seen == nil {
			u.seen = make(map[usedVersion]*lastUse)
		}
		if len(u.seen) < maxLastUses {
			u.seen[id] = use
		}
	}
	return use
}

func note(minute *atomic.Int64, now time.Time) {
	if m := now.Unix() / 60; minute.Load() < m { // seldom: the cache line stays shared
		minute.Store(m)
	}
}

// fill adds what was seen of a version.
func (u *lastUses) fill(name string, info *VersionInfo) {
	u.mu.RLock()
	use := u.seen[usedVersion{name, info.Version}]
	u.mu.RUnlock()
	if use == nil {
		return
	}
	at := func(minute int64) time.Time {
		if minute == 0 {
			return time.Time{}
		}
		return time.Unix(minute*60, 0).UTC()
	}
	info.LastGenerate, info.LastDecrypt = at(use.generate.Load()), at(use.decrypt.Load())
}

// forget drops what was seen of a key that was deleted: another one of the name is
// another key.
func (u *lastUses) forget(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id := range u.seen {
		if id.name == name {
			delete(u.seen, id)
		}
	}
}
