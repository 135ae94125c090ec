package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// readTries is how often a read of an object that is being overwritten is begun.
const readTries = 5

// whileChanging does something that reads an object in more than one request, and
// begins anew when the object was overwritten between two of them: no condition of
// the client's has failed then. ErrChanged if that happens again and again.
func whileChanging(do func() error) (err error) {
	for range readTries {
		if err = do(); !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return err
}

// asChanged is for the error of a request that was pinned to an object that was seen
// before. ErrChanged if that is no longer the current one.
func asChanged(err error) error {
	if errors.Is(err, storage.ErrPrecondition) {
		return fmt.Errorf("%w (%v)", ErrChanged, err) //nolint:errorlint // not the client's condition
	}
	return err
}

// Read names an object that is read, and the customer key that it needs.
type Read struct {
	Name    sse.Name
	Version string // "" for the current one
	// Customer is the key of SSE-C, nil if none is given.
	Customer *sse.Secret
	// Conditions are judged on what clients know of the object.
	Conditions ReadConditions
	// Checksum says that the caller wants to know the object's checksum.
	Checksum bool
}

// Seen is an object as clients know it.
type Seen struct {
	Name sse.Name
	// ETag is in quotes.
	ETag string
	// Size is the plaintext's length in bytes.
	Size     int64
	Modified time.Time
	// Version is the version id, "" if the storage did not say.
	Version string
	// Meta is what the storage keeps of it by its headers' names. What it says of
	// encryption, sizes and checksums is about the ciphertext, but for a plain object.
	Meta storage.Metadata
	// Record says how it is encrypted; nil for a plain object.
	Record *sse.Record
	// Facts are what is known of the plaintext; nothing of a plain object.
	Facts sse.Facts
	// Restored says that its manifest was found by its data.
	Restored bool
}

// source is an object that an operation reads.
type source struct {
	vault *Vault
	read  Read
	info  *storage.Info
	// record and object are nil for a plain object.
	record *sse.Record
	object *object
	size   int64
}

// look looks an object up as the caller and opens its record. It is to be zeroed.
func (v *Vault) look(ctx context.Context, c *Caller, read Read) (*source, error) {
	info, err := v.as(c).Head(ctx, &storage.Get{Name: read.Name, Version: read.Version, Checksums: true}) // of plain objects
	if err != nil {
		return nil, err
	}
	s := &source{vault: v, read: read, info: info, size: info.Size}
	if s.record, err = recordOf(info.Reserved); err != nil {
		return nil, err
	}
	if s.size < 0 {
		return nil, errNoLength
	}
	if err := v.readable(s.record, read); err != nil || s.record == nil {
		return s, err
	}
	if s.object, err = v.openObject(ctx, c.Keys, read.Name, s.record, info, read.Customer, read.Checksum); err != nil {
		return nil, err
	}
	if s.record.Layout == sse.OneStream {
		if err := checkLength(info, sse.EncSize(s.record.PlainSize)); err != nil {
			s.zero()
			return nil, err
		}
	}
	s.size = s.object.size
	return s, nil
}

// readable says whether an object may be read as it is asked for: a plain one where the
// configuration allows it, and with a customer key what has one.
func (v *Vault) readable(rec *sse.Record, read Read) error {
	switch {
	case rec == nil && !v.o.PlainRead.Match(read.Name.Bucket):
		return ErrPlainObject
	case rec == nil && read.Customer != nil:
		return ErrCustomerKeyUnused
	case rec != nil && read.Customer != nil && rec.Mode != sse.ModeC:
		return keyring.ErrNoCustomerKey
	}
	return nil
}

func (s *source) zero() {
	if s != nil && s.object != nil {
		s.object.zero()
	}
}

// etag is the source's ETag as clients know it.
func (s *source) etag() string {
	if s.object != nil {
		return s.object.etag()
	}
	return clientETag(nil, nil, s.info.ETag)
}

// seen is the source as clients know it.
func (s *source) seen() *Seen {
	seen := &Seen{
		Name: s.read.Name, ETag: s.etag(), Size: s.size, Modified: s.info.Modified, Version: s.info.Version,
		Meta: s.info.Meta, Record: s.record,
	}
	if s.object != nil {
		seen.Facts, seen.Restored = s.object.facts, s.object.restored
	}
	return seen
}

// open opens a part of the plaintext, pinned to what was looked up. ErrChanged if that is
// no longer there.
func (s *source) open(ctx context.Context, c *Caller, part sse.Range) (plain io.ReadCloser, err error) {
	var parts *sse.Parts
	need, total := part, s.size
	if s.object != nil {
		if parts, err = s.vault.layout(ctx, s.object); err != nil {
			return nil, err
		}
		need, total = parts.Encrypted(part), parts.EncSize()
	}
	get := &storage.Get{Name: s.read.Name, Version: s.read.Version, IfMatch: s.info.ETag}
	partial := need.Length > 0 && need.Length < total
	if partial {
		get.Range = exactly(need)
	}
	got, err := s.vault.as(c).Get(ctx, get)
	if err != nil {
		return nil, asChanged(err)
	}
	if err = checkAnswer(&got.Info, need, total, partial); err == nil && !sameRecord(&got.Info, s.info) {
		err = ErrChanged
	}
	var text io.Reader = got
	if err == nil && s.object != nil {
		text, err = parts.Decrypt(&s.object.key, got, part)
		text = &doubtingReader{text, s.vault, s.object}
	}
	if err != nil {
		s.vault.doubtUnfit(s.object, err)
		_ = got.Close()
		return nil, err
	}
	return readCloser{text, got}, nil
}

// readCloser reads from one and closes the other.
type readCloser struct {
	io.Reader
	io.Closer
}

// checkAnswer refuses an answer that is not the bytes want of encSize.
func checkAnswer(got *storage.Info, want sse.Range, encSize int64, partial bool) error {
	if !partial {
		if got.Part {
			return fmt.Errorf("a part without a range: %w", storage.ErrLied)
		}
		return checkLength(got, encSize)
	}
	if !got.Part || got.Total != encSize || got.At != want {
		return fmt.Errorf("bytes %d-%d/%d for %d encrypted bytes: %w", got.At.Offset, got.At.Offset+got.At.Length-1, got.Total, encSize, storage.ErrLied)
	}
	return checkLength(got, want.Length)
}

// checkLength refuses an answer whose length does not follow from the record.
func checkLength(got *storage.Info, want int64) error {
	if got.Size != want {
		return fmt.Errorf("upstream answered %d bytes where the record says %d: %w", got.Size, want, storage.ErrLied)
	}
	return nil
}

// readError keeps a cut upstream connection apart from a damaged object.
func readError(err error) error {
	if errors.Is(err, sse.ErrTruncated) || errors.Is(err, sse.ErrTampered) {
		return fmt.Errorf("read object: %w", err)
	}
	return fmt.Errorf("read object: %w (%w)", storage.ErrUnreachable, err)
}

// doesNotFit says whether an error of reading an object may be that of a manifest that
// is another's.
func doesNotFit(err error) bool {
	return errors.Is(err, sse.ErrTampered) || errors.Is(err, sse.ErrTruncated) || errors.Is(err, storage.ErrLied)
}
