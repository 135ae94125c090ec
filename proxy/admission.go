package proxy

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

const (
	// strangersAtOnce bounds the bodies that are read of callers who have not proved
	// who they are: forms, and documents without a signature.
	strangersAtOnce = 64
	// Such a body, and a document of anybody, must come within bodyTime and a second
	// more for each strangerRate or documentRate bytes.
	bodyTime     = 10 * time.Second
	strangerRate = 256 << 10
	documentRate = 64 << 10
)

// admit handles r. It gets a place once it is known whose it is; what is refused
// for its headers, and what waits for a client's document, has none.
func (s *Server) admit(w *responseWriter, r *request, sc scope, bucket, key string) error {
	if edge.HeaderSize(r.Request) > s.opts.MaxHeader {
		return errHeadersTooLarge
	}
	defer func() {
		r.stepOut()
		if r.held != nil {
			s.documents.give(r.claim(), r.held, false) // upstream may still read it
		}
	}()
	if sc == scopeAdmin {
		return s.handleAdmin(w, r)
	}
	return s.handle(w, r, sc, bucket, key)
}

// enter waits for a place for r, as whoever it is known to be from.
func (s *Server) enter(r *request) error {
	leave, err := s.opts.Gate.EnterAs(r.Context(), r.claim())
	if err != nil {
		s.busy.warn(s.log, err)
		return err
	}
	r.leave = leave
	return nil
}

// stepOut gives r's place back, if it has one.
func (r *request) stepOut() {
	if r.leave != nil {
		r.leave()
		r.leave = nil
	}
}

// claim is for whom r takes places and memory.
func (r *request) claim() edge.Claim {
	if r.caller.identity == nil {
		return edge.Stranger(r.origin.Addr)
	}
	return edge.Claim{Who: r.caller.account()}
}

// account is whose share a caller uses. Sessions and access keys that somebody
// makes for itself are no further ones.
func (c caller) account() string {
	switch id := c.identity; {
	case id.Kind == identity.ServiceAccount && id.Parent != "":
		return id.Parent
	case (id.Kind == identity.Temporary || id.Kind == identity.ServiceAccount) && id.Creator != "":
		return id.Creator
	}
	return c.accessKey
}

// awaitBody is called before a body of at most size bytes is read that must be there
// before anything can be done. It gives back r's place and a client its time. done
// says that the body was read. edge.ErrBusy if too many strangers send one.
func (s *Server) awaitBody(r *request, size int64) (done func(), err error) {
	r.stepOut()
	c := r.claim()
	limit := bodyTime + time.Duration(size/documentRate)*time.Second
	if c.Stranger {
		limit = bodyTime + time.Duration(size/strangerRate)*time.Second
		if !s.strangers.Take(c, 1) {
			s.busy.warn(s.log, edge.ErrBusy)
			return nil, edge.ErrBusy
		}
	}
	r.Request = r.WithContext(r.Context()) // net/http looks at the body of its own
	unhurry := edge.Hurry(r.answer, r.Request, limit)
	return func() {
		unhurry()
		if c.Stranger {
			s.strangers.Give(c, 1)
		}
	}, nil
}

// busyLog says from time to time that requests are refused: a line for each would
// be one more load. Metrics count them.
type busyLog struct{ last atomic.Int64 } // seconds of Unix time

func (b *busyLog) warn(log *slog.Logger, err error) {
	const every = 10
	last, now := b.last.Load(), time.Now().Unix()
	if errors.Is(err, edge.ErrBusy) && now-last >= every && b.last.CompareAndSwap(last, now) {
		log.Warn("requests are refused with 503 SlowDown: limits.max_requests of them run, or all that one caller or strangers may have, and as many wait")
	}
}
