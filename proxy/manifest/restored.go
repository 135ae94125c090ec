package manifest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// More than one manifest of an upload exist only after rival Completes of it.
const (
	// maxRivals bounds the manifests that are opened for one object.
	maxRivals = 64
	// maxCandidates bounds those of them whose tables of parts are read and compared.
	maxCandidates = 8
)

// ErrUndecided says that several manifests of an upload fit an object, and that
// nothing tells which one is its own.
var ErrUndecided = fmt.Errorf("several manifests fit: %w", ErrMissing)

// Data is an object as upstream has it. A copy that was made over S3 has another
// ETag than the upload, and so the name of its manifest does not fit; what the
// manifest says of the data still does.
type Data struct {
	// Size is the number of encrypted bytes.
	Size int64
	// At returns the header of the package that begins at an offset of the encrypted
	// bytes. It is called only where several manifests are of one size.
	At func(ctx context.Context, offset int64) (header []byte, err error)
}

// Find is Get for an object whose data is known. Where no manifest has the name that
// upstream's ETag gives, it is the one of the upload that fits the data: its parts
// take up as many bytes, and of several such ones their nonces stand where it says. A
// single one is taken by its size alone, so whether it is the object's shows when all
// of the data is read. Which of several that was, upstream's ETag said before, and its
// data says now; both are its word. What the manifest says is proven as ever. Errors are those of Get, and ErrUndecided.
func (s *Store) Find(ctx context.Context, ref Ref, data Data) (sse.Facts, error) {
	facts, err := s.Get(ctx, ref)
	if err == nil || ref.ETag == "" || !errors.Is(err, errAbsent) {
		return facts, err
	}
	fitting, failed := s.fitting(ctx, ref, data.Size)
	if failed != nil {
		return sse.Facts{}, fmt.Errorf("manifest %x: %w", ref.ID, failed)
	}
	own, failed := choose(ctx, fitting, data)
	if failed != nil {
		return sse.Facts{}, fmt.Errorf("manifest %x: %w", ref.ID, failed)
	}
	if own == nil {
		return sse.Facts{}, err
	}
	s.adopt(ref, own.ref)
	s.keepParts(own.ref, own.parts)
	return s.keep(own.ref, own.facts), nil
}

// Restored says whether an object's manifest was found by the upload's id and the
// data alone, because its name does not fit upstream's ETag.
func (s *Store) Restored(ref Ref) bool { return s.Actual(ref) != ref }

// Forget makes the next Find look again for a manifest that was found by its data, and
// does not fit all of it.
func (s *Store) Forget(ref Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.restored, ref)
}

// candidate is a manifest that may be an object's.
type candidate struct {
	ref   Ref
	facts sse.Facts
	parts *sse.Parts
}

// idPrefix begins the names of all manifests of one upload.
func (r Ref) idPrefix() string { return Ref{Name: r.Name, ID: r.ID}.objectName() + "-" }

// fitting returns the upload's manifests whose parts take up so many bytes, those
// first that were written when it was completed.
func (s *Store) fitting(ctx context.Context, ref Ref, encSize int64) ([]candidate, error) {
	notes, more, err := s.system.ListNotes(ctx, ref.idPrefix(), "")
	if err != nil {
		return nil, err
	}
	if more || len(notes) > maxRivals {
		return nil, fmt.Errorf("%d manifests and more: %w", maxRivals, ErrUndecided)
	}
	var found []candidate
	read := 0
	for _, n := range notes {
		c, err := s.candidate(ctx, ref, n)
		if err == nil && !maySize(c.facts, encSize) {
			continue
		}
		if err == nil {
			if read++; read > maxCandidates {
				return nil, fmt.Errorf("more than %d manifests of the data's size: %w", maxCandidates, ErrUndecided)
			}
			c.parts, err = s.Parts(ctx, c.ref)
		}
		if errors.Is(err, ErrMissing) || errors.Is(err, system.ErrTampered) {
			continue // one that does not open describes nothing
		}
		if err != nil {
			return nil, err
		}
		if c.parts.EncSize() == encSize && c.parts.PlainSize() == c.facts.PlainSize {
			found = append(found, *c)
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return unproven(a) - unproven(b) })
	return found, nil
}

func unproven(c candidate) int {
	if c.facts.Unproven {
		return 1
	}
	return 0
}

// maySize says whether parts of which a manifest tells the number and the size may take
// up so many bytes.
func maySize(facts sse.Facts, encSize int64) bool {
	const overhead = sse.EncPackageSize - sse.PackageSize // each part may add a package
	more := encSize - sse.EncSize(facts.PlainSize)
	return more >= 0 && more%overhead == 0 && more/overhead < int64(max(facts.Parts, 1))
}

