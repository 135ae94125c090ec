// Package manifest keeps what becomes known only at the end of a write:
// manifests of objects (DESIGN: they are written before upstream commits, created
// only if absent, and never changed).
package manifest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrMissing says that an object's manifest does not exist or does not open:
// the object cannot be read, or somebody could have exchanged its parts.
var ErrMissing = errors.New("the object's manifest is missing or not authentic")

// errAbsent is the ErrMissing of a manifest of whose name nothing is there.
var errAbsent = fmt.Errorf("no manifest of that name: %w", ErrMissing)

const (
	kind = "late"

	// mirrored begins names that mirror the object's, so that the manifests of a
	// listing's page are one range of names.
	mirrored = "late/"
	// hashed begins the names of those whose keys cannot be mirrored.
	hashed = "late-h/"
	// separator sorts before every other character of keys and keeps their order.
	separator = "\x01"

	maxName    = 1024
	maxSegment = 255
	// hiding ends a folder's name at MinIO: what is below one is not listed.
	hiding = "__XLDIR__"

	// cacheSize bounds the number of manifests kept in memory. They never change.
	cacheSize = 16384
	// partsCacheSize bounds the number of parts in the tables kept in memory, each
	// of at most 100 bytes.
	partsCacheSize = 400_000
	// parallel bounds the requests of one GetMany.
	parallel = 16
	// few manifests are read one by one rather than by listing a range.
	few = 4
	// maxRangePages bounds the listing requests of one GetMany.
	maxRangePages = 2
)

// Ref names the manifest of one write of one object.
type Ref struct {
	Name sse.Name
	ID   sse.ManifestID
	// ETag is upstream's, without quotes, for an object that was uploaded in parts:
	// rival lists of parts must not share a manifest. Else it is empty.
	ETag string
}

// Clone returns a copy for caches, which shares no memory: an ETag is cut out of the head of a
// whole answer.
func (r Ref) Clone() Ref { return Ref{r.Name.Clone(), r.ID, strings.Clone(r.ETag)} }

// Store reads and writes manifests. It is safe for concurrent use.
type Store struct {
	// OnRestored, if set before use, is called once for each object whose manifest was
	// found by its data (Find).
	OnRestored func(Ref)

	system *system.Store

	mu    sync.Mutex
	cache map[Ref]sse.Facts
	parts map[Ref]*sse.Parts
	// partsKept is the number of parts in all tables of parts.
	partsKept int
	// restored holds, by the names that upstream's ETags give, those of the manifests
	// that were found by the objects' data.
	restored map[Ref]Ref
}

// New returns a store of manifests in the system bucket.
func New(s *system.Store) *Store {
	return &Store{system: s, cache: make(map[Ref]sse.Facts), parts: make(map[Ref]*sse.Parts), restored: make(map[Ref]Ref)}
}

// Put writes a manifest; parts is nil for an object of one stream. One that
// exists already is of the same data: a list of other parts would have another name,
// unless it differs in the numbers of empty parts alone, which no ETag shows. The
// first one stays then.
// storage.ErrUnreachable, or the key service's errors.
func (s *Store) Put(ctx context.Context, ref Ref, facts sse.Facts, parts *sse.Parts) error {
	name, content, table := encode(ref, facts, parts)
	err := s.system.PersistNote(ctx, kind, name, content, table)
	if errors.Is(err, system.ErrConflict) {
		err = s.same(ctx, name, content, table)
	}
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return nil
}

// Replace writes a manifest in the place of one that does not open.
// storage.ErrUnreachable, or the key service's errors.
func (s *Store) Replace(ctx context.Context, ref Ref, facts sse.Facts, parts *sse.Parts) error {
	name, content, table := encode(ref, facts, parts)
	if err := s.system.ReplaceNote(ctx, kind, name, content, table); err != nil {
		return fmt.Errorf("replace manifest: %w", err)
	}
	return nil
}

// Exists says whether a manifest is there, be it one that opens or not.
// storage.ErrUnreachable.
func (s *Store) Exists(ctx context.Context, ref Ref) (bool, error) {
	_, err := s.system.GetNote(ctx, kind, ref.objectName())
	switch {
	case err == nil, errors.Is(err, system.ErrTampered):
		return true, nil
	case errors.Is(err, system.ErrNotFound):
		return false, nil
	default:
		return false, err
	}
}

// encode returns the name and the contents of a manifest.
func encode(ref Ref, facts sse.Facts, parts *sse.Parts) (name string, content, table []byte) {
	if parts != nil {
		table = parts.Encode()
	}
	name = ref.objectName()
	if !strings.HasPrefix(name, mirrored) {
		facts.Key = ref.Name.Key // for whoever sweeps
	}
	return name, facts.Manifest(), table
}

// same says whether the manifest that is said to exist is the one to be written.
func (s *Store) same(ctx context.Context, name string, content, table []byte) error {
	there, err := s.system.GetNote(ctx, kind, name)
	if err != nil {
		return err
	}
	var body []byte
	if table != nil {
		if body, err = s.system.GetBody(ctx, kind, name); err != nil {
			return err
		}
	}
	if !bytes.Equal(there, content) || !bytes.Equal(body, table) && !sameData(body, table) {
		return fmt.Errorf("another manifest has its name: %w", system.ErrTampered)
	}
	return nil
}

