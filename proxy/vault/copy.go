package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// metaPrefix is what the names of clients' own metadata begin with.
const metaPrefix = "X-Amz-Meta-"

// Copy asks for a copy of an object.
type Copy struct {
	// Write is the copy. Its conditions are judged as those of a caller who reads: the
	// storage judges none of a copy.
	Write
	// Fault is what is wrong with the rest of the request. It is told once it is known how
	// the copy is encrypted.
	Fault error
	// Source is the object that is copied. Its conditions fail as ErrPrecondition, whatever
	// kind they are.
	Source Read
	// Slash says that the client wrote a slash before the source's bucket.
	Slash bool
	// Replace gives the copy the metadata of Write, and not the source's.
	Replace bool
	// Tagging is "REPLACE" or "COPY" as the client said it, "" for the default.
	Tagging string
	// Changes says that the request asks for a change to an object that is copied onto
	// itself. ErrCopyOntoItself without one.
	Changes bool
	// Checksum is the algorithm of the checksum that the client asks for, as it writes it;
	// "" for none.
	Checksum string
	// Long does what may take long, while a client is kept waiting; nil does it as it is.
	// It may be called again, where the source was overwritten meanwhile.
	Long func(do func() error) error
}

// Copied is a copy that was stored.
type Copied struct {
	Stored
	// Modified is when it was stored.
	Modified time.Time
	// SourceVersion is the version that was copied, "" if the storage does not say.
	SourceVersion string
}

// copying is a copy on its way.
type copying struct {
	vault  *Vault
	caller *caller.Caller
	copy   *Copy
	asked  *sse.Request // as it is decided
	source *source
	// meta is what the storage keeps with the copy, which takes it over.
	meta storage.Metadata
	put  bool // upstream lets the caller write the copy

	record *sse.Record
	facts  sse.Facts
	// layout is the copy's manifest, nil if it has none.
	layout   *copiedLayout
	answer   *storage.Stored
	modified time.Time
}

// Copy copies an object. Errors are those of encryption, of reading the source and of
// writing the copy; ErrCopyOntoItself, ErrTooLarge, ErrPrecondition for the copy's
// conditions, and a *conditions.Error for the source's.
func (v *Vault) Copy(ctx context.Context, c *caller.Caller, what *Copy) (*Copied, error) {
	asked, err := v.o.Encryption.Of(ctx, c, what.Name, what.Meta, &what.Asked)
	if err != nil {
		return nil, err
	}
	defer asked.CustomerKey.Zero()
	k := &copying{vault: v, caller: c, copy: what, asked: asked}
	switch {
	case what.Fault != nil:
		return nil, what.Fault
	case k.onto() && what.Source.Version == "" && !what.Changes:
		return nil, ErrCopyOntoItself
	}
	defer func() { k.source.zero() }()
	if err := whileChanging(func() error { return k.begin(ctx) }); err != nil {
		return nil, err
	}
	return k.copied(), nil
}

// begin looks the source up and copies it. ErrChanged if it is another object by
// then.
func (k *copying) begin(ctx context.Context) (err error) {
	k.source.zero()
	k.record, k.facts, k.layout = nil, sse.Facts{}, nil
	read := k.copy.Source
	read.Checksum = true
	if k.source, err = k.vault.look(ctx, k.caller, read); err != nil {
		return err
	}
	if err := k.copy.Source.Conditions.CheckSource(k.source.etag(), k.source.info.Modified); err != nil {
		return err
	}
	if err := k.vault.readerConditions(ctx, k.caller, k.copy.Name, k.copy.Conditions, ""); err != nil {
		return err
	}
	k.setMeta()
	return patiently(k.copy.Long, func() error { return k.run(ctx) })
}

func (k *copying) onto() bool { return k.copy.Source.Name == k.copy.Name }

// copiedMeta is what a copy has of its source, besides the client's own metadata.
var copiedMeta = [...]string{
	"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
	"X-Amz-Website-Redirect-Location",
}

// setMeta decides what the copy is stored with: what the request says, or the source's
// with what the request adds.
func (k *copying) setMeta() {
	k.meta = make(storage.Metadata, len(k.copy.Meta)+len(copiedMeta))
	maps.Copy(k.meta, k.copy.Meta)
	if k.copy.Replace {
		return
	}
	from := k.source.info.Meta
	for _, name := range copiedMeta {
		delete(k.meta, name)
		if values := from.Values(name); len(values) > 0 {
			k.meta[name] = values
		}
	}
	for name := range k.meta {
		if strings.HasPrefix(name, metaPrefix) {
			delete(k.meta, name)
		}
	}
	for name, values := range from {
		if strings.HasPrefix(name, metaPrefix) {
			k.meta[name] = storage.AsStored(values)
		}
	}
	if class := from.Values("X-Amz-Storage-Class"); k.meta.Get("X-Amz-Storage-Class") == "" && len(class) > 0 {
		k.meta["X-Amz-Storage-Class"] = class
	}
}

