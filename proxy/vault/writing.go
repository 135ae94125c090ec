package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/listing"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Write says which object is written, and how.
type Write struct {
	Name sse.Name
	// Asked is how the client asks for it to be encrypted.
	Asked encryption.Asked
	// Meta is what the storage keeps with the object, by its headers' names.
	Meta       storage.Metadata
	Conditions conditions.Write
}

// writing is an object on its way to the storage.
type writing struct {
	vault  *Vault
	caller *caller.Caller
	write  *Write
	asked  *sse.Request // as it is decided
	// meta is what the storage keeps with the object, which takes it over.
	meta storage.Metadata
	// declared are the digests that the client declares of the body, for plain storage.
	declared storage.Metadata
	pinned   storage.Conditions
	body     plaintext.Body
	size     int64
	// copied says that the body is another object's: who may write it was asked before.
	copied bool

	facts  sse.Facts // what is known of the plaintext
	late   bool      // facts become known with the last byte, and go into a manifest
	stream sse.Stream
	record *sse.Record       // nil for plain storage
	key    *keyring.WriteKey // that the record is sealed with; nil for plain storage
	text   string            // the record's
	// whole says that the storage may have got all of the body.
	whole atomic.Bool
	// answer is the storage's.
	answer *storage.Stored
}

// store writes the object upstream. lateChecksum says that a checksum that the client
// wants becomes known with the last byte.
func (u *writing) store(ctx context.Context, lateChecksum bool) error {
	if u.size == 0 { // nobody else reads it to its end, where it is verified
		if err := plaintext.Drain(u.body); err != nil {
			return err
		}
	}
	switch {
	case u.asked.Mode == sse.ModeNone:
		return u.sendPlain(ctx)
	case u.size > 0 && u.size <= u.vault.o.SmallObject:
		if buffer := u.caller.Memory.Take(sse.EncSize(u.size)); buffer != nil {
			return u.sendSmall(ctx, buffer)
		}
	}
	u.facts = u.known()
	u.late = u.size > 0 && (u.asked.NeedsMD5() && u.facts.MD5 == nil || lateChecksum && u.facts.Checksum == nil)
	if err := u.prepare(ctx); err != nil {
		return err
	}
	return u.sendStream(ctx)
}

// prepare gets the keys and writes the record: what is known of the object is
// what goes with it.
func (u *writing) prepare(ctx context.Context) error {
	key, err := u.vault.o.Keys.Make(ctx, u.caller.Keys, u.write.Name, u.asked)
	if err != nil {
		return u.vault.refusal(ctx, u.caller, u.write, err)
	}
	defer key.Zero()
	objectKey := sse.NewObjectKey()
	defer objectKey.Zero()
	nonce := sse.NewStreamNonce()
	private := sse.NewPrivate(u.size, nonce)
	u.record, u.key = &key.Record, key
	u.record.PlainSize = u.size
	u.record.OpaqueETag = u.record.OpaqueETag && u.facts.MD5 == nil // an MD5 that the client sent costs nothing
	if u.late {
		u.record.Manifest = sse.NewManifestID()
	} else {
		private.Facts = u.facts
	}
	if u.text, err = key.Seal(&objectKey, private); err != nil {
		return err
	}
	u.stream = sse.Stream{Key: objectKey.Part(1), Nonce: nonce, PlainSize: u.size}
	return nil
}

// sendSmall reads the body whole, so that every digest is known and checked
// before upstream hears of the object, encrypts it in its buffer, and sends it in one
// request.
func (u *writing) sendSmall(ctx context.Context, buffer []byte) error {
	var sent *plaintext.Guarded
	defer func() { u.caller.Memory.Give(buffer, sent == nil || sent.Closed()) }()
	if err := sse.ReadSpaced(u.body, buffer, u.size); err != nil {
		return plaintext.Fault(u.body, err)
	}
	if err := plaintext.Drain(u.body); err != nil {
		return err
	}
	u.facts = u.known()
	if err := u.prepare(ctx); err != nil {
		return err
	}
	u.stream.EncryptSpaced(buffer)
	sent = plaintext.NewGuarded(buffer)
	u.whole.Store(true)
	return u.send(ctx, storage.Body{Reader: sent, Length: sse.EncSize(u.size), Again: sent.Again})
}

