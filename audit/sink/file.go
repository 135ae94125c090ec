// Package sink has the places where audit lines go: files, the standard output, syslog and
// webhooks.
package sink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// FileOptions are a File's settings.
type FileOptions struct {
	// Path is the file that is written to. Former ones lie beside it, as PATH.TIME, and the
	// last signed head as PATH.head.
	Path string
	// MaxSize is the size in bytes beyond which a new file begins, MaxAge its age; 0 is never.
	MaxSize int64
	MaxAge  time.Duration
	// Keep is how many former files are kept, KeepFor how long; 0 is all, and for ever.
	Keep    int
	KeepFor time.Duration
	// Warn is told of former files that cannot be removed; nil for nobody.
	Warn func(error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// File is a file with former ones beside it. It implements audit.Keeper.
type File struct {
	o    FileOptions
	f    *os.File
	at   string // the name of f: another one than the path's once the path is another process's
	size int64
	born time.Time
	tail audit.Tail
}

// rotatedForm is the form of the time in a former file's name.
const rotatedForm = "20060102T150405.000000Z"

// HeadSuffix ends the name of the file that keeps the last signed head.
const HeadSuffix = ".head"

// OpenFile opens a file, which may exist, and reads where its chain ends. Nobody else may
// have it open for writing.
func OpenFile(o FileOptions) (*File, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, fmt.Errorf("audit file: %w", err)
	}
	s := &File{o: o, at: o.Path}
	f, size, err := s.open()
	if err != nil {
		return nil, err
	}
	s.f, s.size = f, size
	if err := s.readTail(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return s, nil
}

// open opens the file at the path for writing, alone.
func (s *File) open() (f *os.File, size int64, err error) {
	f, err = os.OpenFile(s.o.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, fmt.Errorf("audit file: %w", err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file")
	default:
		if err = lock(f); err == nil {
			err = syncFolder(filepath.Dir(s.o.Path))
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, fmt.Errorf("audit file %s: %w", s.o.Path, err)
	}
	s.born = s.o.Now()
	if info.Size() > 0 {
		s.born = s.beginning(f)
	}
	return f, info.Size(), nil
}

// beginning is when the first line of a file was written, or now.
func (s *File) beginning(f *os.File) time.Time {
	head := make([]byte, 4<<10)
	n, _ := f.ReadAt(head, 0)
	line, _, _ := strings.Cut(string(head[:n]), "\n")
	if l, err := trail.Parse([]byte(line)); err == nil && !l.Time.IsZero() {
		return l.Time
	}
	return s.o.Now()
}

// readTail finds where the chain ends: in the file, or if it has no line in the last one
// before it. What is torn off at the end is cut off, for it was never acknowledged.
func (s *File) readTail() error {
	last, torn, err := lastLine(s.f, s.size)
	if err != nil {
		return fmt.Errorf("audit file %s: %w", s.o.Path, err)
	}
	if torn > 0 {
		if err := s.f.Truncate(s.size - int64(torn)); err != nil {
			return fmt.Errorf("audit file %s: cut off a torn line: %w", s.o.Path, err)
		}
		s.size -= int64(torn)
	}
	s.tail.Torn = torn
	if s.size == 0 {
		if former := s.former(); len(former) > 0 {
			newest := former[len(former)-1]
			if last, err = lastLineOf(newest); err != nil {
				return fmt.Errorf("audit file: %w", err)
			}
			if tail, yielded := afterYield(newest, last); yielded {
				s.tail = tail
				return nil
			}
		}
	}
	if len(last) > 0 {
		l, err := trail.Parse(last)
		if err != nil {
			s.tail.Unreadable = true
		} else {
			s.tail.Chain, s.tail.Seq, s.tail.Hash = l.Chain, l.Seq, l.Hash
		}
	}
	s.readHead()
	return nil
}

// readHead reads the head that is kept beside the file, if there is one.
func (s *File) readHead() {
	data, err := os.ReadFile(s.o.Path + HeadSuffix)
	if err != nil {
		return
	}
	for text := range strings.Lines(string(data)) {
		l, err := trail.Parse([]byte(strings.TrimSuffix(text, "\n")))
		switch {
		case err != nil:
		case l.Kind == "signer":
			s.tail.Sealed = l.Sealed
		case l.Kind == "head":
			s.tail.HeadSeq, s.tail.HeadChain = l.Seq, l.Chain
		}
	}
}

// lastLineOf returns the last whole line of a file.
func lastLineOf(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	last, _, err := lastLine(f, info.Size())
	return last, err
}

// lastLine returns the last whole line, and how many bytes of a further one follow.
func lastLine(f io.ReaderAt, size int64) (line []byte, torn int, err error) {
	from := max(0, size-2*audit.MaxLine)
	data := make([]byte, size-from)
	if n, err := f.ReadAt(data, from); err != nil && (!errors.Is(err, io.EOF) || n < len(data)) {
		return nil, 0, err
	}
	end := strings.LastIndexByte(string(data), '\n')
	torn = len(data) - (end + 1)
	if end < 0 {
		if from > 0 {
			return nil, 0, errors.New("it does not end in lines")
		}
		return nil, torn, nil
	}
	begin := strings.LastIndexByte(string(data[:end]), '\n') + 1
	return data[begin:end], torn, nil
}

// Name implements audit.Sink.
func (s *File) Name() string { return "file" }

// Durable implements audit.Sink.
func (s *File) Durable() bool { return true }

// Tail implements audit.Keeper.
func (s *File) Tail() audit.Tail { return s.tail }

// Write implements audit.Sink.
func (s *File) Write(lines []byte, _ int, sync bool) error {
	if s.f == nil {
		f, size, err := s.open()
		if err != nil {
			return err
		}
		s.f, s.size = f, size
	}
	n, err := s.f.WriteAt(lines, s.size)
	if err == nil && sync {
		err = syncData(s.f)
	}
	if err != nil {
		if n > 0 { // so that the next line begins a line
			_ = s.f.Truncate(s.size)
		}
		return fmt.Errorf("audit file: %w", err)
	}
	s.size += int64(n)
	return nil
}

// Due implements audit.Keeper.
func (s *File) Due(now time.Time, bytes int) bool {
	if s.size == 0 || s.at != s.o.Path {
		return false
	}
	return s.o.MaxSize > 0 && s.size+int64(bytes) > s.o.MaxSize || s.o.MaxAge > 0 && now.Sub(s.born) >= s.o.MaxAge
}

// Rotate implements audit.Keeper.
func (s *File) Rotate(now time.Time) error {
	if s.f == nil {
		return nil
	}
	if err := syncData(s.f); err != nil {
		return err
	}
	if !s.Moved() {
		name, err := s.formerName(now)
		if err != nil {
			return err
		}
		if err := os.Rename(s.o.Path, name); err != nil {
			return err
		}
	}
	return s.Reopen()
}

// Reopen implements audit.Keeper.
func (s *File) Reopen() error {
	if s.f != nil {
		_ = syncData(s.f)
		_ = s.f.Close()
		s.f = nil
	}
	f, size, err := s.open()
	if err != nil {
		return nil //nolint:nilerr // Write tries again, and says so
	}
	s.f, s.size = f, size
	s.retain()
	return nil
}

// Moved implements audit.Keeper.
func (s *File) Moved() bool {
	if s.f == nil || s.at != s.o.Path {
		return false
	}
	there, err := os.Stat(s.o.Path)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	ours, err := s.f.Stat()
	return err == nil && !os.SameFile(there, ours)
}

// former returns the names of former files, the oldest first.
func (s *File) former() []string {
	entries, err := os.ReadDir(filepath.Dir(s.o.Path))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		when, ok := strings.CutPrefix(e.Name(), filepath.Base(s.o.Path)+".")
		if _, err := time.Parse(rotatedForm, when); ok && err == nil {
			names = append(names, filepath.Join(filepath.Dir(s.o.Path), e.Name()))
		}
	}
	slices.Sort(names)
	return names
}

// retain removes former files that are to be kept no longer.
func (s *File) retain() {
	names, now := s.former(), s.o.Now()
	for i, name := range names {
		when, _ := time.Parse(rotatedForm, strings.TrimPrefix(filepath.Base(name), filepath.Base(s.o.Path)+"."))
		many := s.o.Keep > 0 && len(names)-i > s.o.Keep
		old := s.o.KeepFor > 0 && now.Sub(when) > s.o.KeepFor
		if many || old {
			if err := os.Remove(name); err != nil {
				s.o.Warn(fmt.Errorf("remove a former audit file: %w", err))
				continue
			}
			_ = os.Remove(name + HeadSuffix) // few have one
		}
	}
}

// KeepHead implements audit.Keeper.
func (s *File) KeepHead(lines []byte) error {
	name := s.at + HeadSuffix
	if err := os.WriteFile(name+".new", lines, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// Close implements audit.Sink.
func (s *File) Close() error {
	if s.f == nil {
		return nil
	}
	err := syncData(s.f)
	return errors.Join(err, s.f.Close())
}

func syncFolder(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
