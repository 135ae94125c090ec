package maintenance

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// ErrNothingLost says that an object has its manifest, or needs none.
var ErrNothingLost = errors.New("nothing is lost: the object has its manifest, or needs none")

// Rescue is the order to make an object's lost manifest anew.
type Rescue struct {
	Bucket, Key string
	// Version is a version id; "" means the current version.
	Version string
	// Customer is the customer key of an SSE-C object, else nil.
	Customer *sse.Secret
	// Sequential finds the parts in the data alone, without upstream's list of them.
	Sequential bool
	// Copied says that the object was copied to where it lies, as a backup is: that
	// upstream's ETag and list of parts are not those of the upload.
	Copied bool
	// Replace also puts a manifest in the place of one that does not open.
	Replace bool
}

// Rescued is what was made.
type Rescued struct {
	// ETag is the one that clients know the object by, in quotes.
	ETag string
	// Size is the plaintext's length in bytes.
	Size int64
	// Parts is the number of parts, 0 for an object of one stream.
	Parts int
	// Proven says that nothing in the manifest is upstream's word.
	Proven bool
}

// Rescue reads an object whose manifest is lost, and writes one that describes
// what upstream has. Every byte is authenticated; that the parts are those which the
// client put together nobody vouches for, and the manifest says so. ErrNothingLost,
// manifest.ErrMissing if one is there that does not open, or the errors of a read.
func (k *Keeper) Rescue(ctx context.Context, order Rescue) (*Rescued, error) {
	if err := k.o.Ready(ctx); err != nil {
		return nil, err
	}
	name, err := objectname.Of(order.Bucket, order.Key)
	if err != nil {
		return nil, err
	}
	l := &lost{Rescue: order, keeper: k, name: name}
	if err := l.find(ctx); err != nil {
		return nil, err
	}
	opened, err := k.o.Keys.Open(ctx, keyring.Operator(), l.name, l.record, order.Customer)
	if err != nil {
		return nil, err
	}
	key := &opened.Key
	defer key.Zero()
	if err := l.check(ctx, key); err != nil {
		return nil, err
	}
	if l.record.Layout == sse.OneStream {
		err = l.readStream(ctx, key, opened.Private)
	} else {
		err = l.readParts(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	write := k.o.Manifests.Put
	if l.broken {
		write = k.o.Manifests.Replace
	}
	if err := write(ctx, l.ref, l.facts, l.parts); err != nil {
		return nil, err
	}
	return &Rescued{
		ETag: sealed.ETag(l.record, &l.facts, l.stored), Size: max(l.facts.PlainSize, l.record.PlainSize),
		Parts: l.facts.Parts, Proven: !l.facts.Unproven,
	}, nil
}

// lost is an object whose manifest is lost.
type lost struct {
	Rescue
	keeper *Keeper
	name   sse.Name
	record *sse.Record
	ref    manifest.Ref
	stored string // upstream's ETag as it answered it
	size   int64  // encrypted
	broken bool   // a manifest is there that does not open
	// adopted are the parts of a manifest that was found by the data, else nil.
	adopted *sse.Parts

	facts sse.Facts
	parts *sse.Parts // nil for an object of one stream
}

// find looks the object up, and says whether its manifest is lost.
func (l *lost) find(ctx context.Context) error {
	info, err := l.keeper.alone().Head(ctx, l.get())
	if err != nil {
		return err
	}
	l.stored, l.size = info.ETag, info.Size
	if l.record, err = sealed.RecordOf(info.Reserved); err != nil {
		return err
	}
	if l.record == nil || l.record.Manifest == (sse.ManifestID{}) {
		return ErrNothingLost
	}
	manifests := l.keeper.o.Manifests
	l.ref = sealed.Ref(l.name, l.record, l.stored)
	_, err = manifests.Find(ctx, l.ref, l.keeper.o.Objects.Data(l.name, info))
	var parts *sse.Parts
	if err == nil && l.record.Layout != sse.OneStream {
		parts, err = manifests.Parts(ctx, l.ref)
	}
	switch {
	case err == nil && manifests.Restored(l.ref):
		l.adopted = parts
		return nil
	case err == nil:
		return ErrNothingLost
	case !errors.Is(err, manifest.ErrMissing) && !errors.Is(err, system.ErrTampered):
		return err
	}
	lookUp := err
	if l.broken, err = manifests.Exists(ctx, l.ref); err == nil && l.broken && !l.Replace {
		return lookUp
	}
	return err
}

func (l *lost) get() *storage.Get { return &storage.Get{Name: l.name, Version: l.Version} }

// read gives f the encrypted bytes of the object that was found.
func (l *lost) read(ctx context.Context, f func(io.Reader) error) error {
	get := l.get()
	get.IfMatch = l.stored
	got, err := l.keeper.alone().Get(ctx, get)
	if err != nil {
		return err
	}
	defer func() { _ = got.Close() }()
	if err := sealed.CheckAnswer(&got.Info, sse.Range{}, l.size, false); err != nil {
		return err
	}
	return f(got)
}

// check reads all of an object whose manifest was found by the data. ErrNothingLost if
// it is the object's own: only those that were written are there to be found.
func (l *lost) check(ctx context.Context, key *sse.ObjectKey) error {
	if l.adopted == nil {
		return nil
	}
	err := l.read(ctx, func(enc io.Reader) error {
		plain, err := l.adopted.Decrypt(key, enc, sse.Range{Length: l.adopted.PlainSize()})
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, plain); err != nil {
			return sealed.ReadError(err)
		}
		return nil
	})
	if err == nil {
		return ErrNothingLost
	}
	if sealed.DoesNotFit(err) {
		return nil
	}
	return err
}

// readStream computes what is known of an object of one stream. Its record vouches
// for every byte; a checksum that the client gave with it is gone.
func (l *lost) readStream(ctx context.Context, key *sse.ObjectKey, private *sse.Private) error {
	if want := sse.EncSize(l.record.PlainSize); want != l.size {
		return fmt.Errorf("upstream has %d bytes where the record says %d: %w", l.size, want, storage.ErrLied)
	}
	sum := md5.New() //nolint:gosec // see above
	err := l.read(ctx, func(enc io.Reader) error {
		plain, err := sse.OnePart(l.record.PlainSize, private.Nonce).Decrypt(key, enc, sse.Range{Length: l.record.PlainSize})
		if err != nil {
			return err
		}
		if _, err := io.Copy(sum, plain); err != nil {
			return sealed.ReadError(err)
		}
		return nil
	})
	if l.record.MD5ETag() {
		l.facts.MD5 = sum.Sum(nil)
	}
	return err
}

// readParts finds the parts and computes what follows from them. Upstream's ETag
// must follow from their ciphertexts, if the object is as it was uploaded.
func (l *lost) readParts(ctx context.Context, key *sse.ObjectKey) error {
	survey := &sse.Survey{Key: key}
	var err error
	if !l.Sequential && !l.Copied && l.record.Layout == sse.Uploaded { // of a copy upstream knows no parts
		if survey.Known, err = l.knownParts(ctx); err != nil {
			return err
		}
	}
	var sums partSums
	var found []sse.Part
	survey.Begin = sums.begin
	err = l.read(ctx, func(enc io.Reader) error {
		if found, err = survey.Run(enc); err != nil {
			return sealed.ReadError(err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if l.size == 0 && len(found) == 0 { // an object of parts has one
		sums.begin()
		found = []sse.Part{{Number: 1}}
	}
	sums.end()
	if l.parts, err = sse.NewParts(found, 0); err != nil {
		return err
	}
	if l.parts.EncSize() != l.size {
		return fmt.Errorf("%d encrypted bytes of %d: %w", l.parts.EncSize(), l.size, sse.ErrTruncated)
	}
	stored := hex.EncodeToString(sums.stored.Sum(nil)) + "-" + strconv.Itoa(len(found))
	if l.record.Layout == sse.Uploaded && !l.Copied && stored != l.ref.ETag {
		return fmt.Errorf("upstream's ETag is %s, that of the %d parts found is %s; --copied takes an object that was restored from a copy: %w", l.ref.ETag, len(found), stored, storage.ErrLied)
	}
	l.facts = sse.Facts{Parts: len(found), PlainSize: l.parts.PlainSize(), Unproven: true}
	switch {
	case !l.record.MD5ETag():
	case l.record.OpaqueETag:
		l.facts.MD5 = l.opaqueMD5()
	default:
		l.facts.MD5 = sums.plain.Sum(nil)
	}
	return nil
}

// opaqueMD5 is the MD5 of the parts' ETags where those are opaque. Which of them came with
// an MD5 nothing says any more: none is taken to have, but for empty ones.
func (l *lost) opaqueMD5() []byte {
	sum := md5.New() //nolint:gosec // see above
	for _, p := range l.parts.List() {
		facts := sse.PartFacts{Nonce: p.Nonce}
		if p.PlainSize == 0 {
			facts.MD5 = sealed.OfNothing()
		}
		sum.Write(sealed.PartDigest(l.record, int(p.Number), &facts))
	}
	return sum.Sum(nil)
}

// knownParts are the numbers and sizes of the parts as upstream says.
func (l *lost) knownParts(ctx context.Context) ([]sse.Part, error) {
	listed, err := l.keeper.alone().ObjectParts(ctx, l.get())
	if err != nil {
		return nil, err
	}
	known := make([]sse.Part, len(listed))
	for i, p := range listed {
		size, err := sse.PlainSize(p.Size)
		if err != nil {
			return nil, fmt.Errorf("part %d as upstream lists it: %w", p.Number, err)
		}
		if p.Number < 1 || p.Number > sse.MaxParts {
			return nil, fmt.Errorf("upstream lists a part %d: %w", p.Number, storage.ErrLied)
		}
		known[i] = sse.Part{Number: uint32(p.Number), PlainSize: size} //nolint:gosec // checked: 1 to 10,000
	}
	if _, err := sse.NewParts(known, 0); err != nil {
		return nil, err
	}
	return known, nil
}

// partSums puts ETags together from parts that come one after the other.
type partSums struct {
	plain, stored            hash.Hash // of the parts' digests
	partPlain, partEncrypted hash.Hash // of the current part
}

// begin implements sse.Survey's Begin.
func (p *partSums) begin() (plain, encrypted io.Writer) {
	if p.plain == nil {
		p.plain, p.stored = md5.New(), md5.New() //nolint:gosec // see above
	}
	p.end()
	p.partPlain, p.partEncrypted = md5.New(), md5.New() //nolint:gosec // see above
	return p.partPlain, p.partEncrypted
}

// end adds the current part's digests, if there is one.
func (p *partSums) end() {
	if p.partPlain != nil {
		p.plain.Write(p.partPlain.Sum(nil))
		p.stored.Write(p.partEncrypted.Sum(nil))
		p.partPlain, p.partEncrypted = nil, nil
	}
}
