package manifest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrUncertain says that it cannot be told what one object or upload needs; what
// belongs to it stays, and the pass goes on with the others.
var ErrUncertain = errors.New("what is needed cannot be told")

// storeTimeout bounds the write of what a pass saw.
const storeTimeout = 30 * time.Second

// Lookups ask upstream what is still there, under the service identity. What
// concerns the one object only is an ErrUncertain.
type Lookups interface {
	// UploadExists says whether upstream knows a multipart upload.
	UploadExists(ctx context.Context, object sse.Name, id string) (bool, error)
	// Named returns what the versions of an object name in the system bucket: manifests,
	// and by their records' digests wraps.
	Named(ctx context.Context, object sse.Name) (Named, error)
	// Hidden says whether upstream may have versions of an object that it does not
	// list, so that Manifests cannot know what they name.
	Hidden(ctx context.Context, object sse.Name) (bool, error)
}

// Named is what versions of an object need in the system bucket.
type Named struct {
	Manifests []Ref
	Records   []sse.RecordDigest
}

// Sweeper removes what finished, aborted or crashed writes left in the system
// bucket.
type Sweeper struct {
	// System and Lookups are required.
	System  *system.Store
	Lookups Lookups
	// Age is how old everything removed is at least, and how long ago another pass
	// found that nothing needs it.
	Age time.Duration
	// Now is the time on upstream's clock, Ours that on this machine's.
	Now, Ours time.Time
	// DryRun reports, and neither removes nor notes anything.
	DryRun bool
	// Report is called with the name of each thing that is removed. Required.
	Report func(what, name string)
	// Unneeded, if not nil, is called with the name of each thing that nothing needs, be it
	// removed or not.
	Unneeded func(what, name string)
	// Skip is called for what stays because it, or what it belongs to, cannot be
	// judged. Required.
	Skip func(what, name string, err error)

	// Found, if not nil, is told what there is.
	Found *Found

	seen *sightings
}

// Run makes one pass over uploads, parts and manifests, and returns how much it
// found that waits for a later pass. Nothing is removed on the word of a listing
// alone, nor on one look: upstream is asked about each upload and each object, in two
// passes at least Age apart by both clocks. Errors but tampering end the pass; what
// was removed until then stays removed.
func (s *Sweeper) Run(ctx context.Context) (waiting int, err error) {
	now := sighting{ours: s.Ours.Unix(), upstreams: s.Now.Unix()}
	if s.seen, err = readSightings(ctx, s.System, now); err != nil {
		return 0, err
	}
	err = s.pass(ctx)
	if !s.DryRun {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		err = errors.Join(err, s.seen.store(ctx, err == nil))
	}
	return len(s.seen.seen), err
}

func (s *Sweeper) pass(ctx context.Context) error {
	live, err := s.sweepUploads(ctx)
	if err != nil {
		return err
	}
	if err := s.sweepParts(ctx, live); err != nil {
		return err
	}
	if err := s.sweepManifests(ctx, live); err != nil {
		return err
	}
	return s.sweepWraps(ctx, live)
}

// liveUploads are the uploads that stay.
type liveUploads struct {
	parts     map[string]bool // by the prefix of their parts' names
	manifests map[sse.ManifestID]bool
	records   map[sse.RecordDigest]bool
	// objects are those, by bucket and digest of the key, of which an upload cannot be
	// read: its manifest may be any.
	objects map[string]bool
}

// sweepUploads drops uploads that upstream does not have any more.
func (s *Sweeper) sweepUploads(ctx context.Context) (*liveUploads, error) {
	live := &liveUploads{
		parts: make(map[string]bool), manifests: make(map[sse.ManifestID]bool), records: make(map[sse.RecordDigest]bool), objects: make(map[string]bool),
	}
	for _, root := range []string{"uploads/", "uploads-h/"} {
		if err := s.each(ctx, root, func(n system.Note) error { return s.sweepUpload(ctx, n, live) }); err != nil {
			return nil, err
		}
	}
	return live, nil
}

