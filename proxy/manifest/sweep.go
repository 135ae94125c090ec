package manifest

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// Lookups ask upstream what is still there, under the service identity.
type Lookups interface {
	// UploadExists says whether upstream knows a multipart upload.
	UploadExists(ctx context.Context, object sse.Name, id string) (bool, error)
	// Manifests returns the manifests that the versions of an object name.
	Manifests(ctx context.Context, object sse.Name) ([]Ref, error)
	// Hidden says whether upstream may have versions of an object that it does not
	// list, so that Manifests cannot know what they name.
	Hidden(ctx context.Context, object sse.Name) (bool, error)
}

// Sweeper removes what finished, aborted or crashed writes left in the system
// bucket.
type Sweeper struct {
	// System and Lookups are required.
	System  *system.Store
	Lookups Lookups
	// Before is the time, on upstream's clock, that everything removed is older than.
	Before time.Time
	// DryRun reports and removes nothing.
	DryRun bool
	// Report is called with the name of each thing that is removed. Required.
	Report func(what, name string)
}

// Run makes one pass over uploads, parts and manifests. Nothing is removed on the
// word of a listing alone: upstream is asked about each upload and each object. An
// error ends the pass; what was removed until then stays removed.
func (s *Sweeper) Run(ctx context.Context) error {
	live, err := s.sweepUploads(ctx)
	if err != nil {
		return err
	}
	if err := s.sweepParts(ctx, live); err != nil {
		return err
	}
	return s.sweepManifests(ctx, live)
}

// liveUploads are the uploads that stay.
type liveUploads struct {
	parts     map[string]bool // by the prefix of their parts' names
	manifests map[sse.ManifestID]bool
}

