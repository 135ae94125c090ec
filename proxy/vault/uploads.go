package vault

import (
	"context"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/uploads"
	"github.com/bucketseal/bucketseal/sse"
)

// dropTimeout bounds the clean-up after an upload's end, which no client waits for.
const dropTimeout = 2 * time.Minute

// Upload names an upload in parts as a client does.
type Upload struct {
	Name sse.Name
	// ID is the upload id, which may be any text.
	ID string
}

// openUpload is an upload that a client names, with what its parts need.
type openUpload struct {
	*manifest.Upload
	id     uploads.ID
	record *sse.Record // nil for plain storage
}

// at names the upload at the storage, for requests of a caller.
func (u *openUpload) at() storage.Upload {
	return storage.Upload{Name: u.Name(), ID: u.ID, As: &u.id.Sealed}
}

// upload returns an upload, once upstream says that the caller has the right to do with
// it what is asked. ErrNoSuchUpload.
func (v *Vault) upload(ctx context.Context, c *caller.Caller, named Upload, right storage.Right) (*openUpload, error) {
	id, err := uploads.ParseID(named.ID)
	may := v.mayUpload
	if right == storage.SendPart && err == nil {
		may = v.maySendPart
	}
	if denied := may(ctx, c, named, id.Sealed, right); denied != nil {
		return nil, denied
	}
	if err != nil {
		return nil, err
	}
	noted, err := v.o.Ledger.Get(ctx, named.Name, id.Upstream)
	if err != nil {
		return nil, err
	}
	if noted.Name() != named.Name || noted.ID != id.Upstream {
		return nil, ErrNoSuchUpload
	}
	u := &openUpload{Upload: noted, id: id}
	if noted.Record != "" {
		if u.record, err = sse.ParseRecord(noted.Record); err != nil {
			return nil, err
		}
	}
	if id != uploads.Of(noted, u.record) {
		return nil, ErrNoSuchUpload
	}
	return u, nil
}

// mayUpload asks upstream, as the caller, whether it may do with an upload what is asked.
// How that is encrypted the upload id says, and who says so falsely has no such upload.
func (v *Vault) mayUpload(ctx context.Context, c *caller.Caller, named Upload, sealed storage.Encryption, right storage.Right) error {
	return v.as(c).May(ctx, &storage.Question{Right: right, Name: named.Name, As: &sealed})
}

// maySendPart is mayUpload for a part of an upload whose id could be read, asked once
// for many.
func (v *Vault) maySendPart(ctx context.Context, c *caller.Caller, named Upload, sealed storage.Encryption, right storage.Right) error {
	sender := partSenderOf(c, named.Name, named.ID)
	if v.senders.has(sender) {
		return nil
	}
	if err := v.mayUpload(ctx, c, named, sealed, right); err != nil {
		return err
	}
	v.senders.add(sender)
	return nil
}

// asNoSuchUpload is for upstream's answer about an upload: ErrNoSuchUpload for one that
// ended or never was.
func asNoSuchUpload(err error) error {
	if errors.Is(err, storage.ErrNoSuchUpload) {
		return ErrNoSuchUpload
	}
	return err
}

// Begin asks for an upload in parts.
type Begin struct {
	Write
	// ChecksumAlgorithm and ChecksumType say which checksum the parts and the object will
	// have, in S3's words; "" leaves it open.
	ChecksumAlgorithm, ChecksumType string
}

// Begun is an upload that was created.
type Begun struct {
	// ID is what clients are to name it by.
	ID string
	// Record says how it is encrypted; nil for plain storage.
	Record *sse.Record
	// Checksum is the algorithm of the parts' checksums, 0 for none; Composite says that
	// the object's is a checksum of those.
	Checksum  sse.ChecksumType
	Composite bool
}

