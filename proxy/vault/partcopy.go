package vault

import (
	"context"
	"fmt"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/sse"
)

// PartCopy is a part that is a piece of another object.
type PartCopy struct {
	PartTarget
	// Source is the object that is read. If one of its conditions does not hold, that is
	// ErrPrecondition.
	Source Read
	// Range is the piece, nil for the whole object; its Last must be given. RangeFault is
	// what is wrong with how it is asked for: it is told only to whom may read the source.
	Range      *plaintext.Range
	RangeFault error
	// Long does what may take long while the client is kept waiting; nil does it at once.
	Long func(do func() error) error
}

// CopiedPart is a part that was copied.
type CopiedPart struct {
	SentPart
	// SourceVersion is the source's version id, "" if the storage did not say.
	SourceVersion string
}

// SourceRangeError says that a range of a copy's source does not lie within the source.
type SourceRangeError struct{ Size int64 }

// Error names the source's size in bytes.
func (e *SourceRangeError) Error() string {
	return fmt.Sprintf("range is not valid for a source of %d bytes", e.Size)
}

// PartCopy stores a piece of an object as a part of an upload: the source is read and
// encrypted anew, for every part has its own key. Errors are those of Part and of reading
// the source, *conditions.Error, *SourceRangeError, and ErrChanged.
func (v *Vault) PartCopy(ctx context.Context, c *caller.Caller, piece *PartCopy) (*CopiedPart, error) {
	p, err := v.partUpload(ctx, c, &piece.PartTarget)
	if err != nil {
		return nil, err
	}
	defer p.key.Zero()
	var version string
	err = whileChanging(func() (err error) {
		version, err = p.copy(ctx, piece)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &CopiedPart{SentPart: *p.sent(), SourceVersion: version}, nil
}

// copy looks the source up and stores the piece that is asked for. It returns the
// source's version. ErrChanged if it is another object by then.
func (p *partUpload) copy(ctx context.Context, piece *PartCopy) (version string, err error) {
	src, err := p.vault.look(ctx, p.caller, piece.Source)
	if err != nil {
		return "", err
	}
	defer src.zero()
	if err := piece.Source.Conditions.CheckSource(src.etag(), src.info.Modified); err != nil {
		return "", err
	}
	part, err := piece.within(src.size)
	if err != nil {
		return "", err
	}
	plain, err := src.open(ctx, p.caller, part)
	if err != nil {
		return "", err
	}
	defer func() { _ = plain.Close() }()
	need := p.digests()
	body := plaintext.NewCopied(plain, sse.Facts{}, need.MD5, need.Compute)
	return src.info.Version, patiently(piece.Long, func() error { return p.send(ctx, body, part.Length) })
}

// within returns the piece of a source of this size. *SourceRangeError.
func (piece *PartCopy) within(size int64) (sse.Range, error) {
	switch rng := piece.Range; {
	case piece.RangeFault != nil:
		return sse.Range{}, piece.RangeFault
	case rng == nil:
		return sse.Range{Length: size}, nil
	case rng.Last >= size:
		return sse.Range{}, &SourceRangeError{size}
	default:
		return sse.Range{Offset: rng.First, Length: rng.Last - rng.First + 1}, nil
	}
}