// sameData says whether two tables of parts are of the same bytes, which parts of no
// bytes do not add to, whatever their numbers are.
func sameData(a, b []byte) bool {
	one, err := sse.ParseParts(a)
	if err != nil {
		return false
	}
	other, err := sse.ParseParts(b)
	if err != nil || len(one.List()) != len(other.List()) || one.Checksum() != other.Checksum() {
		return false
	}
	for i, p := range one.List() {
		q := other.List()[i]
		if p.PlainSize != q.PlainSize || p.PlainSize > 0 && (p.Number != q.Number || p.Nonce != q.Nonce) || !bytes.Equal(p.Checksum, q.Checksum) {
			return false
		}
	}
	return true
}

// Parts reads a manifest's table of parts. Errors are as those of Get.
func (s *Store) Parts(ctx context.Context, ref Ref) (*sse.Parts, error) {
	if parts := s.Known(ref); parts != nil {
		return parts, nil
	}
	ref = s.Actual(ref)
	table, err := s.system.GetBody(ctx, kind, ref.objectName())
	if errors.Is(err, system.ErrNotFound) {
		return nil, fmt.Errorf("manifest %x: %w", ref.ID, errAbsent)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest %x: %w", ref.ID, err)
	}
	parts, err := sse.ParseParts(table)
	if err != nil {
		return nil, fmt.Errorf("manifest %x: %w (%w)", ref.ID, ErrMissing, err)
	}
	s.keepParts(ref, parts)
	return parts, nil
}

// keepParts remembers a table of parts.
func (s *Store) keepParts(ref Ref, parts *sse.Parts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for victim, old := range s.parts { // any: the map's order is random
		if s.partsKept+len(parts.List()) <= partsCacheSize {
			break
		}
		delete(s.parts, victim)
		s.partsKept -= len(old.List())
	}
	if s.parts[ref] == nil {
		s.partsKept += len(parts.List())
	}
	s.parts[ref.Clone()] = parts
}

// Known returns a table of parts that was read before, nil if it is not kept.
func (s *Store) Known(ref Ref) *sse.Parts {
	ref = s.Actual(ref)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts[ref]
}

// Get reads a manifest. ErrMissing, storage.ErrUnreachable, or the key
// service's errors.
func (s *Store) Get(ctx context.Context, ref Ref) (sse.Facts, error) {
	ref = s.Actual(ref)
	if facts, ok := s.cached(ref); ok {
		return facts, nil
	}
	content, err := s.system.GetNote(ctx, kind, ref.objectName())
	if errors.Is(err, system.ErrNotFound) {
		return sse.Facts{}, fmt.Errorf("manifest %x: %w", ref.ID, errAbsent)
	}
	if err != nil {
		return sse.Facts{}, fmt.Errorf("manifest %x: %w", ref.ID, err)
	}
	return s.parse(ref, content)
}

func (s *Store) parse(ref Ref, content []byte) (sse.Facts, error) {
	facts, err := parseFacts(ref, content)
	if err != nil {
		return sse.Facts{}, err
	}
	return s.keep(ref, facts), nil
}

func parseFacts(ref Ref, content []byte) (sse.Facts, error) {
	facts, err := sse.ParseManifest(content)
	if err != nil {
		return sse.Facts{}, fmt.Errorf("manifest %x: %w (%w)", ref.ID, ErrMissing, err)
	}
	facts.Key = "" // it is the sweeper's, and not the object's to hand on
	return facts, nil
}

// keep remembers facts, and returns them.
func (s *Store) keep(ref Ref, facts sse.Facts) sse.Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= cacheSize {
		for victim := range s.cache { // any, as above
			delete(s.cache, victim)
			break
		}
	}
	s.cache[ref.Clone()] = facts
	return facts
}

func (s *Store) cached(ref Ref) (sse.Facts, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	facts, ok := s.cache[ref]
	return facts, ok
}

// objectName is the manifest's name in the system bucket (docs/format.md).
func (r Ref) objectName() string {
	id := hex.EncodeToString(r.ID[:])
	if r.ETag != "" {
		id += "-" + r.ETag
	}
	return mirroredName("late", r.Name, id)
}

// mirroredName is ROOT/bucket/key 0x01 suffix, so that names have the order of
// the keys, or ROOT-h/bucket/SHA-256(key)-suffix where that is no possible name, or
// one that upstream does not list.
func mirroredName(root string, object sse.Name, suffix string) string {
	name := root + "/" + object.Bucket + "/" + object.Key + separator + suffix
	if len(name) <= maxName && !strings.HasPrefix(object.Key, "/") && segmentsFit(name) {
		return name
	}
	sum := sha256.Sum256([]byte(object.Key))
	return root + "-h/" + object.Bucket + "/" + hex.EncodeToString(sum[:]) + "-" + suffix
}

func segmentsFit(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if len(segment) > maxSegment || strings.HasSuffix(segment, hiding) {
			return false
		}
	}
	return true
}
