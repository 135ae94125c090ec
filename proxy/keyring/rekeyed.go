package keyring

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/sse"
)

// ErrWithheld says that an object was re-keyed, and that MinIO does not have, or does not
// give, what was written of that.
var ErrWithheld = errors.New("the object was re-keyed, and what says how is not what was written")

// Rekeyed says whose wraps count: rekey.Book. Its errors are ErrWithheld, those of the
// storage and those of the key service.
type Rekeyed interface {
	// Of returns the wrap that counts for a record, nil if the record itself does. in is
	// false for a record of which no wrap counts.
	Of(ctx context.Context, name sse.Name, r *sse.Record) (w *sse.Wrap, in bool, err error)
	// Prepare reads what Of will be asked for, of objects of one bucket, with one request.
	Prepare(ctx context.Context, bucket string, of []RecordOf) error
	// Epoch returns a number that is another one when other wraps of a bucket count, 0 for a
	// bucket in which none ever did.
	Epoch(ctx context.Context, bucket string) (uint64, error)
	// Seen is Epoch as this process knew it last: it asks nobody, and may be out of date.
	Seen(bucket string) uint64
	// Settled says whether what Of says of a record stays so until the epoch changes.
	Settled(ctx context.Context, name sse.Name, r *sse.Record) bool
	// Ahead makes it likely that Of need not wait.
	Ahead()
}

// RecordOf is an object's record.
type RecordOf struct {
	Name   sse.Name
	Record *sse.Record
}

// nothingRekeyed is a Rekeyed without wraps that count.
type nothingRekeyed struct{}

// Of implements Rekeyed.
func (nothingRekeyed) Of(context.Context, sse.Name, *sse.Record) (*sse.Wrap, bool, error) {
	return nil, false, nil
}

// Prepare implements Rekeyed.
func (nothingRekeyed) Prepare(context.Context, string, []RecordOf) error { return nil }

// Epoch implements Rekeyed.
func (nothingRekeyed) Epoch(context.Context, string) (uint64, error) { return 0, nil }

// Seen implements Rekeyed.
func (nothingRekeyed) Seen(string) uint64 { return 0 }

// Settled implements Rekeyed.
func (nothingRekeyed) Settled(context.Context, sse.Name, *sse.Record) bool { return true }

// Ahead implements Rekeyed.
func (nothingRekeyed) Ahead() {}

// Sealing is how an object's key is sealed: as its record says, or as a wrap that counts. It
// gives nobody a right.
type Sealing struct {
	name   sse.Name
	record *sse.Record
	// wrap is the one that counts, nil if the record does; rekeyed says that nothing else
	// opens the object, so that no other wrap is looked for.
	wrap    *sse.Wrap
	rekeyed bool
}

// Sealing finds out how an object's key is sealed. Errors are those of Rekeyed.
func (k *Ring) Sealing(ctx context.Context, name sse.Name, r *sse.Record) (*Sealing, error) {
	w, in, err := k.o.Rekeyed.Of(ctx, name, r)
	if err != nil {
		return nil, fmt.Errorf("how %q is encrypted: %w", name.Key, err)
	}
	return &Sealing{name, r, w, in}, nil
}

// SealingAs is the sealing of an object of which a wrap is known to count, nil if none is.
func SealingAs(name sse.Name, r *sse.Record, w *sse.Wrap) *Sealing {
	return &Sealing{name, r, w, w != nil}
}

// Rekeyed returns what the ring knows of objects that were re-keyed.
func (k *Ring) Rekeyed() Rekeyed { return k.o.Rekeyed }

// Name returns the object's name.
func (s *Sealing) Name() sse.Name { return s.name }

// Encryption returns how the object is encrypted: what clients are told, and what rights are
// judged by.
func (s *Sealing) Encryption() sse.Encryption {
	if s.wrap == nil {
		return s.record.Encryption()
	}
	return s.wrap.Encryption(s.record)
}

// under returns how a wrap, or the record if w is nil, seals the key, and the canonical
// context of its DEK. sse.ErrTampered.
func (s *Sealing) under(w *sse.Wrap) (sse.Encryption, []byte, error) {
	as := s.record.Encryption()
	if w != nil {
		as = w.Encryption(s.record)
	}
	encContext, err := encryptionContext(as.Mode, s.name, as.ClientContext, as.BucketKey)
	if err != nil {
		return as, nil, fmt.Errorf("context of the record: %w", sse.ErrTampered)
	}
	return as, encContext, nil
}
