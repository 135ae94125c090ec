package maintenance

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/sse"
)

// sealedOnce is one record with its wrap.
type sealedOnce struct {
	manifest.WrapRef
	record *sse.Record
	wrap   *sse.Wrap // the last one, nil if there is none
	// anew says that a wrap takes the place of whatever is there.
	anew bool
	// candidate is what Rewrap.Only judges, but for the mode and KMS key; nil if it judges nothing.
	candidate *Candidate
	done      Rewrapped
	// mark is what is told when a re-wrap is done with it, nil for nobody.
	mark *progress.Mark
}

// findWraps gives each record its wrap, with one listing for all.
func (k *Keeper) findWraps(ctx context.Context, bucket string, todo []*sealedOnce) error {
	if len(todo) == 0 {
		return nil
	}
	first, last := spanOf(todo)
	found := make(map[manifest.WrapRef]*sse.Wrap)
	if err := k.o.Wraps.Range(ctx, bucket, first, last, func(ref manifest.WrapRef, w *sse.Wrap) { found[ref] = w }); err != nil {
		return err
	}
	for _, s := range todo {
		if s.wrap = found[s.WrapRef]; s.wrap != nil {
			continue
		}
		if err := k.findHashed(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// findHashed gives a record its wrap if no listing finds it.
func (k *Keeper) findHashed(ctx context.Context, s *sealedOnce) error {
	if s.Mirrored() {
		return nil
	}
	w, err := k.o.Wraps.Find(ctx, s.Name, s.record)
	if sealed.MayPass(err) {
		return err
	}
	s.wrap = w // what does not open is written anew
	return nil
}

// asItIs returns how the object is encrypted now, as clients are told: by the wrap, if that
// counts, or by the record. counts says which. A wrap that may be out of date is read anew.
// keyring.ErrWithheld, or what keeps it from being told.
func (k *Keeper) asItIs(ctx context.Context, s *sealedOnce) (as sse.Encryption, counts bool, err error) {
	counts, err = k.o.Rekeyed.Counts(ctx, s.WrapRef, s.record, s.wrap)
	if errors.Is(err, keyring.ErrWithheld) {
		s.wrap, counts, err = k.o.Rekeyed.Of(ctx, s.Name, s.record)
		counts = counts && s.wrap != nil
	}
	if err != nil {
		return sse.Encryption{}, false, err
	}
	if !counts {
		return s.record.Encryption(), false, nil
	}
	return s.wrap.Encryption(s.record), true, nil
}

// noted is an upload that is under way.
type noted struct {
	upload *manifest.Upload
	// sealed is nil for plain storage; err says why the record cannot be read.
	sealed *sealedOnce
	err    error
}

// uploadsOf returns the uploads of a bucket that are under way.
func (k *Keeper) uploadsOf(ctx context.Context, bucket string) (all []noted, err error) {
	err = k.o.Ledger.Uploads(ctx, bucket, "", func(u *manifest.Upload) { all = append(all, noted{upload: u}) })
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := k.lookUp(ctx, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lookUp reads an upload's record and finds its wrap.
func (k *Keeper) lookUp(ctx context.Context, one *noted) error {
	if one.upload.Record == "" {
		return nil
	}
	rec, err := sse.ParseRecord(one.upload.Record)
	if err != nil {
		one.err = err
		return nil
	}
	one.sealed = &sealedOnce{WrapRef: manifest.WrapRef{Name: one.upload.Name(), Record: rec.Digest()}, record: rec}
	if rec.Mode == sse.ModeC {
		return nil
	}
	w, err := k.o.Wraps.Find(ctx, one.upload.Name(), rec)
	if sealed.MayPass(err) {
		return err
	}
	one.sealed.wrap = w // one that does not open is none
	return nil
}
