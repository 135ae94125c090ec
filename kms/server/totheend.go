package server

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// endTime bounds what goes on without its client.
const endTime = 2 * time.Minute

// toTheEnd does what must not stop halfway because its client goes away or its time is over: it
// goes on for endTime at most. If the client is gone, the result is waited for all the same, so
// that the audit log has it. If the time is over the client is told so, and the error log how it
// ended. The end of the server waits for it within the grace time.
func (s *Server) toTheEnd(r *request, do func(context.Context) error) error {
	client := r.Context()
	if err := client.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	s.ending.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(client), endTime)
		defer cancel()
		err := guard(func() error { return do(ctx) })
		if errors.Is(client.Err(), context.DeadlineExceeded) {
			r.state.errors.Warn("a request ended after its time", "path", r.URL.Path, "error", err)
		}
		done <- err
	})
	select {
	case err := <-done:
		return err
	case <-client.Done():
	}
	if errors.Is(client.Err(), context.Canceled) {
		return <-done
	}
	return client.Err()
}

// guard turns a panic into an error.
func guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", errInternal, p, debug.Stack())
		}
	}()
	return do()
}

// waitForEnds waits for what goes on without its client, until ctx ends.
func (s *Server) waitForEnds(ctx context.Context) {
	ended := make(chan struct{})
	go func() { s.ending.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
