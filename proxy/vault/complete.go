package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/listing"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Complete asks for the parts of an upload to be put together.
type Complete struct {
	Upload
	// Parts are the object's: at least one and at most 10,000, in ascending order.
	Parts      []WantedPart
	Conditions conditions.Write
	// ObjectSize, ChecksumType and Checksums are what the client says of the whole object,
	// as S3 writes it; "" and none for nothing.
	ObjectSize, ChecksumType string
	Checksums                []SaidChecksum
	// Long does what may take long while the client is kept waiting; nil does it at once.
	Long func(do func() error) error
}

// WantedPart is a part of a client's list.
type WantedPart struct {
	Number int
	// ETag is the part's, as clients know it, with quotes or without.
	ETag string
	// Checksums are those that the client's list gives.
	Checksums []SaidChecksum
}

// SaidChecksum is a checksum in base64, as a client says it.
type SaidChecksum struct {
	Algorithm checksum.Algorithm
	Value     string
}

// Completed is an object that was put together.
type Completed struct {
	// ETag is the object's, as clients know it, in quotes.
	ETag string
	// Version is its version id; "" in a bucket without versions.
	Version string
	// Record is the object's; nil for plain storage. Encryption is how it is encrypted, as clients
	// are told: it may have been re-keyed as an upload, or since.
	Record     *sse.Record
	Encryption sse.Encryption
	// Facts are what is known of the plaintext.
	Facts sse.Facts
}

// completing is a Complete on its way.
type completing struct {
	vault  *Vault
	caller *caller.Caller
	wanted *Complete
	upload *openUpload

	// current are the parts that the storage had, by number, when they were chosen.
	current map[int]string
	// sent is how often each part was.
	sent   map[int]int
	chosen []chosenPart
	facts  sse.Facts
	// etag is the one upstream will store, without quotes.
	etag string
	// version is the new object's version id, if its bucket has versions.
	version string
}

// Complete puts the parts of an upload together. The manifest is written before upstream
// commits: an object that can be seen has its manifest. One that is repeated succeeds
// again, as long as the object is there. ErrNoSuchUpload, ErrNoSuchKey, ErrPrecondition,
// ErrInvalidPart, ErrPartTooSmall, ErrInvalidChecksum, ErrChecksumMismatch, *RequestError,
// ErrChanged while another Complete of the upload is under way elsewhere, or those of package
// keyring.
func (v *Vault) Complete(ctx context.Context, c *caller.Caller, wanted *Complete) (*Completed, error) {
	v.o.Keys.Rekeyed().Ahead()
	done, err := v.complete(ctx, c, wanted)
	if err != nil || done.Record == nil {
		return done, err
	}
	done.Encryption = done.Record.Encryption()
	if s, err := v.o.Keys.Sealing(ctx, wanted.Name, done.Record); err == nil { // else the object is there all the same
		done.Encryption = s.Encryption()
	}
	return done, nil
}

func (v *Vault) complete(ctx context.Context, c *caller.Caller, wanted *Complete) (done *Completed, err error) {
	u, missing := v.upload(ctx, c, wanted.Upload, storage.CompleteUpload)
	switch {
	case errors.Is(missing, ErrNoSuchUpload):
	case missing != nil:
		return nil, missing
	default:
		if err := v.o.Keys.MayKnow(ctx, c.Keys, wanted.Name.Bucket, u.record); err != nil {
			return nil, err
		}
	}
	// One that is repeated may take long too: it waits for the first, and reads parts that were sent again.
	err = patiently(wanted.Long, func() (err error) {
		if missing != nil {
			done, err = v.repeat(ctx, c, wanted, missing)
			return err
		}
		p := &completing{vault: v, caller: c, wanted: wanted, upload: u}
		done, err = p.inTurn(ctx)
		return err
	})
	return done, err
}

// inTurn puts the parts together, or finds that another Complete has done so. Those of one upload take turns.
func (p *completing) inTurn(ctx context.Context) (*Completed, error) {
	end, err := p.vault.turns.Take(ctx, p.upload.ID)
	if err != nil {
		return nil, err
	}
	defer end()
	err = p.run(ctx)
	switch {
	case err == nil:
		p.vault.dropUpload(ctx, p.upload)
		return p.done(), nil
	case !repeatable(err):
		return nil, err
	}
	otherwise := p.otherwise(ctx, err)
	done, err := p.vault.repeat(ctx, p.caller, p.wanted, otherwise)
	if err == nil && errors.Is(otherwise, ErrNoSuchUpload) {
		p.vault.dropUpload(ctx, p.upload)
	}
	return done, err
}

