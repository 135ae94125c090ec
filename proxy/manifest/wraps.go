package manifest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
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
)

// WrapRef names the wrap of one record of one object.
type WrapRef struct {
	Name   sse.Name
	Record sse.RecordDigest
}

// objectName is the wrap's name in the system bucket (docs/format.md).
func (r WrapRef) objectName() string {
	return mirroredName(wrapRoot, r.Name, hex.EncodeToString(r.Record[:]))
}

// Mirrored says that the wrap's name has its place in the order of keys, so that Wraps.Range
// finds it.
func (r WrapRef) Mirrored() bool { return strings.HasPrefix(r.objectName(), wrapRoot+"/") }

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

// Get reads a wrap. ErrNoWrap, storage.ErrUnreachable, or the key service's errors.
func (s *Wraps) Get(ctx context.Context, ref WrapRef) (*sse.Wrap, error) {
	content, err := s.system.GetNote(ctx, wrapKind, ref.objectName())
	if errors.Is(err, system.ErrNotFound) || errors.Is(err, system.ErrTampered) {
		return nil, fmt.Errorf("wrap %x: %w (%w)", ref.Record, ErrNoWrap, err)
	}
	if err != nil {
		return nil, fmt.Errorf("wrap %x: %w", ref.Record, err)
	}
	return s.parse(ref, content)
}

func (s *Wraps) parse(ref WrapRef, content []byte) (*sse.Wrap, error) {
	w, err := sse.ParseWrap(content)
	if err != nil {
		return nil, fmt.Errorf("wrap %x: %w (%w)", ref.Record, ErrNoWrap, err)
	}
	s.keep(ref, w)
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
	s.cache[ref] = w
	s.any.Store(true)
}

// Put writes a wrap, in the place of one that is there. storage.ErrUnreachable, or the key
// service's errors.
func (s *Wraps) Put(ctx context.Context, ref WrapRef, w *sse.Wrap) error {
	return s.put(ctx, s.system.ReplaceNote, ref, w)
}

// Create is Put of a wrap where there is none. system.ErrConflict if there is one.
func (s *Wraps) Create(ctx context.Context, ref WrapRef, w *sse.Wrap) error {
	return s.put(ctx, s.system.PutNote, ref, w)
}

func (s *Wraps) put(ctx context.Context, put func(ctx context.Context, kind, name string, data, body []byte) error, ref WrapRef, w *sse.Wrap) error {
	name, stored := ref.objectName(), *w
	if strings.HasPrefix(name, hashedWraps) {
		stored.Key = ref.Name.Key // for whoever sweeps
	}
	if err := put(ctx, wrapKind, name, stored.Encode(), nil); err != nil {
		return fmt.Errorf("write wrap: %w", err)
	}
	s.keep(ref, w)
	return nil
}

// Range reads the wraps of a page of a listing: of the objects of one bucket whose keys are
// from first to last, in the order of bytes. They are kept, as far as there is room, and
// each that opens is given to found. What has no such place in the order, and what does not
// open, Get reads by itself. storage.ErrUnreachable, or the key service's errors.
func (s *Wraps) Range(ctx context.Context, bucket, first, last string, found func(WrapRef, *sse.Wrap)) error {
	prefix := wrapRoot + "/" + bucket + "/"
	after := prefix + first // comes before first and its separator, and after every name before them
	for {
		notes, more, err := s.system.ListNotes(ctx, prefix, after)
		if err != nil {
			return fmt.Errorf("list wraps: %w", err)
		}
		for _, n := range notes {
			after = n.Name
			ref, err := parseWrapName(n.Name)
			if err != nil {
				continue
			}
			if ref.Name.Key > last {
				return nil
			}
			content, err := s.system.OpenNote(ctx, wrapKind, n)
			if errors.Is(err, system.ErrTampered) {
				continue
			}
			if err != nil {
				return fmt.Errorf("open wrap: %w", err)
			}
			if w, err := s.parse(ref, content); err == nil {
				found(ref, w)
			}
		}
		if !more || len(notes) == 0 {
			return nil
		}
	}
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
	raw, err := hex.DecodeString(suffix)
	ref := WrapRef{Name: object}
	if err != nil || len(raw) != len(ref.Record) {
		return WrapRef{}, fmt.Errorf("no name of a wrap: %w", system.ErrTampered)
	}
	ref.Record = sse.RecordDigest(raw)
	if ref.objectName() != name {
		return WrapRef{}, fmt.Errorf("another wrap's name: %w", system.ErrTampered)
	}
	return ref, nil
}
