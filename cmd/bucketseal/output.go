package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// sureWriter is the standard output: it keeps the first error, so that a command
// whose output was lost, as on a full disk, does not end as if all were well.
type sureWriter struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// Write writes and keeps the error.
func (s *sureWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.note(err)
	return n, err
}

func (s *sureWriter) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// sync makes what was written durable, if it goes to a file, and returns the first
// error of all.
func (s *sureWriter) sync() error {
	if f, ok := s.w.(*os.File); ok {
		if err := f.Sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) { // pipes and terminals
			s.note(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
