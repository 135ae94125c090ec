package manifest

import (
	"context"
	"errors"
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
	var known lookedUp
	return s.each(ctx, root, func(n system.Note) error {
		if !s.old(n) {
			return nil
		}
		ref, err := refOf(n)
		if errors.Is(err, system.ErrTampered) {
			s.Skip("wrap", n.Name, err)
			return nil
		}
		if err != nil {
			return fmt.Errorf("open wrap: %w", err)
		}
		if live.records[ref.Record] || len(live.objects) > 0 && live.objects[digestName(ref.Name)] {
			s.seen.forget(n)
			return nil
		}
		needed, err := s.judge(ctx, &known, "wrap", n, ref.Name, func() (bool, error) { return known.records[ref.Record], nil })
		if err != nil {
			return err
		}
		if needed {
			s.seen.forget(n)
			return nil
		}
		return s.remove(ctx, "wrap", n)
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