// Begin creates an upload in parts. Keys are made now, and the record goes with
// upstream's upload; the upload is noted in the ledger before the client hears of it.
// ErrAccessDenied, ErrInvalidChecksum, ErrNoSuchKey, ErrPrecondition, or those of
// package keyring.
func (v *Vault) Begin(ctx context.Context, c *caller.Caller, b *Begin) (*Begun, error) {
	sealing, err := v.o.Encryption.Of(ctx, c, b.Name, b.Meta, &b.Asked)
	if err != nil {
		return nil, err
	}
	defer sealing.CustomerKey.Zero()
	noted := &manifest.Upload{
		Bucket: b.Name.Bucket, Key: b.Name.Key, Manifest: sse.NewManifestID(), Initiated: time.Now().UTC(),
		Initiator: c.Name, StorageClass: b.Meta.Get("X-Amz-Storage-Class"),
	}
	if err := b.setChecksum(noted); err != nil {
		return nil, err
	}
	if err := v.o.Ready(ctx); err != nil {
		return nil, err
	}
	pinned, err := v.conditions(ctx, c, &b.Write)
	if err != nil {
		return nil, err
	}
	begun := &Begun{Checksum: noted.Checksum, Composite: noted.Composite}
	if sealing.Mode != sse.ModeNone {
		if begun.Record, err = v.uploadRecord(ctx, c, sealing, noted); err != nil {
			return nil, v.refusal(ctx, c, &b.Write, err)
		}
	} else if noted.Checksum != 0 { // of the plaintext: upstream keeps it
		b.Meta.Set("X-Amz-Checksum-Algorithm", plaintext.Algorithm(noted.Checksum).String())
		b.Meta.Set("X-Amz-Checksum-Type", checksumKind(noted.Composite))
	}
	err = v.whilePinned(ctx, c, b.Name, b.Conditions, pinned, func(pinned storage.Conditions) (err error) {
		noted.ID, err = v.as(c).CreateUpload(ctx, &storage.CreateUpload{
			Name: b.Name, Meta: maps.Clone(b.Meta), Record: noted.Record, Conditions: pinned,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := v.o.Ledger.Create(ctx, noted); err != nil {
		return nil, err
	}
	begun.ID = uploads.Of(noted, begun.Record).String()
	return begun, nil
}

// uploadRecord makes the record of an object that will come in parts.
func (v *Vault) uploadRecord(ctx context.Context, c *caller.Caller, sealing *sse.Request, noted *manifest.Upload) (*sse.Record, error) {
	key, err := v.o.Keys.Make(ctx, c.Keys, noted.Name(), sealing)
	if err != nil {
		return nil, err
	}
	defer key.Zero()
	objectKey := sse.NewObjectKey()
	defer objectKey.Zero()
	key.Record.Layout, key.Record.Manifest = sse.Uploaded, noted.Manifest
	noted.Record, err = key.Seal(&objectKey, sse.NewPartsPrivate())
	return &key.Record, err
}

// S3's words for what an object's checksum is of.
const (
	fullObject = "FULL_OBJECT"
	composite  = "COMPOSITE"
)

// checksumKind is S3's word for what an object's checksum is of: its data, or its parts'
// checksums.
func checksumKind(ofParts bool) string {
	if ofParts {
		return composite
	}
	return fullObject
}

// setChecksum notes which checksum the parts and the object will have. CRCs of a whole
// object can be put together from the parts', other digests cannot. ErrInvalidChecksum.
func (b *Begin) setChecksum(noted *manifest.Upload) error {
	if b.ChecksumAlgorithm == "" {
		if b.ChecksumType != "" {
			return ErrInvalidChecksum
		}
		return nil
	}
	algorithm, ok := checksum.Parse(b.ChecksumAlgorithm)
	if !ok {
		return ErrInvalidChecksum
	}
	noted.Checksum = plaintext.ChecksumType(algorithm)
	switch strings.ToUpper(b.ChecksumType) {
	case "":
		noted.Composite = algorithm != checksum.CRC64NVME
	case fullObject:
		if !algorithm.Combinable() {
			return ErrInvalidChecksum
		}
	case composite:
		if algorithm == checksum.CRC64NVME {
			return ErrInvalidChecksum
		}
		noted.Composite = true
	default:
		return ErrInvalidChecksum
	}
	return nil
}

// Abort ends an upload. For one that ended already, or never was, upstream's own answer, which
// MinIO has as success; ErrNoSuchUpload for what is no upload's id.
func (v *Vault) Abort(ctx context.Context, c *caller.Caller, named Upload) error {
	u, err := v.upload(ctx, c, named, storage.AbortUpload)
	if errors.Is(err, ErrNoSuchUpload) {
		id, bad := uploads.ParseID(named.ID)
		if bad != nil {
			return bad
		}
		// How it is encrypted nobody vouches for, so nothing is claimed of that.
		return asNoSuchUpload(v.as(c).Abort(ctx, &storage.Upload{Name: named.Name, ID: id.Upstream}))
	}
	if err != nil {
		return err
	}
	at := u.at()
	if err := v.as(c).Abort(ctx, &at); err != nil {
		return err // ErrNoSuchUpload too may pass: the sweep looks twice
	}
	v.dropUpload(ctx, u)
	return nil
}

// dropUpload forgets an upload that upstream has no more, after the answer. What
// a crash leaves of it the janitor removes.
func (v *Vault) dropUpload(ctx context.Context, u *openUpload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTimeout)
	go func() {
		defer cancel()
		if err := v.o.Ledger.Drop(ctx, u.Name(), u.ID); err != nil {
			v.log.Warn("ledger of a finished upload was not removed", "bucket", u.Bucket, "key", u.Key, "error", err)
		}
	}()
}