// run takes one of three ways. Between SSE-S3 and SSE-KMS, and from plain to
// plain, upstream copies what it has, and the proxy reads the data only for a
// digest that nobody has; everything else is read and written anew. So is what a copy onto
// itself gives another ETag, and what was restored: that its manifest is its own shows only when every byte is read, and a copy
// under another's could be read by nobody.
func (k *copying) run(ctx context.Context) error {
	if err := k.combineParts(ctx); err != nil {
		return err
	}
	from := sse.ModeNone
	if k.source.record != nil {
		from = k.source.record.Mode
	}
	to := k.asked.Mode
	wrapped := func(m sse.Mode) bool { return m == sse.ModeS3 || m == sse.ModeKMS }
	switch {
	case wrapped(from) && wrapped(to) && !k.source.object.Restored && !k.renames():
		return k.rewrap(ctx)
	case from == sse.ModeNone && to == sse.ModeNone:
		return k.copyUpstream(ctx, "")
	default:
		return k.stream(ctx)
	}
}

// renames says whether the copy would replace its source by the same ciphertext, with the same
// ETag at upstream, but another one at clients. A write's If-Match, which upstream judges, would
// hold for both.
func (k *copying) renames() bool {
	if !k.onto() || k.source.size == 0 {
		return false
	}
	from, to := k.source.record.Mode, k.asked.Mode
	return from != to || to == sse.ModeS3 && k.source.object.Facts.MD5 == nil
}

// mayPut asks upstream, once, whether the caller may write the copy: before the
// source is read or a manifest written, since the destination's rule decides whether
// that must be.
func (k *copying) mayPut(ctx context.Context) error {
	if k.put {
		return nil
	}
	err := k.vault.mayPut(ctx, k.caller, &k.copy.Write)
	k.put = err == nil
	return err
}

// rewrap seals the source's object key and facts for the new name, mode and KMS
// key, and has upstream copy the ciphertext beneath them.
func (k *copying) rewrap(ctx context.Context) error {
	v, c, write := k.vault, k.caller, &k.copy.Write
	if err := v.o.Keys.MayWrite(ctx, c.Keys, write.Name.Bucket, k.asked); err != nil {
		return v.refusal(ctx, c, write, err)
	}
	if k.source.size == 0 { // of one stream, whatever it was
		facts := &k.source.object.Facts
		facts.MD5, facts.Parts = sealed.OfNothing(), 0
	}
	if err := k.measure(ctx); err != nil {
		return err
	}
	key, err := v.o.Keys.Make(ctx, c.Keys, write.Name, k.asked)
	if err != nil {
		return v.refusal(ctx, c, write, err)
	}
	defer key.Zero()
	k.facts = k.source.object.Facts
	key.Record.OpaqueETag = key.Record.OpaqueETag && k.facts.MD5 == nil
	private, err := k.carryLayout(ctx, &key.Record)
	if err != nil {
		return err
	}
	text, err := key.Seal(&k.source.object.Key, private)
	if err != nil {
		return err
	}
	k.record = &key.Record
	if err := k.copyUpstream(ctx, text); err != nil {
		if storage.MayBeDone(err) {
			_ = k.layout.keep(ctx, v.o.Manifests) // the copy is not acknowledged
			key.Doubt(ctx)
		}
		return err
	}
	if err := k.layout.keep(ctx, v.o.Manifests); err != nil {
		return fmt.Errorf("after the copy: %w", err)
	}
	return keyring.Unconfirmed(key.Confirm(ctx))
}

// carryLayout gives the copy's record what the source has: facts in the record
// itself, for they are known now, or a manifest of its own for the layout of an
// object of parts, which upstream's copy no longer shows. It is written first.
func (k *copying) carryLayout(ctx context.Context, rec *sse.Record) (*sse.Private, error) {
	o := k.source.object
	if o.Record.Layout == sse.OneStream || o.Size == 0 {
		rec.PlainSize = o.Size
		private := sse.NewPrivate(o.Size, o.Nonce)
		private.MD5, private.Checksum = o.Facts.MD5, o.Facts.Checksum
		return private, nil
	}
	if err := k.mayPut(ctx); err != nil {
		return nil, err
	}
	parts, err := k.vault.o.Objects.Layout(ctx, o)
	if err != nil {
		return nil, err
	}
	rec.Layout, rec.Manifest = sse.Copied, sse.NewManifestID()
	k.layout = &copiedLayout{ref: manifest.Ref{Name: k.copy.Name, ID: rec.Manifest}, facts: o.Facts, parts: parts}
	return sse.NewPartsPrivate(), k.layout.write(ctx, k.vault.o.Manifests)
}

