// Package registertest has a register.Store that fails on purpose and a register.Clock that is wrong on purpose, for
// tests in a synctest bubble.
package registertest

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/register"
)

// Fault says how one call of a Store goes. The zero value is a call that takes no time and succeeds.
type Fault struct {
	Before time.Duration // until the call takes effect
	After  time.Duration // from then until it answers
	Err    error         // the answer
	Lost   bool          // with Err: a Save stores nothing
	Late   time.Duration // a Save with Lost takes effect this much later all the same, if its condition still holds
	Data   []byte        // what a Load gives instead of the stored document
}

// Store keeps a document in memory. Safe for concurrent use; the fields are set before it is used.
type Store struct {
	// NotModified, NotFound and Conflict are what it answers; nil = those of package register.
	NotModified, NotFound, Conflict error
	// Stored, if not nil, gets each document that a Save stores, one after another, before anybody can load it.
	Stored func(data []byte)

	mu             sync.Mutex
	onLoad, onSave func() Fault
	data           []byte // nil: none
	version        int
	counts         Counts
}

// Counts are numbers of calls.
type Counts struct{ Loads, Saves, NotModified int }

// Load implements register.Store.
func (s *Store) Load(ctx context.Context, etag string) ([]byte, string, error) {
	f := s.fault(&s.counts.Loads, &s.onLoad)
	if err := register.SystemClock().Sleep(ctx, f.Before); err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	data, current := s.data, s.etag()
	unchanged := etag != "" && etag == current && f.Data == nil && f.Err == nil
	if unchanged {
		s.counts.NotModified++
	}
	s.mu.Unlock()
	if err := register.SystemClock().Sleep(ctx, f.After); err != nil {
		return nil, "", err
	}
	switch {
	case f.Err != nil:
		return nil, "", f.Err
	case f.Data != nil:
		return f.Data, "other", nil
	case unchanged:
		return nil, "", either(s.NotModified, register.ErrNotModified)
	case data == nil:
		return nil, "", either(s.NotFound, register.ErrNotFound)
	}
	return data, current, nil
}

// Save implements register.Store.
func (s *Store) Save(ctx context.Context, data []byte, etag string) (string, error) {
	f := s.fault(&s.counts.Saves, &s.onSave)
	if err := register.SystemClock().Sleep(ctx, f.Before); err != nil {
		return "", err
	}
	if f.Lost {
		if f.Late > 0 {
			time.AfterFunc(f.Late, func() { _, _ = s.store(data, etag) })
		}
		_ = register.SystemClock().Sleep(ctx, f.After)
		return "", f.Err
	}
	newETag, err := s.store(data, etag)
	if err := register.SystemClock().Sleep(ctx, f.After); err != nil {
		return "", err
	}
	if f.Err != nil {
		return "", f.Err
	}
	return newETag, err
}

// fault counts a call and asks its hook, without the lock.
func (s *Store) fault(count *int, hook *func() Fault) Fault {
	s.mu.Lock()
	*count++
	ask := *hook
	s.mu.Unlock()
	if ask == nil {
		return Fault{}
	}
	return ask()
}

func (s *Store) store(data []byte, etag string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.data == nil) != (etag == "") || etag != "" && etag != s.etag() {
		return "", either(s.Conflict, register.ErrConflict)
	}
	s.data = bytes.Clone(data)
	s.version++
	if s.Stored != nil {
		s.Stored(s.data)
	}
	return s.etag(), nil
}

func (s *Store) etag() string { return strconv.Itoa(s.version) }

// Hook sets what is asked once for each call how it goes; nil = it succeeds.
func (s *Store) Hook(onLoad, onSave func() Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onLoad, s.onSave = onLoad, onSave
}

// Put replaces the document behind everybody's back; nil takes it away.
func (s *Store) Put(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = data
	s.version++
}

// Blob returns the stored document, nil if there is none.
func (s *Store) Blob() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// Count returns the calls so far.
func (s *Store) Count() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Reset begins to count anew.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = Counts{}
}

func either(answer, otherwise error) error {
	if answer != nil {
		return answer
	}
	return otherwise
}

// Always gives each call the same fault.
func Always(f Fault) func() Fault { return func() Fault { return f } }

// First gives the faults to the first calls; later calls go well.
func First(faults ...Fault) func() Fault {
	var mu sync.Mutex
	return func() Fault {
		mu.Lock()
		defer mu.Unlock()
		if len(faults) == 0 {
			return Fault{}
		}
		f := faults[0]
		faults = faults[1:]
		return f
	}
}

// AfterCalls lets n calls go well and gives the others to next.
func AfterCalls(n int, next func() Fault) func() Fault {
	var mu sync.Mutex
	return func() Fault {
		mu.Lock()
		defer mu.Unlock()
		if n--; n >= 0 {
			return Fault{}
		}
		return next()
	}
}

// Clock runs on the bubble's time, at its own rate, and can be set. Safe for concurrent use.
type Clock struct {
	Rate float64 // 0 = 1

	mu         sync.Mutex
	wall, boot time.Duration // what the clocks were set forward by
}

// Now implements register.Clock.
func (c *Clock) Now() register.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := float64(time.Now().UnixNano() - bubbleStart)
	if c.Rate != 0 {
		t *= c.Rate
	}
	return register.Instant{Wall: bubbleStart + int64(t) + int64(c.wall), Boot: int64(t) + int64(c.boot)}
}

// bubbleStart is where synctest's time begins: midnight UTC 2000-01-01.
const bubbleStart = 946684800 * int64(time.Second)

// Sleep implements register.Clock.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if c.Rate != 0 {
		d = time.Duration(float64(d) / c.Rate)
	}
	return register.SystemClock().Sleep(ctx, d)
}

// Jump sets both clocks forward, or back.
func (c *Clock) Jump(wall, boot time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall += wall
	c.boot += boot
}
