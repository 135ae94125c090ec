package maintenance

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/sse"
)

// What a re-wrap says of itself in the book of re-keyed objects.

// ensure has the wraps of what is to be sealed count, and those that an earlier run of the
// same kind, or an update that was cut off, may have left: of records that name the KMS key,
// which clients would be told else.
func (r *rewrap) ensure(ctx context.Context, todo []*sealedOnce) error {
	if r.o.DryRun || r.o.CountOnly {
		return nil
	}
	var records, wrapped []*sse.Record
	for _, s := range todo {
		in, err := r.inScope(ctx, s)
		switch {
		case in && err == nil:
			records = append(records, s.record)
		case s.wrap != nil && (r.o.Key == "" || s.done.FromKey == r.o.Key || s.done.FromKey == r.o.To || s.record.KMSKey == r.o.Key):
			wrapped = append(wrapped, s.record)
		}
	}
	return r.run.Ensure(ctx, records, wrapped)
}

// look reads a wrap that somebody else wrote meanwhile, and says whether the key is still to
// be sealed anew.
func (r *rewrap) look(ctx context.Context, s *sealedOnce) (in bool, err error) {
	s.wrap, err = r.run.Current(ctx, s.WrapRef, s.record)
	if s.anew = errors.Is(err, keyring.ErrWithheld); s.anew { // what is there is nobody's
		s.wrap, err = nil, nil
	}
	if err != nil {
		return false, err
	}
	in, err = r.inScope(ctx, s)
	if !in {
		s.done.ToVersion = s.done.FromVersion
	}
	return in, err
}

// end says that a bucket is done, with an error or without. What was written counts in any
// case.
func (r *rewrap) end(ctx context.Context, err error) error {
	known, failed := r.run.End(context.WithoutCancel(ctx))
	if failed == nil {
		r.known = known
	}
	return errors.Join(err, failed)
}

// obeyed waits until every proxy goes by what was written.
func (r *rewrap) obeyed(ctx context.Context) error {
	if r.o.DryRun || r.o.CountOnly {
		return nil
	}
	if ago, before := r.trail.closed(); before {
		return r.keeper.o.Rekeyed.ObeyedAfter(ctx, ago)
	}
	return r.keeper.o.Rekeyed.Obeyed(ctx, r.known)
}
