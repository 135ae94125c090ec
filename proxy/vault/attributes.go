package vault

import (
	"context"
	"encoding/base64"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Attributes is what a caller may know of an object that it may read. It is to be closed.
type Attributes struct {
	Seen
	source *source
	caller *caller.Caller
}

// Attributes looks an object up and opens its record. *conditions.Error, ErrPlainObject,
// ErrCustomerKeyUnused, or storage, keyring, kms, manifest and sse errors.
func (v *Vault) Attributes(ctx context.Context, c *caller.Caller, read Read) (*Attributes, error) {
	s, err := v.look(ctx, c, read)
	if err != nil {
		return nil, err
	}
	a := &Attributes{Seen: *s.seen(), source: s, caller: c}
	if err := read.Conditions.Check(a.ETag, a.Modified); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// ObjectParts returns the object's parts with the sizes and checksums of their plaintexts,
// or as the storage says for a plain object. An object that was not uploaded in parts has
// one. manifest and storage errors.
func (a *Attributes) ObjectParts(ctx context.Context) ([]storage.ObjectPart, error) {
	s := a.source
	switch {
	case s.object == nil:
		return s.vault.as(a.caller).ObjectParts(ctx, &storage.Get{Name: s.read.Name, Version: s.read.Version})
	case s.record.Layout != sse.Uploaded:
		return []storage.ObjectPart{{Number: 1, Size: s.size}}, nil
	}
	parts, err := s.vault.o.Objects.Layout(ctx, s.object)
	if err != nil {
		return nil, err
	}
	list := make([]storage.ObjectPart, len(parts.List()))
	algorithm := plaintext.Algorithm(parts.Checksum()).String()
	for i, part := range parts.List() {
		list[i] = storage.ObjectPart{Number: int(part.Number), Size: part.PlainSize}
		if parts.Checksum() != 0 {
			list[i].Checksums = map[string]string{algorithm: base64.StdEncoding.EncodeToString(part.Checksum)}
		}
	}
	return list, nil
}

// Close forgets the object's key.
func (a *Attributes) Close() { a.source.zero() }
