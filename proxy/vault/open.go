package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Get asks for an object, or for bytes of it.
type Get struct {
	Read
	// Head asks for what Open says of the object, and for no data.
	Head bool
	// Range asks for a range of the plaintext, nil for all of it.
	Range *plaintext.Range
	// Part asks for a part by its number, 0 for none; then Range is nil. An object that
	// was not uploaded in parts has one.
	Part int
	// Answer are S3's parameters response-*, which change what Meta says.
	Answer map[string][]string
}

// errAnew says that an object must be asked for in another way, of which the opening has
// taken note.
var errAnew = errors.New("the object is to be asked for anew")

// Open opens an object for a caller who may read it, or says what Get asks of it. Before
// it succeeds, what the storage answers is known to be what the object's record says, but
// for the data itself: see Reader.First. *conditions.Error, *plaintext.RangeError, ErrPartNumber,
// ErrPlainObject, ErrCustomerKeyUnused, ErrChanged, or storage, keyring, kms, manifest and
// sse errors.
func (v *Vault) Open(ctx context.Context, c *caller.Caller, g *Get) (*Reader, error) {
	o := &opening{vault: v, caller: c, get: g, rng: g.Range}
	for tries := 1; ; {
		r, err := o.try(ctx)
		switch {
		case errors.Is(err, errAnew): // at most once for each thing that changes then
		case errors.Is(err, ErrChanged) && tries < readTries:
			tries++
			o.cold = true
		default:
			return r, err
		}
	}
}

// opening is a Get on its way.
type opening struct {
	vault  *Vault
	caller *caller.Caller
	get    *Get
	// rng is the range that is answered, nil for the whole object.
	rng *plaintext.Range
	// cold says that what is known beforehand is not to be used.
	cold bool
	// known is what was asked for where it was known beforehand, else nil.
	known *knownPlace
}

// knownPlace is where the bytes lie of which a request was made beforehand.
type knownPlace struct {
	layoutHint
	sse.Range
}

