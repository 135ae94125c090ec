package proxy

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/edge"
)

// admit handles r when there is a place for it.
func (s *Server) admit(w *responseWriter, r *request, sc scope, bucket, key string) error {
	if edge.HeaderSize(r.Request) > s.opts.MaxHeader {
		return errHeadersTooLarge
	}
	leave, err := s.opts.Gate.Enter(r.Context())
	if err != nil {
		s.busy.warn(s.log, err)
		return err
	}
	defer leave()
	defer func() {
		if r.held != nil {
			s.buffers.give(r.held, false) // upstream may still read it
		}
	}()
	if sc == scopeAdmin {
		return s.handleAdmin(w, r)
	}
	return s.handle(w, r, sc, bucket, key)
}

// busyLog says from time to time that requests are refused: a line for each would
// be one more load. Metrics count them.
type busyLog struct{ last atomic.Int64 } // seconds of Unix time

func (b *busyLog) warn(log *slog.Logger, err error) {
	const every = 10
	last, now := b.last.Load(), time.Now().Unix()
	if errors.Is(err, edge.ErrBusy) && now-last >= every && b.last.CompareAndSwap(last, now) {
		log.Warn("requests are refused with 503 SlowDown: limits.max_requests of them run, and as many wait")
	}
}
