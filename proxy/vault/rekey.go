package vault

import (
	"context"
	"errors"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Sentinels of Rekey.
var (
	// ErrRekeyPlain says that an object has no encryption that could be another one.
	ErrRekeyPlain = errors.New("a plain object cannot be re-keyed")
	// ErrRekeyCustomer says that only whoever has an object's customer key can open it.
	ErrRekeyCustomer = errors.New("an object of SSE-C cannot be re-keyed")
	// ErrRekeyRival says that others re-keyed the object at the same time.
	ErrRekeyRival = rekey.ErrStale
	// ErrWithheld says that an object was re-keyed, and MinIO does not give what says how.
	ErrWithheld = keyring.ErrWithheld
)

// Rekey asks for an object to be encrypted otherwise.
type Rekey struct {
	Name    sse.Name
	Version string // "" for the current one
	// Asked says how, for a caller who says so too. It is called once the storage has shown
	// the object to the caller.
	Asked func() (*caller.Caller, encryption.Asked, error)
}

// Rekey has an object encrypted in another mode, or under another KMS key, and moves no data:
// what clients know of it stays, but for how it is encrypted. It returns when every proxy says
// and does so. The caller must be let to read the object and to write it, by the storage, and
// to use both KMS keys. ErrRekeyPlain, ErrRekeyCustomer, ErrRekeyRival, ErrWithheld, errors of
// encryption, or storage, keyring, kms and sse errors. After some of them it may be done.
func (v *Vault) Rekey(ctx context.Context, c *caller.Caller, o *Rekey) error {
	if err := v.o.Ready(ctx); err != nil {
		return err
	}
	v.o.Keys.Rekeyed().Ahead()
	info, err := v.as(c).Head(ctx, &storage.Get{Name: o.Name, Version: o.Version})
	if err != nil {
		return err
	}
	c, asks, err := o.Asked()
	if err != nil {
		return err
	}
	write := &Write{Name: o.Name, Meta: storage.Metadata{}}
	asked, err := v.o.Encryption.Of(ctx, c, o.Name, write.Meta, &asks)
	if err != nil {
		return err
	}
	if err := v.mayPut(ctx, c, write); err != nil {
		return err
	}
	rec, err := sealed.RecordOf(info.Reserved)
	switch {
	case err != nil:
		return err
	case rec == nil:
		return ErrRekeyPlain
	case rec.Mode == sse.ModeC:
		return ErrRekeyCustomer
	}
	now, err := v.o.Keys.Sealing(ctx, o.Name, rec)
	if err != nil {
		return err
	}
	if err := v.o.Keys.MayRekey(ctx, c.Keys, now, asked); err != nil { // before anything is noted
		return err
	}
	ref := manifest.WrapRef{Name: o.Name, Record: rec.Digest()}
	return v.o.Rekeyed.Update(ctx, ref, rec, func(counts *sse.Wrap) (rekey.Sealed, error) {
		made, err := v.o.Keys.Rekey(ctx, c.Keys, keyring.SealingAs(o.Name, rec, counts), asked)
		if err != nil {
			return rekey.Sealed{}, err
		}
		return rekey.Sealed{Wrap: made.Wrap, Confirm: made.Confirm}, nil
	})
}
