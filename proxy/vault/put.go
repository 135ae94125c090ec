package vault

import (
	"context"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// MaxObjectSize is S3's limit for one write at MinIO, in bytes.
const MaxObjectSize = 5 << 40

// Put asks for an object to be stored.
type Put struct {
	Write
	// Fault is what is wrong with the rest of the request, such as the length that it
	// declares. It is told once the caller may knock.
	Fault error
	// Size is the plaintext's length in bytes. -1 is for a body that does not say it, and
	// is read whole first: ErrMissingLength if it is no small one.
	Size int64
	// Checksum is the one that the client wants computed, 0 for none. One that it sends is
	// verified in any case.
	Checksum checksum.Algorithm
	// Declared are the digests that the client declares in headers, as the storage is to
	// keep them with an object that is not encrypted. Put takes it over.
	Declared storage.Metadata
	// Body gives the body, once it is known which digests of it are needed. It is called
	// at most once. Required.
	Body func(plaintext.Digests) (plaintext.Body, error)
	// Allowed is asked once the size is known, before anything is stored; nil allows every
	// size.
	Allowed func(size int64) error
}

// Stored is an object that was stored, as clients know it.
type Stored struct {
	// ETag is in quotes.
	ETag string
	// Version is the version id, "" if the storage did not say.
	Version string
	// Meta is what else the storage said of the write, by its headers' names.
	Meta storage.Metadata
	// Record says how the object is encrypted; nil for plain storage.
	Record *sse.Record
	// Facts are what is known of the plaintext.
	Facts sse.Facts
}

// Put stores an object, encrypted as its client asks, or the bucket. The body is asked for
// once everything else is decided. Errors are those of encryption and conditions,
// ErrBusy, ErrMissingLength, ErrIncompleteBody, those of the body, and the storage's.
func (v *Vault) Put(ctx context.Context, c *caller.Caller, p *Put) (*Stored, error) {
	asked, err := v.o.Encryption.Of(ctx, c, p.Name, p.Meta, &p.Asked)
	if err != nil {
		return nil, err
	}
	defer asked.CustomerKey.Zero()
	if err := v.mayKnock(ctx, c, p.Name.Bucket, asked); err != nil {
		return nil, err
	}
	if p.Fault != nil {
		return nil, p.Fault
	}
	u := &writing{vault: v, caller: c, write: &p.Write, asked: asked, meta: p.Meta, size: p.Size}
	if u.pinned, err = v.conditions(ctx, c, &p.Write); err != nil {
		return nil, err
	}
	body, done, err := u.receive(p)
	if err != nil {
		return nil, err
	}
	defer done()
	if p.Allowed != nil {
		if err := p.Allowed(u.size); err != nil {
			return nil, err
		}
	}
	_, trailer := body.TrailerChecksum()
	if err := u.store(ctx, trailer || p.Checksum != 0); err != nil {
		return nil, err
	}
	if u.record == nil {
		u.facts = u.known()
	}
	return u.stored(), nil
}

// mayKnock keeps anonymous callers of other buckets than those of allow_anonymous
// out before their bodies and anything else are looked at. Of others it depends on
// the bucket's rule which keys they need: that shows when upstream would be asked.
func (v *Vault) mayKnock(ctx context.Context, c *caller.Caller, bucket string, asked *sse.Request) error {
	if !c.Keys.Anonymous() {
		return nil
	}
	return v.o.Keys.MayWrite(ctx, c.Keys, bucket, asked)
}

// receive gets the client's body. One of unknown size is read whole first; done gives its
// memory back.
func (u *writing) receive(p *Put) (body plaintext.Body, done func(), err error) {
	digests := plaintext.Digests{MD5: u.asked.NeedsMD5()}
	if p.Checksum != 0 {
		digests.Compute = []checksum.Algorithm{p.Checksum}
	} else {
		digests.Default = u.defaultChecksum(p)
	}
	if body, err = p.Body(digests); err != nil {
		return nil, nil, err
	}
	if body.Size() != u.size {
		return nil, nil, plaintext.ErrIncompleteBody
	}
	u.body, u.declared, done = body, p.Declared, func() {}
	if u.size < 0 {
		u.body, u.size, done, err = plaintext.ReadUnsized(u.caller.Memory, u.vault.o.SmallObject, body)
	}
	return body, done, err
}

// defaultChecksum is the checksum to compute if the client wants none, 0 where it could
// not be kept: what is stored without encryption is the storage's to know, and a record
// that goes before the data has no place for it. A manifest of its own it is not worth.
func (u *writing) defaultChecksum(p *Put) checksum.Algorithm {
	small := u.size <= u.vault.o.SmallObject
	manifest := u.asked.NeedsMD5() && p.Declared.Get("Content-Md5") == ""
	if u.asked.Mode == sse.ModeNone || !small && !manifest {
		return 0
	}
	return plaintext.DefaultChecksum
}
