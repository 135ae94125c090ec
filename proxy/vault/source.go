package vault

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
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

// Read names an object that is read, and the customer key that it needs.
type Read struct {
	Name    sse.Name
	Version string // "" for the current one
	// Customer is the key of SSE-C, nil if none is given.
	Customer *sse.Secret
	// Conditions are judged on what clients know of the object.
	Conditions conditions.Read
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
	// Record is what it was written with; nil for a plain object.
	Record *sse.Record
	// Encryption says how it is encrypted now; nothing of a plain object.
	Encryption sse.Encryption
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
	object *sealed.Object
	size   int64
}

// look looks an object up as the caller and opens its record. It is to be zeroed.
func (v *Vault) look(ctx context.Context, c *caller.Caller, read Read) (*source, error) {
	v.o.Keys.Rekeyed().Ahead()
	info, err := v.as(c).Head(ctx, &storage.Get{Name: read.Name, Version: read.Version, Checksums: true}) // of plain objects
	if err != nil {
		return nil, err
	}
	s := &source{vault: v, read: read, info: info, size: info.Size}
	if s.record, err = sealed.RecordOf(info.Reserved); err != nil {
		return nil, err
	}
	if s.size < 0 {
		return nil, errNoLength
	}
	if err := v.readable(s.record, read); err != nil || s.record == nil {
		return s, err
	}
	if s.object, err = v.o.Objects.Open(ctx, c.Keys, read.Name, s.record, info, read.Customer, read.Checksum); err != nil {
		return nil, err
	}
	if s.record.Layout == sse.OneStream {
		if err := sealed.CheckLength(info, sse.EncSize(s.record.PlainSize)); err != nil {
			s.zero()
			return nil, err
		}
	}
	s.size = s.object.Size
	return s, nil
}

// readable says whether an object may be read as it is asked for: a plain one where the
// configuration allows it, and with a customer key what has one.
func (v *Vault) readable(rec *sse.Record, read Read) error {
	switch {
	case rec == nil && !v.plain.Load().Match(read.Name.Bucket):
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
		s.object.Zero()
	}
}

// etag is the source's ETag as clients know it.
func (s *source) etag() string {
	if s.object != nil {
		return s.object.ETag()
	}
	return sealed.ETag(nil, nil, s.info.ETag)
}

// seen is the source as clients know it.
func (s *source) seen() *Seen {
	seen := &Seen{
		Name: s.read.Name, ETag: s.etag(), Size: s.size, Modified: s.info.Modified, Version: s.info.Version,
		Meta: s.info.Meta, Record: s.record,
	}
	if s.object != nil {
		seen.Encryption, seen.Facts, seen.Restored = s.object.Encryption, s.object.Facts, s.object.Restored
	}
	return seen
}

// open opens a part of the plaintext, pinned to what was looked up. ErrChanged if that is
// no longer there.
func (s *source) open(ctx context.Context, c *caller.Caller, part sse.Range) (plain io.ReadCloser, err error) {
	var parts *sse.Parts
	need, total := part, s.size
	if s.object != nil {
		if parts, err = s.vault.o.Objects.Layout(ctx, s.object); err != nil {
			return nil, err
		}
		need, total = parts.Encrypted(part), parts.EncSize()
	}
	get := &storage.Get{Name: s.read.Name, Version: s.read.Version, IfMatch: s.info.ETag}
	partial := need.Length > 0 && need.Length < total
	if partial {
		get.Range = plaintext.Exactly(need)
	}
	got, err := s.vault.as(c).Get(ctx, get)
	if err != nil {
		return nil, sealed.AsChanged(err)
	}
	if err = sealed.CheckAnswer(&got.Info, need, total, partial); err == nil && !sealed.SameRecord(&got.Info, s.info) {
		err = ErrChanged
	}
	var text io.Reader = got
	if err == nil && s.object != nil {
		text, err = parts.Decrypt(&s.object.Key, got, part)
	}
	if err != nil {
		s.vault.o.Objects.Doubt(s.object, err)
		_ = got.Close()
		return nil, err
	}
	return &sourceReader{text, got, s}, nil
}

// sourceReader reads the plaintext of a source, and doubts its manifest where that does not
// fit. It is to be closed.
type sourceReader struct {
	text io.Reader
	io.Closer
	source *source
}

// Read reads the plaintext. Errors are those of sealed.ReadError.
func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.text.Read(p)
	if err != nil && err != io.EOF {
		err = sealed.ReadError(err)
		r.source.vault.o.Objects.Doubt(r.source.object, err)
	}
	return n, err
}
