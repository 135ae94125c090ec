package vault

import (
	"context"
	"time"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/sse"
)

// copiedLayout is the manifest of a copy that upstream makes.
type copiedLayout struct {
	ref     manifest.Ref
	facts   sse.Facts
	parts   *sse.Parts
	written time.Time
}

// write writes the manifest, before upstream begins.
func (l *copiedLayout) write(ctx context.Context, to *manifest.Store) error {
	l.written = time.Now()
	return to.Put(ctx, l.ref, l.facts, l.parts)
}

// keep writes the manifest once more where upstream took long for the copy, whose client may have
// gone: upstream takes hours for what is large, no object named the manifest until now, and a sweep
// takes what nothing names. That it is there still is no error. Nil has nothing to keep.
func (l *copiedLayout) keep(ctx context.Context, at *manifest.Store) error {
	if l == nil {
		return nil
	}
	now := time.Now()
	// The second is by the clock on the wall, which goes on while a machine is suspended.
	if now.Sub(l.written) < commitLimit && now.Round(0).Sub(l.written.Round(0)).Abs() < commitLimit {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	return at.Put(ctx, l.ref, l.facts, l.parts)
}
