package vault

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// readPlain makes r an object that carries no record, in a bucket where the configuration
// allows that.
func (o *opening) readPlain(ctx context.Context, r *Reader) error {
	s := &r.source
	etag, modified := s.etag(), s.info.Modified
	if err := o.get.Conditions.Check(etag, modified); err != nil {
		return err
	}
	if (o.rng != nil || o.get.Part > 0) && !o.isRangeOf(s.info) {
		if err := o.askPlain(ctx, r, etag, o.get.Conditions.RangeHolds(etag, modified)); err != nil {
			return err
		}
	}
	info := s.info
	if o.rng != nil && info.Part && info.Total == 0 {
		return &plaintext.RangeError{Range: *o.rng}
	}
	if info.Size < 0 {
		return errNoLength
	}
	s.size = info.Size
	if info.Part {
		s.size = info.Total
	}
	r.Seen = *s.seen()
	r.ETag = etag // of what was judged
	r.Range, r.Partial = sse.Range{Offset: info.At.Offset, Length: info.Size}, info.Part
	r.plain = r.body
	if r.again != nil {
		r.plain = r.again
	}
	return nil
}

// isRangeOf says whether an answer is the request's own range of its object.
func (o *opening) isRangeOf(info *storage.Info) bool {
	if o.rng == nil || !info.Part || info.Total < 0 {
		return false
	}
	at, err := o.rng.Of(info.Total)
	return err == nil && at == info.At
}

// askPlain asks for the client's own range or part of the plain object that was just seen.
func (o *opening) askPlain(ctx context.Context, r *Reader, etag string, rangeValid bool) error {
	get := o.request()
	get.IfMatch = etag
	if o.get.Part > 0 {
		get.Part = o.get.Part
	} else if rangeValid {
		get.Range = o.rng.Plain()
	}
	info, body, err := o.send(ctx, get, o.get.Head)
	if o.get.Part > 0 && errors.Is(err, storage.ErrRange) {
		return ErrPartNumber // an answer to HEAD does not name its error
	}
	if err != nil {
		return sealed.AsChanged(err)
	}
	r.again, r.source.info = body, info
	if rec, err := sealed.RecordOf(info.Reserved); err != nil || rec != nil {
		return ErrChanged
	}
	return nil
}
