package progress

import "sync"

// Marks knows behind which place everything is done, where things are begun in the order of
// places and end in any. The zero value is ready. It is safe for concurrent use.
type Marks struct {
	mu    sync.Mutex
	queue []*Mark
}

// Mark is a place, and how much before it, and behind the place before, is not done yet.
type Mark struct {
	at   Place
	left int
}

// Add says that so much is to be done before a place, after all that was added before.
func (m *Marks) Add(at Place, todo int) *Mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark := &Mark{at, todo}
	m.queue = append(m.queue, mark)
	return mark
}

// Done says that one more is done before a mark; nil for none. It returns the last place before
// which everything is done; moved is false if that is the same as before.
func (m *Marks) Done(mark *Mark) (at Place, moved bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if mark != nil {
		mark.left--
	}
	for len(m.queue) > 0 && m.queue[0].left <= 0 {
		at, moved = m.queue[0].at, true
		m.queue = m.queue[1:]
	}
	return at, moved
}
