package manifest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrNoWrap says that an object's key was not sealed once more, or that what was written of
// it is gone or not authentic.
var ErrNoWrap = errors.New("the object's key was sealed under no other KMS key")

const (
	wrapKind = "wrap"
	// wrapRoot begins names that mirror the object's, as a manifest's do, hashedWraps those
	// that cannot.
	wrapRoot    = "wrap"
	hashedWraps = wrapRoot + "-h/"
	// wrapCacheSize bounds the number of wraps in memory, about 600 bytes each.
	wrapCacheSize = 16384
	// afterSeparator is what comes next after separator.
	afterSeparator = "\x02"
)

// WrapRef names the wrap of one record of one object.
type WrapRef struct {
	Name   sse.Name
	Record sse.RecordDigest
}

// numbered is the name in the system bucket of a record's wrap with a sequence
// (docs/format.md). One is never written twice: a write that comes late takes no other one's
// place.
func (r WrapRef) numbered(sequence uint64) string {
	return mirroredName(wrapRoot, r.Name, hex.EncodeToString(r.Record[:])+fmt.Sprintf("-%0*x", sequenceDigits, sequence))
}

// sequenceDigits are those of a sequence in a name, in hex: names have the order of sequences.
const sequenceDigits = 16

// prefix is what the names of all wraps of the record begin with, and no others.
func (r WrapRef) prefix() string {
	name := r.numbered(0)
	return name[:len(name)-1-sequenceDigits]
}

// Mirrored says that the wrap's name has its place in the order of keys, so that Wraps.Range
// finds it.
func (r WrapRef) Mirrored() bool { return strings.HasPrefix(r.numbered(0), wrapRoot+"/") }

// Wraps reads and writes what re-wraps stored: keys of objects, sealed under other KMS keys
// than their records say. It is safe for concurrent use.
type Wraps struct {
	system *system.Store

	// any says that the cache holds something: most installations have no wraps.
	any   atomic.Bool
	mu    sync.Mutex
	cache map[WrapRef]*sse.Wrap
}

// NewWraps returns the wraps in a system bucket.
func NewWraps(s *system.Store) *Wraps {
	return &Wraps{system: s, cache: make(map[WrapRef]*sse.Wrap)}
}

// Known returns the wrap of a record that was read or written before, nil if none is kept.
// Somebody may have written another one since.
func (s *Wraps) Known(name sse.Name, r *sse.Record) *sse.Wrap {
	if !s.any.Load() {
		return nil
	}
	ref := WrapRef{name, r.Digest()}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache[ref]
}

// Find reads the wrap of a record, nil if there is none. Errors are those of Get, but for
// one that says that nothing is there.
func (s *Wraps) Find(ctx context.Context, name sse.Name, r *sse.Record) (*sse.Wrap, error) {
	w, err := s.Get(ctx, WrapRef{name, r.Digest()})
	if errors.Is(err, system.ErrNotFound) {
		return nil, nil
	}
	return w, err
}

// Get reads the last wrap of a record. ErrNoWrap, system.ErrNotFound too if there is none;
// storage.ErrUnreachable, or the key service's errors.
func (s *Wraps) Get(ctx context.Context, ref WrapRef) (*sse.Wrap, error) {
	last, err := s.last(ctx, ref)
	if err == nil && last == nil {
		return nil, fmt.Errorf("wrap %x: %w (%w)", ref.Record, ErrNoWrap, system.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("wrap %x: %w", ref.Record, err)
	}
	w, err := s.Open(ctx, ref, *last)
	if err == nil {
		s.keep(ref, w)
	}
	return w, err
}

// Last returns the highest sequence among the names of a record's wraps, whatever they are;
// 0 for none. storage.ErrUnreachable.
func (s *Wraps) Last(ctx context.Context, ref WrapRef) (uint64, error) {
	last, err := s.last(ctx, ref)
	if err != nil || last == nil {
		return 0, err
	}
	return sequenceOf(last.Name), nil
}

// last returns the note with the highest sequence, nil if there is none.
func (s *Wraps) last(ctx context.Context, ref WrapRef) (last *system.Note, err error) {
	prefix := ref.prefix()
	after := ""
	for {
		notes, more, err := s.system.ListNotes(ctx, prefix, after)
		if errors.Is(err, system.ErrNoBucket) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list wraps: %w", err)
		}
		for i := range notes {
			after = notes[i].Name
			if of, err := parseWrapEnd(ref.Name, prefix, after); err == nil && of == ref {
				last = &notes[i]
			}
		}
		if !more || len(notes) == 0 {
			return last, nil
		}
	}
}

