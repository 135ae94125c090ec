package manifest

import (
	"context"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// sweepWraps removes wraps of records that no version of their object has any more, and no
// upload.
func (s *Sweeper) sweepWraps(ctx context.Context, live *liveUploads) error {
	mirroredWrap := func(n system.Note) (WrapRef, error) { return parseWrapName(n.Name) }
	if err := s.sweepWrapsIn(ctx, wrapRoot+"/", live, mirroredWrap); err != nil {
		return err
	}
	return s.sweepWrapsIn(ctx, hashedWraps, live, func(n system.Note) (WrapRef, error) { return s.openHashedWrap(ctx, n) })
}

// sweepWrapsIn is sweepManifestsIn for wraps.
func (s *Sweeper) sweepWrapsIn(ctx context.Context, root string, live *liveUploads, refOf func(system.Note) (WrapRef, error)) error {
	return s.sweepNotes(ctx, "wrap", root, live, func(n system.Note) (note, error) {
		ref, err := refOf(n)
		return note{
			object: ref.Name, ofUpload: live.records[ref.Record],
			named: func(known *lookedUp) (bool, error) { return known.records[ref.Record], nil },
		}, err
	})
}

// openHashedWrap says whose a wrap is whose name holds a digest of the key only.
// system.ErrTampered.
func (s *Sweeper) openHashedWrap(ctx context.Context, n system.Note) (WrapRef, error) {
	content, err := s.System.OpenNote(ctx, wrapKind, n)
	if err != nil {
		return WrapRef{}, err
	}
	w, err := sse.ParseWrap(content)
	bucket, rest, ok := strings.Cut(strings.TrimPrefix(n.Name, hashedWraps), "/")
	_, suffix, cut := strings.Cut(rest, "-")
	if err != nil || w.Key == "" || !ok || !cut {
		return WrapRef{}, fmt.Errorf("no wrap with a key in it: %w", system.ErrTampered)
	}
	return parseWrapSuffix(sse.Name{Bucket: bucket, Key: w.Key}, suffix, n.Name)
}