// candidate opens a manifest of the same upload as ref's, without its table of parts.
func (s *Store) candidate(ctx context.Context, ref Ref, n system.Note) (*candidate, error) {
	ref.ETag = strings.TrimPrefix(n.Name, ref.idPrefix())
	if ref.ETag == "" || ref.objectName() != n.Name {
		return nil, fmt.Errorf("another manifest's name: %w", system.ErrTampered)
	}
	content, err := s.system.OpenNote(ctx, kind, n)
	if err != nil {
		return nil, err
	}
	facts, err := parseFacts(ref, content)
	if err != nil {
		return nil, err
	}
	return &candidate{ref: ref, facts: facts}, nil
}

// choose returns the manifest whose nonces are in the data, nil if none is. Those of
// the same bytes differ in empty parts alone; the first one counts then. Nothing of
// upstream's can make one fit: who does not have the key cannot make a package with a
// nonce of its choice, and a manifest that is chosen wrongly opens none.
func choose(ctx context.Context, left []candidate, data Data) (*candidate, error) {
	for len(left) > 1 {
		at, differ := firstDifference(left[0].parts, left[1].parts)
		if !differ {
			left = slices.Delete(left, 1, 2)
			continue
		}
		header, err := data.At(ctx, at)
		if err != nil {
			return nil, err
		}
		unfit := func(c candidate) bool { return !c.parts.BeginsAt(at, header) }
		if unfit(left[0]) && unfit(left[1]) {
			left = left[2:] // of the others no part need begin there
			continue
		}
		before := len(left)
		left = slices.DeleteFunc(left, unfit)
		if len(left) == before {
			return nil, ErrUndecided
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	return &left[0], nil
}

// firstDifference returns the encrypted offset from which on two tables of parts are
// of different bytes.
func firstDifference(a, b *sse.Parts) (at int64, differ bool) {
	one, other := withoutEmpty(a), withoutEmpty(b)
	for i := range min(len(one), len(other)) {
		p, q := one[i], other[i]
		if p.Number != q.Number || p.Nonce != q.Nonce || p.PlainSize != q.PlainSize {
			return at, true
		}
		at += sse.EncSize(p.PlainSize)
	}
	return at, len(one) != len(other)
}

func withoutEmpty(p *sse.Parts) []sse.Part {
	return slices.DeleteFunc(slices.Clone(p.List()), func(part sse.Part) bool { return part.PlainSize == 0 })
}

// Actual returns the name under which ref's manifest was found, ref itself if it was
// not looked for by its data.
func (s *Store) Actual(ref Ref) Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own, ok := s.restored[ref]; ok {
		return own
	}
	return ref
}

// adopt remembers which manifest is that of an object, and tells OnRestored.
func (s *Store) adopt(ref, own Ref) {
	s.mu.Lock()
	_, known := s.restored[ref]
	if !known && len(s.restored) >= cacheSize {
		for victim := range s.restored { // any: the map's order is random
			delete(s.restored, victim)
			break
		}
	}
	s.restored[ref.Clone()] = own.Clone()
	s.mu.Unlock()
	if !known && s.OnRestored != nil {
		s.OnRestored(ref)
	}
}

// byID looks for the manifests of a listing's page among notes that were listed
// with those of whole keys: of each upload all of them, since they come one after the
// other.
type byID struct {
	wanted map[string]Ref // by idPrefix
	notes  map[Ref][]system.Note
}

func newByID(wanted map[string]Ref) *byID {
	b := &byID{wanted: make(map[string]Ref), notes: make(map[Ref][]system.Note)}
	for _, ref := range wanted {
		if ref.ETag != "" {
			b.wanted[ref.idPrefix()] = ref
		}
	}
	return b
}

// add keeps a note of an upload that is looked for.
func (b *byID) add(n system.Note) {
	i := strings.LastIndex(n.Name, separator)
	if end := i + len(separator) + hex.EncodedLen(len(sse.ManifestID{})) + 1; i >= 0 && end <= len(n.Name) {
		if ref, ok := b.wanted[n.Name[:end]]; ok {
			b.notes[ref] = append(b.notes[ref], n)
		}
	}
}

// adoptOnly takes the only manifest of an upload for that of its object, where the
// sizes allow it and it is not the one whose name fits. What is read of the object must fit it all the same.
func (s *Store) adoptOnly(ctx context.Context, ref Ref, notes []system.Note, encSize int64) (sse.Facts, bool) {
	if len(notes) != 1 {
		return sse.Facts{}, false
	}
	own := ref
	own.ETag = strings.TrimPrefix(notes[0].Name, ref.idPrefix())
	if own == ref || own.ETag == "" || own.objectName() != notes[0].Name {
		return sse.Facts{}, false // its own is Find's to read, and to say why it cannot
	}
	content, err := s.system.OpenNote(ctx, kind, notes[0])
	if err != nil {
		return sse.Facts{}, false
	}
	facts, err := parseFacts(own, content)
	if err != nil || !maySize(facts, encSize) {
		return sse.Facts{}, false
	}
	s.adopt(ref, own)
	return s.keep(own, facts), true
}