// parseWrapEnd reads a name that begins with a prefix of WrapRef's.
func parseWrapEnd(object sse.Name, prefix, name string) (WrapRef, error) {
	digest := prefix[len(prefix)-2*len(sse.RecordDigest{}):]
	return parseWrapSuffix(object, digest+strings.TrimPrefix(name, prefix), name)
}

// sequenceOf returns the sequence at the end of a name, 0 for one without.
func sequenceOf(name string) uint64 {
	if len(name) < 1+sequenceDigits || name[len(name)-1-sequenceDigits] != '-' {
		return 0
	}
	n, err := strconv.ParseUint(name[len(name)-sequenceDigits:], 16, 64)
	if err != nil {
		return 0
	}
	return n
}

func parseWrap(ref WrapRef, name string, content []byte) (*sse.Wrap, error) {
	w, err := sse.ParseWrap(content)
	if err == nil && w.Sequence != sequenceOf(name) {
		err = fmt.Errorf("number %d under the name of another: %w", w.Sequence, sse.ErrRecord)
	}
	if err != nil {
		return nil, fmt.Errorf("wrap %x: %w (%w)", ref.Record, ErrNoWrap, err)
	}
	return w, nil
}

func (s *Wraps) keep(ref WrapRef, w *sse.Wrap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= wrapCacheSize {
		for victim := range s.cache { // any: the map's order is random
			delete(s.cache, victim)
			break
		}
	}
	ref.Name.Key = strings.Clone(ref.Name.Key) // and not the listing that it is of
	s.cache[ref] = w
	s.any.Store(true)
}

// Put writes a wrap beside those that are there. system.ErrConflict if there is one with its
// sequence; storage.ErrUnreachable, or the key service's errors.
func (s *Wraps) Put(ctx context.Context, ref WrapRef, w *sse.Wrap) error {
	name, stored := ref.numbered(w.Sequence), *w
	if strings.HasPrefix(name, hashedWraps) {
		stored.Key = ref.Name.Key // for whoever sweeps
	}
	if err := s.system.PutNote(ctx, wrapKind, name, stored.Encode(), nil); err != nil {
		return fmt.Errorf("write wrap: %w", err)
	}
	s.keep(ref, w)
	return nil
}

// Range reads the wraps of a page of a listing: of the objects of one bucket whose keys are
// from first to last, in the order of bytes. They are kept, as far as there is room, and
// each record's last one is given to found, nil if it does not open. What has no such place in
// the order, Get reads by itself. storage.ErrUnreachable, or the key service's errors.
func (s *Wraps) Range(ctx context.Context, bucket, first, last string, found func(WrapRef, *sse.Wrap)) error {
	open := func(ref WrapRef, n system.Note) error {
		w, err := s.Open(ctx, ref, n)
		if err != nil && !errors.Is(err, ErrNoWrap) {
			return err
		}
		if err == nil {
			s.keep(ref, w)
		}
		found(ref, w)
		return nil
	}
	after, end := WrapNames(bucket, first, last)
	var ref WrapRef // of the note before, which is open's if no later one is of the same record
	var note *system.Note
	for {
		notes, more, err := s.system.ListNotes(ctx, wrapRoot+"/"+bucket+"/", after)
		if err != nil {
			return fmt.Errorf("list wraps: %w", err)
		}
		for i := range notes {
			after = notes[i].Name
			if after >= end {
				break
			}
			of, err := WrapOf(after)
			if err != nil || of.Name.Key < first || of.Name.Key > last {
				continue
			}
			if note != nil && of != ref {
				if err := open(ref, *note); err != nil {
					return err
				}
			}
			ref, note = of, &notes[i]
		}
		if more && len(notes) > 0 && after < end {
			continue
		}
		if note == nil {
			return nil
		}
		return open(ref, *note)
	}
}

