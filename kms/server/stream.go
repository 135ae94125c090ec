package server

import (
	"net/http"
	"time"
)

// streamWrite bounds the writing of one event.
const streamWrite = 15 * time.Second

func streamErrors(s *Server, w http.ResponseWriter, r *request) error {
	return s.stream(w, r, s.errorHub)
}

func streamAudit(s *Server, w http.ResponseWriter, r *request) error {
	return s.stream(w, r, s.auditHub)
}

// stream sends events until the client goes, the caller loses the right to read
// them, or the server ends.
func (s *Server) stream(w http.ResponseWriter, r *request, from *hub) error {
	done, err := s.streams.enter(r.Context(), r.caller)
	if err != nil {
		return errManyStreams
	}
	defer done()
	lines, leave := from.subscribe()
	defer leave()
	controller := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	// At once: clients wait for the headers, and events may be rare.
	if controller.Flush() != nil {
		return nil
	}
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-s.closing:
			return nil
		case line := <-lines:
			if !s.stillReads(w, r) {
				return nil
			}
			_ = controller.SetWriteDeadline(time.Now().Add(streamWrite))
			if _, err := w.Write(line); err != nil || controller.Flush() != nil {
				return nil
			}
			_ = controller.SetWriteDeadline(time.Time{})
		}
	}
}

// stillReads asks anew who calls, and what for, once the configuration has changed or a
// certificate that said so is over.
func (s *Server) stillReads(w http.ResponseWriter, r *request) bool {
	now := s.state.Load()
	over := !r.until.IsZero() && s.opts.Now().After(r.until)
	if now == r.state && !over {
		return true
	}
	again := *r
	again.state = now
	if now.authenticate(w, &again) != nil || now.authorize(&again) != nil {
		return false
	}
	r.state, r.until = now, again.until
	return true
}