// sweepUploads drops uploads that upstream does not have any more.
func (s *Sweeper) sweepUploads(ctx context.Context) (*liveUploads, error) {
	live := &liveUploads{parts: make(map[string]bool), manifests: make(map[sse.ManifestID]bool)}
	ledger := NewLedger(s.System)
	for _, root := range []string{"uploads/", "uploads-h/"} {
		err := s.each(ctx, root, func(n upstream.Note) error {
			content, err := s.System.OpenNote(ctx, uploadKind, n)
			if err != nil {
				return nil //nolint:nilerr // not ours to judge, and not ours to remove
			}
			u, err := parseUpload(content)
			if err != nil {
				return nil //nolint:nilerr // see above
			}
			if s.old(n) {
				exists, err := s.Lookups.UploadExists(ctx, u.Name(), u.ID)
				if err != nil {
					return fmt.Errorf("look up upload: %w", err)
				}
				if !exists {
					s.Report("upload", u.Bucket+"/"+u.Key+" "+u.ID)
					if s.DryRun {
						return nil
					}
					return ledger.Drop(ctx, u.Name(), u.ID)
				}
			}
			live.parts[partPrefix(u.ID)] = true
			live.manifests[u.Manifest] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return live, nil
}

// sweepParts removes parts that were noted after their upload had ended.
func (s *Sweeper) sweepParts(ctx context.Context, live *liveUploads) error {
	return s.each(ctx, "parts/", func(n upstream.Note) error {
		i := strings.LastIndexByte(n.Name, '/')
		if live.parts[n.Name[:i+1]] || !s.old(n) {
			return nil
		}
		return s.remove(ctx, "part", n.Name)
	})
}

// sweepManifests removes manifests that no version of their object names.
func (s *Sweeper) sweepManifests(ctx context.Context, live *liveUploads) error {
	if err := s.sweepManifestsIn(ctx, mirrored, live, func(n upstream.Note) (Ref, bool) { return parseObjectName(n.Name) }); err != nil {
		return err
	}
	return s.sweepManifestsIn(ctx, hashed, live, func(n upstream.Note) (Ref, bool) { return s.openHashed(ctx, n) })
}

// sweepManifestsIn removes what nothing names of the manifests whose names begin
// with root. refOf tells whose one is; those of which it cannot stay.
func (s *Sweeper) sweepManifestsIn(ctx context.Context, root string, live *liveUploads, refOf func(upstream.Note) (Ref, bool)) error {
	var known lookedUp
	return s.each(ctx, root, func(n upstream.Note) error {
		if !s.old(n) {
			return nil
		}
		ref, ok := refOf(n)
		if !ok || live.manifests[ref.ID] {
			return nil
		}
		if needed, err := s.needed(ctx, &known, ref); err != nil || needed {
			return err
		}
		return s.remove(ctx, "manifest", n.Name)
	})
}

// lookedUp is what upstream says of one object; manifests come object by object.
type lookedUp struct {
	object sse.Name
	named  map[Ref]bool
	// hidden says that upstream may have what it does not list. It is asked, and
	// everything else once more, before the first manifest is removed.
	hidden, twice bool
}

// needed says whether a version of ref's object names it, or may do so.
func (s *Sweeper) needed(ctx context.Context, known *lookedUp, ref Ref) (bool, error) {
	if ref.Name != known.object || known.named == nil {
		if err := s.lookUp(ctx, known, ref.Name); err != nil {
			return false, err
		}
	}
	if known.named[ref] {
		return true, nil
	}
	if !known.twice {
		hidden, err := s.Lookups.Hidden(ctx, ref.Name)
		if err == nil && !hidden { // it may have been so a moment ago
			err = s.lookUp(ctx, known, ref.Name)
		}
		if err != nil {
			return false, fmt.Errorf("look up object: %w", err)
		}
		known.hidden, known.twice = hidden, true
	}
	return known.hidden || known.named[ref], nil
}

func (s *Sweeper) lookUp(ctx context.Context, known *lookedUp, object sse.Name) error {
	refs, err := s.Lookups.Manifests(ctx, object)
	if err != nil {
		return fmt.Errorf("look up object: %w", err)
	}
	*known = lookedUp{object: object, named: make(map[Ref]bool, len(refs))}
	for _, r := range refs {
		known.named[r] = true
	}
	return nil
}

func (s *Sweeper) old(n upstream.Note) bool {
	return !n.Modified.IsZero() && n.Modified.Before(s.Before)
}

func (s *Sweeper) remove(ctx context.Context, what, name string) error {
	s.Report(what, name)
	if s.DryRun {
		return nil
	}
	_, err := s.System.Delete(ctx, name, func(other string) bool { return other != name })
	return err
}

// each calls f for every note whose name begins with prefix.
func (s *Sweeper) each(ctx context.Context, prefix string, f func(upstream.Note) error) error {
	for after := ""; ; {
		notes, more, err := s.System.ListNotes(ctx, prefix, after)
		if err != nil {
			return err
		}
		for _, n := range notes {
			after = n.Name
			if err := f(n); err != nil {
				return err
			}
		}
		if !more || len(notes) == 0 {
			return nil
		}
	}
}

// parseObjectName reads a mirrored manifest name back.
func parseObjectName(name string) (Ref, bool) {
	bucket, rest, ok := strings.Cut(strings.TrimPrefix(name, mirrored), "/")
	i := strings.LastIndex(rest, separator)
	if !ok || i < 0 {
		return Ref{}, false
	}
	return parseSuffix(sse.Name{Bucket: bucket, Key: rest[:i]}, rest[i+1:], name)
}

// openHashed says whose a manifest is whose name holds a digest of the key only.
func (s *Sweeper) openHashed(ctx context.Context, n upstream.Note) (Ref, bool) {
	content, err := s.System.OpenNote(ctx, kind, n)
	if err != nil {
		return Ref{}, false // not ours to judge
	}
	facts, err := sse.ParseManifest(content)
	bucket, rest, ok := strings.Cut(strings.TrimPrefix(n.Name, hashed), "/")
	_, suffix, cut := strings.Cut(rest, "-")
	if err != nil || facts.Key == "" || !ok || !cut {
		return Ref{}, false
	}
	return parseSuffix(sse.Name{Bucket: bucket, Key: facts.Key}, suffix, n.Name)
}

// parseSuffix reads the end of a manifest's name, and checks the whole.
func parseSuffix(object sse.Name, suffix, name string) (Ref, bool) {
	id, etag, _ := strings.Cut(suffix, "-")
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(sse.ManifestID{}) {
		return Ref{}, false
	}
	ref := Ref{Name: object, ID: sse.ManifestID(raw), ETag: etag}
	return ref, ref.objectName() == name
}