// copyUpstream has upstream copy the source, if it is still what was looked up, and store
// the copy with a record, "" for none.
func (k *copying) copyUpstream(ctx context.Context, record string) (err error) {
	algorithm := ""
	if k.record == nil {
		algorithm = k.copy.Checksum // of the plaintext
	}
	source := &k.copy.Source
	if algorithm == "" && k.onto() && (source.Version == "" || source.Version == "null") {
		// With a checksum to compute, data and metadata are written together; else a PUT
		// that comes between would get this copy's metadata on its data.
		algorithm = "CRC64NVME"
	}
	end, err := k.vault.circles.Begin(ctx, source.Name, k.copy.Name)
	if err != nil {
		return err
	}
	defer end()
	k.answer, err = k.vault.as(k.caller).Copy(ctx, &storage.Copy{
		Name: k.copy.Name, Meta: k.meta, Record: record,
		Source:      storage.Source{Name: source.Name, Version: source.Version, Slash: k.copy.Slash},
		SourceMatch: k.source.info.ETag, Tagging: k.copy.Tagging, Checksum: algorithm,
	})
	if err != nil {
		return sealed.AsChanged(err) // the only condition is that on the source
	}
	k.modified = k.answer.Modified
	return nil
}

// stream reads the source and writes a new object with keys of its own.
func (k *copying) stream(ctx context.Context) error {
	if k.source.size > MaxObjectSize {
		return ErrTooLarge
	}
	if err := k.mayPut(ctx); err != nil {
		return err
	}
	if err := k.copyTags(ctx); err != nil {
		return err
	}
	plain, err := k.source.open(ctx, k.caller, sse.Range{Length: k.source.size})
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	known, sums := k.ofStream()
	u := &writing{
		vault: k.vault, caller: k.caller, write: &k.copy.Write, asked: k.asked, meta: k.meta, size: k.source.size, copied: true,
		body: plaintext.NewCopied(plain, known, k.asked.NeedsMD5() && known.MD5 == nil, sums),
	}
	if err := u.store(ctx, sums != nil); err != nil {
		return err
	}
	k.record, k.facts, k.answer = u.record, u.facts, u.answer
	return k.lookUp(ctx)
}

// copyTags gives the new object the source's tags, which upstream copies only
// when it copies the object.
func (k *copying) copyTags(ctx context.Context) error {
	if strings.EqualFold(k.copy.Tagging, "REPLACE") {
		return nil
	}
	delete(k.meta, "X-Amz-Tagging")
	if n, _ := strconv.Atoi(k.source.info.Meta.Get("X-Amz-Tagging-Count")); n == 0 {
		return nil
	}
	tags, err := k.vault.as(k.caller).Tags(ctx, &storage.Get{Name: k.copy.Source.Name, Version: k.copy.Source.Version})
	if err != nil {
		return err
	}
	values := make(url.Values, len(tags))
	for name, value := range tags {
		values.Set(name, value)
	}
	k.meta.Set("X-Amz-Tagging", values.Encode())
	return nil
}

// lookUp asks when upstream stored the new object; a PUT's answer does not say.
func (k *copying) lookUp(ctx context.Context) error {
	info, err := k.vault.own(k.caller).Head(ctx, &storage.Get{Name: k.copy.Name, Version: k.answer.Version})
	var answered *storage.Error
	if err != nil && !errors.As(err, &answered) {
		return err
	}
	if err != nil || info.Modified.IsZero() {
		k.modified = time.Now() // overwritten meanwhile, or gone
		return nil
	}
	k.modified = info.Modified
	return nil
}

// copied is what clients are told.
func (k *copying) copied() *Copied {
	return &Copied{
		Stored: Stored{
			ETag: sealed.ETag(k.record, &k.facts, k.answer.ETag), Version: k.answer.Version, Meta: k.answer.Meta,
			Record: k.record, Facts: k.facts,
		},
		Modified:      k.modified,
		SourceVersion: cmp.Or(k.source.info.Version, k.copy.Source.Version), // MinIO does not name the null version
	}
}
