package offline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/system"
)

// Sample says how many objects are looked at. The zero value is all of them.
type Sample struct {
	// Each is how many of each bucket, chosen at random among all; 0 for no bound.
	Each int
	// Share is the share of all objects, above 0 and below 1; 0 for all.
	Share float64
}

// ParseSample reads "all", a number of objects of each bucket, or a share as "5%".
func ParseSample(text string) (Sample, error) {
	if text == "all" {
		return Sample{}, nil
	}
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		if share, err := strconv.ParseFloat(percent, 64); err == nil && share > 0 && share <= 100 {
			return Sample{Share: share / 100}, nil
		}
	} else if each, err := strconv.Atoi(text); err == nil && each > 0 {
		return Sample{Each: each}, nil
	}
	return Sample{}, fmt.Errorf("sample %q: give all, a number of objects of each bucket, or a share as 5%%", text)
}

// Proven counts what Prove found. Versions count as objects.
type Proven struct {
	// Seen are all, Opened those whose keys, and manifests where they need one, opened.
	Seen, Opened int64
	// Plain have no record and Customer keys of their customers: neither needs a KMS key.
	Plain, Customer int64
	Failed          int64
	// System says that the bucket rules opened, which are sealed as manifests are.
	System bool
}

// Proof is a look at whether keys open the objects of a source.
type Proof struct {
	Reader *Reader
	From   Source
	// Want selects; nothing selects all buckets but SystemBucket.
	Want         []Selection
	SystemBucket string
	Sample       Sample
	// Failed is told of each object that does not open; it may be nil.
	Failed func(*Object, error)
}

// Run opens the keys of a sample of all objects, and reads no data. The error is of the
// source, or of the bucket rules if they are there and do not open.
func (p *Proof) Run(ctx context.Context) (found Proven, err error) {
	if found.System, err = p.Reader.opensSystem(ctx); err != nil {
		return found, err
	}
	batch := Batch{From: p.From, Want: p.Want, SystemBucket: p.SystemBucket}
	want, err := batch.want()
	if err != nil {
		return found, err
	}
	for _, s := range want {
		if err := p.one(ctx, s, &found); err != nil {
			return found, fmt.Errorf("bucket %q: %w", s.Bucket, err)
		}
	}
	return found, nil
}

// one looks at what a selection has.
func (p *Proof) one(ctx context.Context, s Selection, found *Proven) error {
	var chosen []*Object
	var seen int
	err := p.From.Walk(ctx, s.Bucket, s.Key, func(o *Object) error {
		if o.Marker || !s.has(o.Name.Key) {
			return ctx.Err()
		}
		seen++
		found.Seen++
		switch {
		case p.Sample.Each > 0: // each of all has the same chance
			if len(chosen) < p.Sample.Each {
				chosen = append(chosen, o)
			} else if i := rand.IntN(seen); i < p.Sample.Each { //nolint:gosec // a sample
				chosen[i] = o
			}
		case p.Sample.Share == 0 || rand.Float64() < p.Sample.Share: //nolint:gosec // a sample
			p.open(ctx, o, found)
		}
		return ctx.Err()
	})
	for _, o := range chosen {
		if err == nil {
			p.open(ctx, o, found)
			err = ctx.Err()
		}
	}
	return err
}

func (p *Proof) open(ctx context.Context, o *Object, found *Proven) {
	opened, err := p.Reader.Open(ctx, o)
	if err == nil {
		opened.Zero()
		err = opened.Digestless // a proxy needs it
	}
	switch {
	case err == nil:
		found.Opened++
	case errors.Is(err, ErrPlain):
		found.Plain++
	case errors.Is(err, ErrCustomerKey):
		found.Customer++
	case ctx.Err() != nil:
	default:
		found.Failed++
		if p.Failed != nil {
			p.Failed(o, err)
		}
	}
}

// opensSystem says whether the index of bucket rules is there. An error if it does not open.
func (r *Reader) opensSystem(ctx context.Context) (bool, error) {
	_, _, err := r.system.Get(ctx, "bucket-rules", "rules/index", "")
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, system.ErrNotFound):
		return false, nil
	}
	return false, fmt.Errorf("open the system bucket's objects: %w", err)
}
