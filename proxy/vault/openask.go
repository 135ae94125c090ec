package vault

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// request begins every request about the object.
func (o *opening) request() *storage.Get {
	return &storage.Get{
		Name: o.get.Name, Version: o.get.Version, Answer: o.get.Answer,
		Checksums: o.get.Checksum, // of use for plain objects only
	}
}

// send asks upstream as the caller. body is nil if head asks for none, else to be closed.
func (o *opening) send(ctx context.Context, get *storage.Get, head bool) (info *storage.Info, body io.ReadCloser, err error) {
	if head {
		info, err = o.vault.as(o.caller).Head(ctx, get)
		return info, nil, err
	}
	object, err := o.vault.as(o.caller).Get(ctx, get)
	if err != nil {
		return nil, nil, err
	}
	return &object.Info, object.ReadCloser, nil
}

// ask asks upstream for the object. A range is asked for where it is known to lie, else as
// if the object were one encrypted stream, which needs no look-up; where it lies elsewhere,
// packages or readPlain ask again.
func (o *opening) ask(ctx context.Context) (info *storage.Info, body io.ReadCloser, err error) {
	if info, body, err = o.askKnown(ctx); info != nil || err != nil {
		return info, body, err
	}
	get := o.request()
	if o.rng != nil && !o.get.Head {
		get.Range = o.rng.Packages()
	}
	info, body, err = o.send(ctx, get, o.get.Head || o.get.Part > 1) // where a part lies is not known yet; the first one lies first
	if errors.Is(err, storage.ErrRange) {                            // the conditions are judged before the range is
		info, body, err = o.send(ctx, o.request(), true)
		if err == nil && info.Part {
			err = fmt.Errorf("a part without a range: %w", storage.ErrLied)
		}
	}
	return info, body, err
}

// askKnown asks for exactly the packages of the range or part that is wanted, of the
// object that was there last. It returns nil if that is not known, or if another object is
// there now.
func (o *opening) askKnown(ctx context.Context) (*storage.Info, io.ReadCloser, error) {
	o.known = nil
	if o.cold || o.get.Head || o.rng == nil && o.get.Part == 0 {
		return nil, nil, nil
	}
	hint, ok := o.vault.layouts.get(o.version())
	if !ok {
		return nil, nil, nil
	}
	need, ok := o.needOf(o.vault.o.Manifests.Known(hint.ref))
	if !ok {
		return nil, nil, nil
	}
	get := o.request()
	get.IfMatch, get.Range = hint.stored, plaintext.Exactly(need)
	info, body, err := o.send(ctx, get, false)
	if errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrRange) {
		o.vault.layouts.forget(o.version())
		return nil, nil, nil
	}
	if err == nil {
		o.known = &knownPlace{hint, need}
	}
	return info, body, err
}

// version is the object as the request names it.
func (o *opening) version() objectVersion { return objectVersion{o.get.Name, o.get.Version} }

// needOf returns the encrypted bytes that the request needs of an object of these
// parts, and whether there are any.
func (o *opening) needOf(parts *sse.Parts) (sse.Range, bool) {
	if parts == nil {
		return sse.Range{}, false
	}
	var plain sse.Range
	if o.get.Part > 0 {
		for i, p := range parts.List() {
			if int(p.Number) == o.get.Part {
				plain = parts.Range(i)
			}
		}
	} else {
		var err error
		if plain, err = o.rng.Of(parts.PlainSize()); err != nil {
			return sse.Range{}, false
		}
	}
	return parts.Encrypted(plain), plain.Length > 0
}

// askAgain asks for the encrypted bytes that are needed, of the object that was just
// seen: parts of odd sizes lie elsewhere than one stream would, and a part number says
// nothing of where it lies.
func (o *opening) askAgain(ctx context.Context, r *Reader, need sse.Range, encSize int64) error {
	get := o.request()
	get.IfMatch, get.Range = r.source.info.ETag, plaintext.Exactly(need)
	info, body, err := o.send(ctx, get, false)
	if err != nil {
		return sealed.AsChanged(err)
	}
	r.again = body
	if err := sealed.CheckAnswer(info, need, encSize, true); err != nil {
		return err
	}
	if !sealed.SameRecord(info, r.source.info) { // a copy onto itself: another record, the same ETag
		return ErrChanged
	}
	return nil
}
