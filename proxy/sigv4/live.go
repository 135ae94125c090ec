package sigv4

import "time"

// Live are the settings of a Verifier that can be exchanged while it is used.
type Live struct {
	// MaxSkew is how far a request's date may be from now, either way; 0 is 15 minutes.
	MaxSkew time.Duration
	// Version2 also accepts signatures of version 2.
	Version2 bool
}

// Adopt exchanges the settings: the next request is judged by them.
func (v *Verifier) Adopt(l Live) {
	if l.MaxSkew <= 0 {
		l.MaxSkew = defaultMaxSkew
	}
	v.live.Store(&l)
}
