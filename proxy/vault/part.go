package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// maxPartSize is S3's limit for one part, in bytes.
const maxPartSize = 5 << 30

// partNoteTimeout bounds the note of a part: without it the part must be sent again.
const partNoteTimeout = 2 * time.Minute

// partDoubtWait is how long a client waits for the note of a part of which nobody knows
// whether it was stored. It is tried for partNoteTimeout.
const partDoubtWait = 5 * time.Second

// PartTarget says which part of which upload is sent, and with which key.
type PartTarget struct {
	Upload
	Number int // 1 to 10,000
	// Customer is the key of SSE-C, nil if none is given. It must come with every part.
	Customer *sse.Secret
	// Fault is what is wrong with how the key is given. It is told only to whom may send
	// parts of the upload.
	Fault error
}

// Part is a part that a client sends.
type Part struct {
	PartTarget
	// Body returns the part's content, of which these digests are needed. It is called
	// once, when the part may be sent.
	Body func(plaintext.Digests) (plaintext.Body, error)
}

// SentPart is a part that was stored.
type SentPart struct {
	// ETag is the part's, as clients know it, in quotes.
	ETag string
	// Record says how the upload is encrypted; nil for plain storage.
	Record *sse.Record
	// Checksum is the part's, nil if it has none that clients know of.
	Checksum *sse.Checksum
}

// PartChecksumError says that a part's checksum is of another algorithm than the upload
// was created with.
type PartChecksumError struct {
	Name      sse.Name
	Want, Got checksum.Algorithm
}

// Error names both algorithms, as MinIO does.
func (e *PartChecksumError) Error() string {
	return fmt.Sprintf("checksum missing, want %q, got %q", e.Want.String(), e.Got.String())
}

// partUpload is a part on its way.
type partUpload struct {
	vault  *Vault
	caller *caller.Caller
	upload *openUpload
	number int
	key    sse.ObjectKey // unused for plain storage

	facts sse.PartFacts
	etag  string // upstream's, without quotes
}

// Part stores a part of an upload, or replaces it. ErrNoSuchUpload, ErrPartNeedsKey,
// ErrCustomerKeyUnused, ErrTooLarge, ErrBusy, ErrMissingLength, ErrInvalidChecksum,
// *PartChecksumError, or those of package keyring and of the body.
func (v *Vault) Part(ctx context.Context, c *caller.Caller, part *Part) (*SentPart, error) {
	p, err := v.partUpload(ctx, c, &part.PartTarget)
	if err != nil {
		return nil, err
	}
	defer p.key.Zero()
	body, err := part.Body(p.digests())
	if err != nil {
		return nil, err
	}
	if err := p.checkAlgorithm(body); err != nil {
		return nil, err
	}
	size := body.Size()
	if size < 0 {
		whole, n, done, err := plaintext.ReadUnsized(c.Memory, v.o.SmallObject, body)
		if err != nil {
			return nil, err
		}
		defer done()
		body, size = whole, n
	}
	if err := p.send(ctx, body, size); err != nil {
		return nil, err
	}
	return p.sent(), nil
}

// partUpload begins a part. Its key is to be zeroed.
func (v *Vault) partUpload(ctx context.Context, c *caller.Caller, to *PartTarget) (*partUpload, error) {
	u, err := v.upload(ctx, c, to.Upload, storage.SendPart)
	if err != nil {
		return nil, err
	}
	p := &partUpload{vault: v, caller: c, upload: u, number: to.Number}
	return p, p.openKey(ctx, to)
}

// openKey unseals the upload's object key; a customer key must come with every
// part.
func (p *partUpload) openKey(ctx context.Context, to *PartTarget) (err error) {
	rec := p.upload.record
	switch {
	case to.Fault != nil:
		return to.Fault
	case to.Customer != nil && (rec == nil || rec.Mode != sse.ModeC):
		return ErrCustomerKeyUnused
	case rec == nil:
		return nil
	case rec.Mode == sse.ModeC && to.Customer == nil:
		return ErrPartNeedsKey
	}
	// A part is new data: who may write it need not be let to read.
	p.key, err = p.vault.o.Keys.OpenToWrite(ctx, p.caller.Keys, to.Name, rec, to.Customer)
	return err
}

// wantsMD5 says whether clients know the upload's parts by their plaintext's MD5, if it is
// known.
func (p *partUpload) wantsMD5() bool {
	return p.upload.record != nil && p.upload.record.Mode == sse.ModeS3
}

// digests are what is needed of the part's plaintext: what the upload wants of every part,
// and the client may leave out. One that wants no checksum gets the default of the whole,
// whatever its parts come with.
func (p *partUpload) digests() plaintext.Digests {
	need := plaintext.Digests{MD5: p.wantsMD5() && !p.upload.record.OpaqueETag}
	switch {
	case p.upload.Checksum != 0:
		need.Compute = []checksum.Algorithm{plaintext.Algorithm(p.upload.Checksum)}
	case p.upload.record != nil:
		need.Compute = []checksum.Algorithm{plaintext.DefaultChecksum}
	}
	return need
}