// WrapNames says where the names of wraps lie that mirror those of a bucket's objects with keys
// from first to last: they come after one name, and before end. Names of others may lie there
// too, where keys have the separator in them.
func WrapNames(bucket, first, last string) (after, end string) {
	prefix := wrapRoot + "/" + bucket + "/"
	if i := strings.Index(last, separator); i >= 0 { // others, of what is before it, lie behind it
		last = last[:i]
	}
	return prefix + first, prefix + last + afterSeparator
}

// WrapOf says whose wrap a name is. system.ErrTampered if it mirrors no object's.
func WrapOf(name string) (WrapRef, error) {
	if !strings.HasPrefix(name, wrapRoot+"/") {
		return WrapRef{}, fmt.Errorf("no name of a wrap: %w", system.ErrTampered)
	}
	return parseWrapName(name)
}

// Open opens a wrap that was listed. ErrNoWrap if it is not authentic;
// storage.ErrUnreachable, or the key service's errors.
func (s *Wraps) Open(ctx context.Context, ref WrapRef, n system.Note) (*sse.Wrap, error) {
	content, err := s.system.OpenNote(ctx, wrapKind, n)
	if errors.Is(err, system.ErrTampered) {
		return nil, fmt.Errorf("wrap %x: %w (%w)", ref.Record, ErrNoWrap, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wrap %x: %w", ref.Record, err)
	}
	return parseWrap(ref, n.Name, content)
}

// Fetch is Range for who does not know WrapRef.
func (s *Wraps) Fetch(ctx context.Context, bucket, first, last string, found func(sse.Name, sse.RecordDigest, *sse.Wrap)) error {
	return s.Range(ctx, bucket, first, last, func(ref WrapRef, w *sse.Wrap) { found(ref.Name, ref.Record, w) })
}

// Covers says whether Fetch finds the wraps of an object.
func (s *Wraps) Covers(name sse.Name) bool { return WrapRef{Name: name}.Mirrored() }

// parseWrapName reads a mirrored name back. system.ErrTampered.
func parseWrapName(name string) (WrapRef, error) {
	bucket, rest, ok := strings.Cut(strings.TrimPrefix(name, wrapRoot+"/"), "/")
	i := strings.LastIndex(rest, separator)
	if !ok || i < 0 {
		return WrapRef{}, fmt.Errorf("no name of a wrap: %w", system.ErrTampered)
	}
	return parseWrapSuffix(sse.Name{Bucket: bucket, Key: rest[:i]}, rest[i+1:], name)
}

// parseWrapSuffix reads the end of a wrap's name, and checks the whole.
func parseWrapSuffix(object sse.Name, suffix, name string) (WrapRef, error) {
	digest, number, numbered := strings.Cut(suffix, "-")
	raw, err := hex.DecodeString(digest)
	ref := WrapRef{Name: object}
	if err != nil || len(raw) != len(ref.Record) {
		return WrapRef{}, fmt.Errorf("no name of a wrap: %w", system.ErrTampered)
	}
	ref.Record = sse.RecordDigest(raw)
	canonical := mirroredName(wrapRoot, object, digest) // of wraps of before
	if numbered {
		if _, err = strconv.ParseUint(number, 16, 64); err == nil {
			canonical = ref.numbered(sequenceOf(name))
		}
	}
	if canonical != name {
		return WrapRef{}, fmt.Errorf("another wrap's name: %w", system.ErrTampered)
	}
	return ref, nil
}
