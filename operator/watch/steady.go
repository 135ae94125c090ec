package watch

import (
	"reflect"
	"time"
)

// Steady tells a value that stays from one that a file shows only while it is being
// written. It is not safe for concurrent use.
type Steady struct {
	// For is how long a value must have been read alike.
	For time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	value any // nil for none
	since time.Time
}

// Holds says whether value was read like this before, long enough ago. A value that
// differs from the one before begins anew. Values are compared deeply.
func (s *Steady) Holds(value any) bool {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	if s.value == nil || !reflect.DeepEqual(s.value, value) {
		s.value, s.since = value, now()
	}
	return now().Sub(s.since) >= s.For
}

// Forget drops the value: the next one begins anew.
func (s *Steady) Forget() { s.value = nil }
