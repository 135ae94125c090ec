package verify

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/bucketseal/bucketseal/proxy/inventory"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// check reads a version and returns its plaintext's size. Errors are of kindOf.
func (r *run) check(ctx context.Context, v *inventory.Version) (size int64, err error) {
	rec, err := sealed.RecordOf(v.Reserved)
	switch {
	case err != nil:
		return 0, &found{Record, err}
	case rec == nil && v.Encrypted != "":
		return 0, &found{Plain, errors.New("MinIO alone has encrypted it")}
	case rec == nil:
		return 0, &found{Plain, errors.New("it is not encrypted")}
	case rec.Mode == sse.ModeC:
		return 0, &found{Customer, errors.New("it was not read")}
	}
	get := &storage.Get{Name: v.Name, Version: v.ID, IfMatch: v.ETag}
	got, err := r.at.Get(ctx, get)
	if err != nil {
		return 0, sealed.AsChanged(err)
	}
	defer func() { _ = got.Close() }()
	if !sealed.SameRecord(&got.Info, &storage.Info{Reserved: v.Reserved}) {
		return 0, sealed.ErrChanged
	}
	objects := r.verifier.o.Objects
	o, err := objects.Open(ctx, keyring.Operator(), v.Name, rec, &got.Info, nil, true)
	if errors.Is(err, sse.ErrTampered) {
		return 0, &found{Record, err}
	}
	if err != nil {
		return 0, err
	}
	defer o.Zero()
	parts, err := objects.Layout(ctx, o)
	if err != nil {
		return 0, err
	}
	if err := sealed.CheckAnswer(&got.Info, sse.Range{}, parts.EncSize(), false); err != nil {
		return 0, err
	}
	if err := read(o, parts, got); err != nil {
		objects.Doubt(o, err)
		return 0, err
	}
	if o.Facts.Unproven {
		r.note(Finding{Kind: Unproven, Bucket: v.Name.Bucket, Key: v.Name.Key, Version: v.ID})
	}
	return o.Size, nil
}

// read authenticates an object's data and compares them with what is known of them.
func read(o *sealed.Object, parts *sse.Parts, enc io.Reader) error {
	plain, err := parts.Decrypt(&o.Key, enc, sse.Range{Length: parts.PlainSize()})
	if err != nil {
		return err
	}
	w := newDigests(o, parts)
	for i, part := range parts.List() {
		w.begin()
		n, err := io.Copy(w, io.LimitReader(plain, part.PlainSize))
		switch {
		case err != nil:
			return sealed.ReadError(err)
		case n != part.PlainSize:
			return fmt.Errorf("%d bytes of part %d, which has %d: %w", n, part.Number, part.PlainSize, sse.ErrTruncated)
		}
		if err := w.end(&parts.List()[i]); err != nil {
			return err
		}
	}
	if n, err := io.Copy(io.Discard, plain); err != nil {
		return sealed.ReadError(err)
	} else if n > 0 {
		return fmt.Errorf("%d bytes more than the object's: %w", n, sse.ErrTampered)
	}
	return w.compare()
}

// digests are those that an object's data should have.
type digests struct {
	facts *sse.Facts
	// kind is the algorithm of the parts' checksums, 0 for none.
	kind sse.ChecksumType
	// md5 is of all data, or of the current part, whose sums go into ofParts.
	md5, ofParts hash.Hash
	// sum is of all data, part of the current part, composite of the parts' sums; nil where
	// nobody knows it.
	sum, part, composite hash.Hash
}

func newDigests(o *sealed.Object, parts *sse.Parts) *digests {
	d := &digests{facts: &o.Facts, kind: parts.Checksum()}
	if o.Facts.MD5 != nil && !o.Record.OpaqueETag { // else it is of parts of which some may have no MD5
		d.md5 = md5.New() //nolint:gosec // see above
		if o.Facts.Parts > 0 {
			d.ofParts = md5.New() //nolint:gosec // see above
		}
	}
	if s := o.Facts.Checksum; s != nil && s.Composite {
		d.composite = plaintext.Algorithm(s.Type).New()
		if d.kind == 0 {
			d.kind = s.Type
		}
	} else if s != nil {
		d.sum = plaintext.Algorithm(s.Type).New()
	}
	if d.kind != 0 {
		d.part = plaintext.Algorithm(d.kind).New()
	}
	return d
}

// Write takes data.
func (d *digests) Write(p []byte) (int, error) {
	for _, h := range []hash.Hash{d.md5, d.sum, d.part} {
		if h != nil {
			_, _ = h.Write(p)
		}
	}
	return len(p), nil
}

func (d *digests) begin() {
	if d.ofParts != nil {
		d.md5.Reset()
	}
	if d.part != nil {
		d.part.Reset()
	}
}

// end compares a part's checksum.
func (d *digests) end(part *sse.Part) error {
	if d.ofParts != nil {
		d.ofParts.Write(d.md5.Sum(nil))
	}
	if d.part == nil {
		return nil
	}
	sum := d.part.Sum(nil)
	if part.Checksum != nil && !bytes.Equal(sum, part.Checksum) {
		return &found{Digest, fmt.Errorf("part %d has the %v %x, not %x", part.Number, plaintext.Algorithm(d.kind), sum, part.Checksum)}
	}
	if d.composite != nil {
		d.composite.Write(sum)
	}
	return nil
}

// compare holds the digests against the facts.
func (d *digests) compare() error {
	whole := d.md5
	if d.ofParts != nil {
		whole = d.ofParts
	}
	if whole != nil && !bytes.Equal(whole.Sum(nil), d.facts.MD5) {
		return &found{Digest, fmt.Errorf("its data have the ETag %x, not %x", whole.Sum(nil), d.facts.MD5)}
	}
	sum := d.sum
	if d.composite != nil {
		sum = d.composite
	}
	if sum != nil && !bytes.Equal(sum.Sum(nil), d.facts.Checksum.Value) {
		return &found{Digest, fmt.Errorf("its data have the %v %x, not %x", plaintext.Algorithm(d.facts.Checksum.Type), sum.Sum(nil), d.facts.Checksum.Value)}
	}
	return nil
}