// try opens the object as it is now. errAnew, ErrChanged.
func (o *opening) try(ctx context.Context) (*Reader, error) {
	began := time.Now()
	o.vault.o.Keys.Rekeyed().Ahead()
	info, body, err := o.ask(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reader{source: source{vault: o.vault, read: o.get.Read, info: info}, body: body}
	// Its key may be one that was there when it was asked for: other requests have looked.
	if err := o.read(keyring.AsOf(ctx, began), r); err != nil {
		o.vault.o.Objects.Doubt(r.source.object, err)
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// read makes r what was asked for, out of upstream's first answer.
func (o *opening) read(ctx context.Context, r *Reader) (err error) {
	s := &r.source
	if s.record, err = sealed.RecordOf(s.info.Reserved); err != nil {
		return err
	}
	if err := o.vault.readable(s.record, s.read); err != nil {
		return err
	}
	if s.record == nil {
		return o.readPlain(ctx, r)
	}
	if s.object, err = o.vault.o.Objects.Open(ctx, o.caller.Keys, s.read.Name, s.record, s.info, s.read.Customer, s.read.Checksum); err != nil {
		return err
	}
	s.size = s.object.Size
	if o.known != nil && o.known.ref != sealed.Ref(s.read.Name, s.record, s.info.ETag) { // another object with the same ETag
		o.cold = true
		return errAnew
	}
	r.Seen = *s.seen()
	if err := o.judge(r); err != nil {
		return err
	}
	if err := o.plan(r); err != nil {
		return err
	}
	return o.decrypt(ctx, r)
}

// judge judges the conditions on the object. errAnew if its range does not hold.
func (o *opening) judge(r *Reader) error {
	asks := &o.get.Conditions
	if err := asks.Check(r.ETag, r.Modified); err != nil {
		return err
	}
	if o.rng != nil && !asks.RangeHolds(r.ETag, r.Modified) {
		o.rng = nil
		return errAnew
	}
	return nil
}

// plan decides which bytes of the plaintext are answered; of a part it is not known yet.
func (o *opening) plan(r *Reader) (err error) {
	r.Range = sse.Range{Length: r.Size}
	if o.rng != nil {
		r.Partial = true
		if r.Range, err = o.rng.Of(r.Size); err != nil {
			return err
		}
	}
	if !o.get.Head && o.get.Part == 0 && r.body == nil {
		return fmt.Errorf("the object grew after its range was refused: %w", ErrChanged)
	}
	if o.rng == nil && o.get.Part == 0 && o.get.Checksum {
		r.Checksum = r.Facts.Checksum
	}
	o.vault.sayUnproven(&r.Seen)
	return nil
}

// sayUnproven says in the log that nobody vouches for the parts of an object that is read.
func (v *Vault) sayUnproven(o *Seen) {
	if o.Facts.Unproven {
		v.log.Warn("an object is read by a manifest that was made by `object rescue`: its parts are authentic, their choice is not",
			"bucket", o.Name.Bucket, "key", o.Name.Key, "etag", strings.Trim(o.ETag, `"`))
	}
}

// decrypt makes r the plaintext that was planned.
func (o *opening) decrypt(ctx context.Context, r *Reader) error {
	s := &r.source
	if o.get.Head && o.get.Part == 0 && s.record.Layout != sse.OneStream {
		return nil // the size is in the manifest; the table of parts is not needed
	}
	parts, err := o.vault.o.Objects.Layout(ctx, s.object)
	if err != nil {
		return err
	}
	if s.record.Layout != sse.OneStream {
		o.vault.layouts.remember(o.version(), layoutHint{sealed.Ref(s.read.Name, s.record, s.info.ETag), s.info.ETag})
	}
	if o.get.Part > 0 {
		if err := o.planPart(r, parts); err != nil {
			return err
		}
	}
	if o.get.Head {
		return sealed.CheckLength(s.info, parts.EncSize())
	}
	src, err := o.packages(ctx, r, parts)
	if err != nil {
		return err
	}
	if r.text, err = parts.Decrypt(&s.object.Key, src, r.Range); err != nil {
		return err
	}
	r.plain = r.text
	return nil
}

// planPart decides which bytes of the plaintext are the part that is asked for.
func (o *opening) planPart(r *Reader, parts *sse.Parts) error {
	r.Partial = true
	if r.Record.Layout != sse.Uploaded {
		if o.get.Part != 1 {
			return ErrPartNumber
		}
		return nil // all of it
	}
	for i, part := range parts.List() {
		if int(part.Number) == o.get.Part {
			r.Range, r.Parts = parts.Range(i), len(parts.List())
			if part.Checksum != nil && o.get.Checksum {
				r.Checksum = &sse.Checksum{Type: parts.Checksum(), Value: part.Checksum}
			}
			return nil
		}
	}
	return ErrPartNumber
}

// packages returns exactly the encrypted bytes of the packages that hold what is
// answered, once upstream's answer is known to be what record and manifest say.
func (o *opening) packages(ctx context.Context, r *Reader, parts *sse.Parts) (io.Reader, error) {
	encSize := parts.EncSize()
	got, ranged := o.answered(encSize)
	if err := sealed.CheckAnswer(r.source.info, got, encSize, ranged); err != nil {
		return nil, err
	}
	need := parts.Encrypted(r.Range)
	if need.Length == 0 {
		return strings.NewReader(""), nil
	}
	if r.body != nil && need.Offset >= got.Offset && need.Offset+need.Length <= got.Offset+got.Length {
		if _, err := io.CopyN(io.Discard, r.body, need.Offset-got.Offset); err != nil {
			return nil, fmt.Errorf("skip to the first package: %w (%w)", storage.ErrUnreachable, err)
		}
		return io.LimitReader(r.body, need.Length), nil
	}
	if err := o.askAgain(ctx, r, need, encSize); err != nil {
		return nil, err
	}
	return r.again, nil
}

// answered returns which encrypted bytes upstream was asked for, of encSize, and
// whether that is a range.
func (o *opening) answered(encSize int64) (sse.Range, bool) {
	switch {
	case o.known != nil:
		return o.known.Range, true
	case o.rng != nil:
		return o.rng.Encrypted(encSize), true
	default:
		return sse.Range{Length: encSize}, false
	}
}