// sendStream encrypts the body as it comes.
func (u *writing) sendStream(ctx context.Context) error {
	enc, err := u.stream.Encrypt(u.body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if u.late {
		if err := u.vault.o.Ready(ctx); err != nil {
			return err
		}
	}
	var committed *time.Timer
	defer func() {
		if committed != nil {
			committed.Stop()
		}
	}()
	whole := plaintext.BeforeEnd(enc, sse.EncSize(u.size), func() error {
		// What is there now must not be replaced by what nobody can read.
		if err := u.key.Confirm(ctx); err != nil {
			return err
		}
		u.whole.Store(true)
		if !u.late {
			return nil
		}
		if err := u.writeManifest(ctx); err != nil {
			return err
		}
		// The janitor takes manifests without an object after a while.
		committed = time.AfterFunc(commitLimit, func() { cancel(errSlowCommit) })
		return nil
	})
	return u.send(ctx, storage.Body{Reader: whole, Length: sse.EncSize(u.size)})
}

// writeManifest writes what is known with the last byte of the plaintext.
func (u *writing) writeManifest(ctx context.Context) error {
	u.facts = u.known()
	ref := manifest.Ref{Name: u.write.Name, ID: u.record.Manifest}
	return u.vault.o.Manifests.Put(ctx, ref, u.facts, nil)
}

// sendPlain stores the body as it is: the bucket is, explicitly, not encrypted.
// Where somebody on the way could change it, its chunks are signed.
func (u *writing) sendPlain(ctx context.Context) error {
	if !u.copied {
		if err := u.vault.o.Keys.MayWrite(ctx, u.caller.Keys, u.write.Name.Bucket, u.asked); err != nil {
			return u.vault.refusal(ctx, u.caller, u.write, err)
		}
	}
	if u.meta == nil {
		u.meta = make(storage.Metadata)
	}
	maps.Copy(u.meta, u.declared)
	if algorithm, value, ok := u.body.DeclaredChecksum(); u.copied && ok && u.vault.o.Storage.Capabilities().Checksums.Has(algorithm) {
		u.meta.Set(plaintext.ChecksumHeader(algorithm), base64.StdEncoding.EncodeToString(value))
	}
	plain := plaintext.HoldLast(u.body, u.size)
	return u.send(ctx, storage.Body{Reader: plain, Length: u.size, Unprotected: true})
}

// send sends the object and keeps upstream's verdict. ErrChanged if the object's conditions hold
// again, and of its body too much was read to send it again.
func (u *writing) send(ctx context.Context, body storage.Body) error {
	body.Expect = body.Length >= expectContinueFrom || u.size > u.vault.o.SmallObject
	if err := u.sendPinned(ctx, body); err != nil {
		return err
	}
	if err := keyring.Unconfirmed(u.key.Confirm(ctx)); err != nil {
		return err
	}
	u.vault.lists.Learn(&listing.Written{
		Name: u.write.Name, Record: u.record, Facts: u.facts, Size: u.size, EncSize: body.Length, Stored: u.answer,
	})
	return nil
}

// sendPinned sends the object until upstream takes it, or refuses it for another reason than that
// its conditions were judged on another object.
func (u *writing) sendPinned(ctx context.Context, body storage.Body) error {
	asked := u.write.Conditions
	if u.copied || asked.Existence() { // nothing of a copy's is pinned
		return u.try(ctx, body, u.meta, u.pinned)
	}
	again := plaintext.Repeat(body)
	return u.vault.whilePinned(ctx, u.caller, u.write.Name, asked, u.pinned, func(pinned storage.Conditions) error {
		body, ok := again()
		if !ok {
			return ErrChanged
		}
		return u.try(ctx, body, maps.Clone(u.meta), pinned)
	})
}

// try sends the object once.
func (u *writing) try(ctx context.Context, body storage.Body, meta storage.Metadata, pinned storage.Conditions) (err error) {
	u.answer, err = u.vault.as(u.caller).Put(ctx, &storage.Put{
		Name: u.write.Name, Meta: meta, Record: u.text, Conditions: pinned, Body: body,
	})
	if err == nil {
		return nil
	}
	if u.whole.Load() && storage.MayBeDone(err) {
		u.key.Doubt(ctx)
	}
	return sendError(u.body, err)
}

// sendError is plaintext.Fault for what sending a body ended with: the storage's own answer
// counts more than what became of the body behind it.
func sendError(body plaintext.Body, err error) error {
	var answered *storage.Error
	if errors.As(err, &answered) {
		return err
	}
	return plaintext.Fault(body, err)
}

// stored is what clients are told.
func (u *writing) stored() *Stored {
	return &Stored{
		ETag: sealed.ETag(u.record, &u.facts, u.answer.ETag), Version: u.answer.Version, Meta: u.answer.Meta,
		Record: u.record, Facts: u.facts,
	}
}

// known returns the facts that are known now.
func (u *writing) known() sse.Facts {
	facts := plaintext.Known(u.body, u.asked.Mode == sse.ModeS3)
	if u.size == 0 && u.asked.Mode == sse.ModeS3 {
		facts.MD5 = sealed.OfNothing()
	}
	return facts
}