func (s *Sweeper) sweepUpload(ctx context.Context, n system.Note, live *liveUploads) error {
	content, err := s.System.OpenNote(ctx, uploadKind, n)
	var u *Upload
	if err == nil {
		u, err = parseUpload(content)
	}
	if errors.Is(err, system.ErrTampered) { // it is not ours to judge, nor is what belongs to it
		s.Skip("upload", n.Name, err)
		live.keep(n.Name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("open upload: %w", err)
	}
	stays := true
	if s.old(n) {
		exists, err := s.Lookups.UploadExists(ctx, u.Name(), u.ID)
		stays = exists || err != nil
		if err = s.skip("upload", n.Name, err); err != nil {
			return fmt.Errorf("look up upload: %w", err)
		}
	}
	if stays {
		s.seen.forget(n)
		live.manifests[u.Manifest] = true
		if rec, err := sse.ParseRecord(u.Record); err == nil {
			live.records[rec.Digest()] = true
		}
	} else if s.seen.unneeded(n, s.Age) {
		return s.drop(ctx, n, u)
	}
	live.parts[partPrefix(u.ID)] = true // they go with the upload
	return nil
}

func (s *Sweeper) drop(ctx context.Context, n system.Note, u *Upload) error {
	s.Report("upload", u.Bucket+"/"+u.Key+" "+u.ID)
	s.seen.forget(n)
	if s.DryRun {
		return nil
	}
	return NewLedger(s.System).Drop(ctx, u.Name(), u.ID)
}

// keep protects what belongs to an upload of which only the note's name is known.
func (l *liveUploads) keep(note string) {
	if rest, ok := strings.CutPrefix(note, "uploads-h/"); ok {
		bucket, rest, _ := strings.Cut(rest, "/") // which may have dashes in its name
		digest, id, _ := strings.Cut(rest, "-")
		l.objects[bucket+"/"+digest], l.parts[partPrefix(id)] = true, true
		return
	}
	bucket, rest, _ := strings.Cut(strings.TrimPrefix(note, "uploads/"), "/")
	if i := strings.LastIndex(rest, separator); i >= 0 {
		l.objects[digestName(sse.Name{Bucket: bucket, Key: rest[:i]})] = true
		l.parts[partPrefix(rest[i+1:])] = true
	}
}

func digestName(object sse.Name) string {
	sum := sha256.Sum256([]byte(object.Key))
	return object.Bucket + "/" + hex.EncodeToString(sum[:])
}

// sweepParts removes parts that were noted after their upload had ended.
func (s *Sweeper) sweepParts(ctx context.Context, live *liveUploads) error {
	return s.each(ctx, "parts/", func(n system.Note) error {
		i := strings.LastIndexByte(n.Name, '/')
		if live.parts[n.Name[:i+1]] || !s.old(n) {
			s.seen.forget(n)
			return nil
		}
		return s.remove(ctx, "part", n)
	})
}

// sweepManifests removes manifests that no version of their object names.
func (s *Sweeper) sweepManifests(ctx context.Context, live *liveUploads) error {
	mirroredRef := func(n system.Note) (Ref, error) { return parseObjectName(n.Name) }
	if err := s.sweepManifestsIn(ctx, mirrored, live, mirroredRef); err != nil {
		return err
	}
	return s.sweepManifestsIn(ctx, hashed, live, func(n system.Note) (Ref, error) { return s.openHashed(ctx, n) })
}

// sweepManifestsIn removes what nothing names of the manifests whose names begin
// with root. refOf tells whose one is.
func (s *Sweeper) sweepManifestsIn(ctx context.Context, root string, live *liveUploads, refOf func(system.Note) (Ref, error)) error {
	return s.sweepNotes(ctx, "manifest", root, live, func(n system.Note) (note, error) {
		ref, err := refOf(n)
		return note{
			object: ref.Name, ofUpload: live.manifests[ref.ID],
			named: func(known *lookedUp) (bool, error) {
				if known.named[ref] {
					return true, nil
				}
				return s.copied(ctx, known, ref)
			},
		}, err
	})
}

// note is what a note in the system bucket is about.
type note struct {
	object sse.Name
	// ofUpload says that an upload under way needs it.
	ofUpload bool
	// named says whether a version of the object needs it, by what is known of them.
	named func(*lookedUp) (bool, error)
}

// sweepNotes removes what nothing needs of the notes whose names begin with root. about
// tells what one is about; those of which it cannot, because they are not authentic, stay.
func (s *Sweeper) sweepNotes(ctx context.Context, what, root string, live *liveUploads, about func(system.Note) (note, error)) error {
	var known lookedUp
	return s.each(ctx, root, func(n system.Note) error {
		if !s.old(n) {
			return nil
		}
		is, err := about(n)
		if errors.Is(err, system.ErrTampered) {
			s.Skip(what, n.Name, err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("open %s: %w", what, err)
		}
		needed := is.ofUpload || len(live.objects) > 0 && live.objects[digestName(is.object)]
		if !needed {
			needed, err = s.judge(ctx, &known, what, n, is)
		}
		switch {
		case err != nil:
			return err
		case needed:
			s.seen.forget(n)
			return nil
		}
		return s.remove(ctx, what, n)
	})
}

// lookedUp is what upstream says of one object; notes come object by object.
type lookedUp struct {
	object  sse.Name
	named   map[Ref]bool
	records map[sse.RecordDigest]bool
	// hidden says that upstream may have what it does not list. It is asked, and
	// everything else once more, before the first note is found unneeded.
	hidden, twice bool
	// uncertain says that it cannot be told what is needed.
	uncertain bool
}

// judge says whether a version of the object that a note is about needs it, or may do so.
func (s *Sweeper) judge(ctx context.Context, known *lookedUp, what string, n system.Note, is note) (bool, error) {
	if is.object != known.object || known.named == nil {
		if err := s.lookUp(ctx, known, what, n, is.object); err != nil {
			return false, err
		}
	}
	if known.uncertain {
		return true, nil
	}
	if needed, err := is.named(known); err != nil || needed {
		return needed, err
	}
	if !known.twice {
		hidden, failed := s.Lookups.Hidden(ctx, is.object)
		if err := s.skip(what, n.Name, failed); err != nil {
			return false, fmt.Errorf("look up object: %w", err)
		}
		hidden = hidden || failed != nil
		if !hidden { // it may have been so a moment ago
			if err := s.lookUp(ctx, known, what, n, is.object); err != nil {
				return false, err
			}
		}
		known.hidden, known.twice = hidden, true
	}
	if known.hidden || known.uncertain {
		return true, nil
	}
	return is.named(known)
}

// copied says whether a version of ref's object came from ref's upload and has no
// manifest of its own name: it was copied to where it is, ETags differ, and any
// manifest of the upload may be its own.
func (s *Sweeper) copied(ctx context.Context, known *lookedUp, ref Ref) (bool, error) {
	for named := range known.named {
		if named.ID != ref.ID || named.Name != ref.Name || named.ETag == "" {
			continue
		}
		_, err := s.System.GetNote(ctx, kind, named.objectName())
		switch {
		case errors.Is(err, system.ErrNotFound), errors.Is(err, system.ErrTampered):
			return true, nil
		case err != nil:
			return false, fmt.Errorf("look up manifest: %w", err)
		}
	}
	return false, nil
}

// lookUp asks for what an object's versions name.
func (s *Sweeper) lookUp(ctx context.Context, known *lookedUp, what string, n system.Note, object sse.Name) error {
	found, failed := s.Lookups.Named(ctx, object)
	if err := s.skip(what, n.Name, failed); err != nil {
		return fmt.Errorf("look up object: %w", err)
	}
	*known = lookedUp{
		object: object, named: make(map[Ref]bool, len(found.Manifests)), records: make(map[sse.RecordDigest]bool, len(found.Records)),
		uncertain: failed != nil,
	}
	for _, r := range found.Manifests {
		known.named[r] = true
	}
	for _, d := range found.Records {
		known.records[d] = true
	}
	return nil
}

// skip reports what cannot be judged. It returns the error if that ends the pass.
func (s *Sweeper) skip(what, name string, err error) error {
	if err == nil || !errors.Is(err, ErrUncertain) {
		return err
	}
	s.Skip(what, name, err)
	return nil
}

func (s *Sweeper) old(n system.Note) bool {
	return !n.Modified.IsZero() && n.Modified.Before(s.Now.Add(-s.Age))
}

// remove removes a note that nothing needs, if that is not found for the first time.
func (s *Sweeper) remove(ctx context.Context, what string, n system.Note) error {
	if s.Unneeded != nil {
		s.Unneeded(what, n.Name)
	}
	if !s.seen.unneeded(n, s.Age) {
		return nil
	}
	s.Report(what, n.Name)
	s.seen.forget(n)
	if s.DryRun {
		return nil
	}
	_, err := s.System.Delete(ctx, n.Name, func(other string) bool { return other != n.Name })
	return err
}

// each calls f for every note whose name begins with prefix.
func (s *Sweeper) each(ctx context.Context, prefix string, f func(system.Note) error) error {
	for after := ""; ; {
		notes, more, err := s.System.ListNotes(ctx, prefix, after)
		if err != nil {
			return err
		}
		for _, n := range notes {
			after = n.Name
			s.Found.count(prefix)
			if err := f(n); err != nil {
				return err
			}
		}
		if !more || len(notes) == 0 {
			return nil
		}
	}
}

// parseObjectName reads a mirrored manifest name back. system.ErrTampered.
func parseObjectName(name string) (Ref, error) {
	bucket, rest, ok := strings.Cut(strings.TrimPrefix(name, mirrored), "/")
	i := strings.LastIndex(rest, separator)
	if !ok || i < 0 {
		return Ref{}, fmt.Errorf("no name of a manifest: %w", system.ErrTampered)
	}
	return parseSuffix(sse.Name{Bucket: bucket, Key: rest[:i]}, rest[i+1:], name)
}

// openHashed says whose a manifest is whose name holds a digest of the key only.
// system.ErrTampered.
func (s *Sweeper) openHashed(ctx context.Context, n system.Note) (Ref, error) {
	content, err := s.System.OpenNote(ctx, kind, n)
	if err != nil {
		return Ref{}, err
	}
	facts, err := sse.ParseManifest(content)
	bucket, rest, ok := strings.Cut(strings.TrimPrefix(n.Name, hashed), "/")
	_, suffix, cut := strings.Cut(rest, "-")
	if err != nil || facts.Key == "" || !ok || !cut {
		return Ref{}, fmt.Errorf("no manifest with a key in it: %w", system.ErrTampered)
	}
	return parseSuffix(sse.Name{Bucket: bucket, Key: facts.Key}, suffix, n.Name)
}

// parseSuffix reads the end of a manifest's name, and checks the whole.
func parseSuffix(object sse.Name, suffix, name string) (Ref, error) {
	id, etag, _ := strings.Cut(suffix, "-")
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != len(sse.ManifestID{}) {
		return Ref{}, fmt.Errorf("no name of a manifest: %w", system.ErrTampered)
	}
	ref := Ref{Name: object, ID: sse.ManifestID(raw), ETag: etag}
	if ref.objectName() != name {
		return Ref{}, fmt.Errorf("another manifest's name: %w", system.ErrTampered)
	}
	return ref, nil
}
