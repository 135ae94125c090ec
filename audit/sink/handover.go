package sink

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// Yield implements audit.Keeper. The file becomes a former one, in which this process writes
// on. Its head goes with it, and says that another process may begin a chain after it. A file that
// is another one's already stays where it is.
func (s *File) Yield(now time.Time) error {
	if s.f == nil {
		return errors.New("audit file: it is not open")
	}
	if s.at != s.o.Path {
		return errors.New("audit file: it was left to another process already")
	}
	if err := syncData(s.f); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	if s.Moved() {
		return errors.New("audit file: somebody else has moved it")
	}
	name, err := s.formerName(now)
	if err != nil {
		return err
	}
	if err := os.Rename(s.o.Path, name); err != nil {
		return fmt.Errorf("audit file: %w", err)
	}
	err = os.Rename(s.o.Path+HeadSuffix, name+HeadSuffix)
	if errors.Is(err, fs.ErrNotExist) { // nothing was signed yet
		err = os.WriteFile(name+HeadSuffix, nil, 0o600)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(s.o.Path))
	}
	if err != nil {
		_ = os.Rename(name+HeadSuffix, s.o.Path+HeadSuffix) // if it went
		return errors.Join(fmt.Errorf("audit file: %w", err), os.Rename(name, s.o.Path))
	}
	s.at = name
	return nil
}

// Resume implements audit.Keeper.
func (s *File) Resume() { s.at = s.o.Path }

// formerName is what the file is called once another one takes its place.
func (s *File) formerName(now time.Time) (string, error) {
	name := s.o.Path + "." + now.UTC().Format(rotatedForm)
	if _, err := os.Lstat(name); err == nil {
		return "", fmt.Errorf("%s: %w", name, os.ErrExist)
	}
	return name, nil
}

// afterYield says where a chain ended that its process may write on, and the key that it was
// signed with, if the last former file is one that was yielded.
func afterYield(former string, last []byte) (tail audit.Tail, yielded bool) {
	data, err := os.ReadFile(former + HeadSuffix)
	if err != nil {
		return tail, false
	}
	if l, err := trail.Parse(last); err == nil {
		tail.AfterChain, tail.AfterSeq = l.Chain, l.Seq
	}
	for text := range strings.Lines(string(data)) {
		if l, err := trail.Parse([]byte(strings.TrimSuffix(text, "\n"))); err == nil && l.Kind == "signer" {
			tail.Sealed = l.Sealed
		}
	}
	return tail, true
}
