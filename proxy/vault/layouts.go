package vault

import (
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/sse"
)

// maxLayouts bounds the number of objects whose manifests are remembered by name.
const maxLayouts = 16384

// layouts remembers which manifest describes an object of parts, so that a range
// or a part can be asked for where it lies. It only says what to ask for: what the
// answer means, its own record says. It is safe for concurrent use.
type layouts struct {
	mu    sync.Mutex
	known map[objectVersion]layoutHint
}

// objectVersion is an object as a request names it.
type objectVersion struct {
	name    sse.Name
	version string
}

// layoutHint is what an object was when it was last read.
type layoutHint struct {
	ref manifest.Ref
	// stored is upstream's ETag as it answered it.
	stored string
}

func (l *layouts) get(o objectVersion) (layoutHint, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hint, ok := l.known[o]
	return hint, ok
}

func (l *layouts) remember(o objectVersion, hint layoutHint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[o] == hint {
		return
	}
	if l.known == nil {
		l.known = make(map[objectVersion]layoutHint)
	}
	if len(l.known) >= maxLayouts {
		for victim := range l.known { // any: the map's order is random
			delete(l.known, victim)
			break
		}
	}
	// Without copies each would keep a request line and the head of an answer.
	l.known[objectVersion{o.name.Clone(), strings.Clone(o.version)}] = layoutHint{hint.ref.Clone(), strings.Clone(hint.stored)}
}

func (l *layouts) forget(o objectVersion) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, o)
}