// checkAlgorithm refuses a part whose checksum is of another algorithm than the
// one that was announced for the upload. *PartChecksumError.
func (p *partUpload) checkAlgorithm(body plaintext.Body) error {
	sent, _, ok := body.DeclaredChecksum()
	if !ok {
		sent, ok = body.TrailerChecksum()
	}
	if want := p.upload.Checksum; ok && want != 0 && plaintext.ChecksumType(sent) != want {
		return &PartChecksumError{p.upload.Name(), plaintext.Algorithm(want), sent}
	}
	return nil
}

// send encrypts the part, stores it upstream, and notes it in the ledger. A part
// that is not noted does not exist, but may lie there.
func (p *partUpload) send(ctx context.Context, body plaintext.Body, size int64) error {
	if size > maxPartSize {
		return ErrTooLarge
	}
	src, length, err := p.encrypt(body, size)
	if err != nil {
		return err
	}
	put := &storage.PutPart{Upload: p.upload.at(), Number: p.number}
	if p.upload.record == nil {
		put.Unprotected = true
		src = p.passChecksum(put, body, src, length)
	}
	var whole atomic.Bool // was handed over
	whole.Store(length == 0)
	put.Reader = plaintext.BeforeEnd(src, length, func() error { whole.Store(true); return nil })
	put.Length, put.Expect = length, length >= expectContinueFrom
	if p.etag, err = p.vault.as(p.caller).PutPart(ctx, put); err != nil {
		if whole.Load() && storage.MayBeDone(err) {
			p.doubt(ctx)
		}
		return sendError(body, err)
	}
	p.learn(body, size)
	// Noted even if the client has gone: upstream has the part.
	noteCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partNoteTimeout)
	defer cancel()
	if err = p.vault.o.Ledger.AddPart(noteCtx, p.upload.ID, p.id(), &p.facts); err != nil {
		p.doubt(ctx)
	}
	return err
}

// doubt notes that the part was sent and may lie at the storage, or on some of its nodes:
// else a Complete would take the next sending for the only one (checkResent). The client,
// which will send the part again, waits for it a moment.
func (p *partUpload) doubt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partNoteTimeout)
	v, u, number, noted := p.vault, p.upload, p.number, make(chan struct{})
	go func() {
		defer cancel()
		defer close(noted)
		if err := v.o.Ledger.AddUnknown(ctx, u.ID, number); err != nil {
			v.log.Warn("a part may have been stored, which could not be noted", "bucket", u.Bucket, "key", u.Key, "part", number, "error", err)
		}
	}()
	select {
	case <-noted:
	case <-time.After(partDoubtWait):
	}
}

// encrypt returns what goes upstream and how long it is.
func (p *partUpload) encrypt(body plaintext.Body, size int64) (io.Reader, int64, error) {
	if size == 0 {
		return bytes.NewReader(nil), 0, plaintext.Drain(body)
	}
	if p.upload.record == nil {
		return plaintext.HoldLast(body, size), size, nil
	}
	p.facts.Nonce = sse.NewStreamNonce()
	stream := sse.Stream{Key: p.key.Part(uint32(p.number)), Nonce: p.facts.Nonce, PlainSize: size} //nolint:gosec // 1 to 10,000
	enc, err := stream.Encrypt(body)
	return enc, sse.EncSize(size), err
}

// passChecksum has upstream keep a plain part's checksum, which the upload
// announced: with the part if it is known before that is sent, else behind it.
func (p *partUpload) passChecksum(put *storage.PutPart, body plaintext.Body, src io.Reader, length int64) io.Reader {
	kind := p.upload.Checksum
	if kind == 0 {
		return src
	}
	name := plaintext.ChecksumHeader(plaintext.Algorithm(kind))
	if sum := plaintext.Known(body, false).Checksum; sum != nil && sum.Type == kind {
		put.Meta = storage.Metadata{name: {base64Std(sum.Value)}}
		return src
	}
	put.Trailer = storage.Metadata{name: {base64Std(make([]byte, kind.Size()))}}
	return plaintext.BeforeEnd(src, length, func() error {
		sum := plaintext.Known(body, false).Checksum
		if sum == nil || sum.Type != kind {
			return ErrInvalidChecksum
		}
		put.Trailer.Set(name, base64Std(sum.Value))
		return nil
	})
}

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// learn takes over what is known of the part once it has been read. Of an upload that
// wants no checksum the default is not the part's: clients are told their own.
func (p *partUpload) learn(body plaintext.Body, size int64) {
	p.facts.Facts = plaintext.Known(body, p.wantsMD5())
	p.facts.PlainSize = size
	if size == 0 && p.wantsMD5() {
		p.facts.MD5 = sealed.OfNothing()
	}
	if p.upload.Checksum != 0 || p.upload.record == nil {
		return
	}
	p.facts.WholeCRC = body.Checksums()[plaintext.DefaultChecksum]
	_, _, declared := body.DeclaredChecksum()
	_, trailer := body.TrailerChecksum()
	if !declared && !trailer {
		p.facts.Checksum = nil
	}
}

func (p *partUpload) id() manifest.PartID { return manifest.PartID{Number: p.number, ETag: p.etag} }

// sent is the part as clients know it.
func (p *partUpload) sent() *SentPart {
	return &SentPart{ETag: sealed.PartETag(p.upload.record, p.id(), &p.facts), Record: p.upload.record, Checksum: p.facts.Checksum}
}
