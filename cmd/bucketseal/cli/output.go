package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Output is the standard output: it keeps the first error, so that a command
// whose output was lost, as on a full disk, does not end as if all were well.
type Output struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// Write writes and keeps the error.
func (s *Output) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.note(err)
	return n, err
}

func (s *Output) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// Writer returns what the output is written to.
func (s *Output) Writer() io.Writer { return s.w }

// Sync makes what was written durable, if it goes to a file, and returns the first
// error of all.
func (s *Output) Sync() error {
	if f, ok := s.w.(*os.File); ok {
		if err := f.Sync(); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) { // pipes and terminals
			s.note(err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// PrintJSON writes one value as one line.
func (a *App) PrintJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// PrintNames prints one name a line, or one JSON array.
func (a *App) PrintNames(asJSON bool, names []string) error {
	if asJSON {
		if names == nil {
			names = []string{}
		}
		return a.PrintJSON(names)
	}
	out := bufio.NewWriter(a.Stdout)
	for _, name := range names {
		fmt.Fprintln(out, name)
	}
	return out.Flush()
}