// failedCondition says whether the proxy or upstream found a condition not to
// hold.
func failedCondition(err error) bool {
	return errors.Is(err, conditions.ErrPrecondition) || errors.Is(err, storage.ErrPrecondition)
}

func (p *completing) run(ctx context.Context) error {
	pinned, err := p.vault.pin(ctx, p.caller, p.wanted.Name, p.wanted.Conditions)
	if err != nil {
		return err
	}
	if err := p.choose(ctx); err != nil {
		return err
	}
	if err := p.combine(); err != nil {
		return err
	}
	if p.upload.record != nil {
		if err := p.vault.o.Keys.Confirm(ctx, p.wanted.Name, p.upload.record); err != nil {
			return err
		}
		if err := p.writeManifest(ctx); err != nil {
			return err
		}
	}
	commit := func(pinned storage.Conditions) error { return p.commit(ctx, pinned) }
	if err := p.vault.whilePinned(ctx, p.caller, p.wanted.Name, p.wanted.Conditions, pinned, commit); err != nil {
		return err
	}
	return p.vault.checkResent(ctx, p.caller, p.wanted.Name, p.version, p.etag, p.storedParts(), p.sent)
}

func (p *completing) writeManifest(ctx context.Context) error {
	list := make([]sse.Part, len(p.chosen))
	for i, part := range p.chosen {
		list[i] = sse.Part{Number: uint32(part.Number), PlainSize: part.PlainSize, Nonce: part.Nonce} //nolint:gosec // 1 to 10,000
		if p.upload.Checksum != 0 {
			list[i].Checksum = part.Checksum.Value
		}
	}
	parts, err := sse.NewParts(list, p.upload.Checksum)
	if err != nil {
		return err
	}
	ref := manifest.Ref{Name: p.wanted.Name, ID: p.upload.Manifest, ETag: p.etag}
	return p.vault.o.Manifests.Put(ctx, ref, p.facts, parts)
}

// commit has upstream put the parts together. A client that goes away meanwhile
// does not stop it, and the end of the process waits for it: MinIO, cut off in the middle
// of a Complete, is left with neither the object nor an upload that can be completed
// (measured).
func (p *completing) commit(ctx context.Context, pinned storage.Conditions) error {
	if err := p.vault.commits.begin(); err != nil {
		return err
	}
	defer p.vault.commits.end()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), completeLimit, errSlowComplete)
	defer cancel()
	list := make([]storage.CompletePart, len(p.chosen))
	for i, part := range p.chosen {
		list[i] = storage.CompletePart{Number: part.Number, ETag: part.ETag}
		if p.upload.record == nil && p.upload.Checksum != 0 {
			list[i].Algorithm, list[i].Checksum = plaintext.Algorithm(p.upload.Checksum).String(), base64Std(part.Checksum.Value)
		}
	}
	stored, err := p.vault.as(p.caller).Complete(ctx, &storage.Complete{Upload: p.upload.at(), Parts: list, Conditions: pinned})
	if err != nil {
		return asNoSuchUpload(err)
	}
	if p.upload.record != nil && strings.Trim(stored.ETag, `"`) != p.etag {
		return fmt.Errorf("upstream stored the ETag %q, not %q: %w", stored.ETag, p.etag, storage.ErrLied)
	}
	p.version = stored.Version
	p.learn(stored)
	return nil
}

// learn has listings remember the object.
func (p *completing) learn(stored *storage.Stored) {
	w := &listing.Written{Name: p.wanted.Name, Record: p.upload.record, Facts: p.facts, Size: p.facts.PlainSize, Stored: stored}
	for _, part := range p.storedParts() {
		w.EncSize += part.size
	}
	p.vault.lists.Learn(w)
}

// done is the object as clients know it.
func (p *completing) done() *Completed {
	return &Completed{
		ETag: sealed.ETag(p.upload.record, &p.facts, p.etag), Version: p.version, Record: p.upload.record, Facts: p.facts,
	}
}
