package vault

import (
	"context"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/sse"
)

// askedSum is the checksum that the request asks the copy to have.
func (k *copying) askedSum() (checksum.Algorithm, bool) { return checksum.Parse(k.copy.Checksum) }

// missing is the checksum that the copy must have and its source does not: the one
// that the request asks for, or, as at AWS, one of the whole where the source's is one
// of its parts'.
func (k *copying) missing(known *sse.Facts) []checksum.Algorithm {
	sum := known.Checksum
	algorithm, ok := k.askedSum()
	if !ok && sum != nil {
		algorithm, ok = plaintext.Algorithm(sum.Type), true
	}
	if !ok || sum != nil && !sum.Composite && sum.Type == plaintext.ChecksumType(algorithm) {
		return nil
	}
	return []checksum.Algorithm{algorithm}
}

// whileReading is what to compute of data that is read in any case: as at AWS, a
// copy whose source has no checksum gets a CRC64NVME.
func (k *copying) whileReading(known *sse.Facts) []checksum.Algorithm {
	if _, asked := k.askedSum(); !asked && known.Checksum == nil {
		return []checksum.Algorithm{plaintext.DefaultChecksum}
	}
	return k.missing(known)
}

// combineParts gives a copy the checksum of the whole where its source has one of its
// parts' checksums that it follows from: a CRC. No data is read for it.
func (k *copying) combineParts(ctx context.Context) error {
	o := k.source.object
	if o == nil || o.Facts.Checksum == nil || !o.Facts.Checksum.Composite || !plaintext.Algorithm(o.Facts.Checksum.Type).Combinable() {
		return nil
	}
	if err := k.mayPut(ctx); err != nil {
		return err
	}
	parts, err := k.vault.o.Objects.Layout(ctx, o)
	if err != nil {
		return err
	}
	kind, whole := o.Facts.Checksum.Type, uint64(0)
	if parts.Checksum() != kind {
		return nil
	}
	for _, p := range parts.List() {
		whole = checksum.Combine(plaintext.Algorithm(kind), whole, p.Checksum, p.PlainSize)
	}
	o.Facts.Checksum = &sse.Checksum{Type: kind, Value: checksum.Bytes(plaintext.Algorithm(kind), whole)}
	return nil
}

// measure reads the source for what the copy must have and nobody knows: the MD5
// of an object whose copy's ETag that is, as when SSE-KMS becomes SSE-S3, and a checksum that is asked
// for. Where nothing is missing it reads nothing.
func (k *copying) measure(ctx context.Context) error {
	facts := &k.source.object.Facts
	withMD5 := k.asked.NeedsMD5() && facts.MD5 == nil
	if !withMD5 && k.missing(facts) == nil {
		return nil
	}
	if err := k.mayPut(ctx); err != nil {
		return err
	}
	plain, err := k.source.open(ctx, k.caller, sse.Range{Length: k.source.size})
	if err != nil {
		return err
	}
	defer func() { _ = plain.Close() }()
	body := plaintext.NewCopied(plain, *facts, withMD5, k.whileReading(facts))
	if err := k.vault.discard(body); err != nil {
		return err
	}
	if sum, ok := body.MD5(); ok {
		facts.MD5, facts.Parts = sum[:], 0
	}
	for algorithm, value := range body.Checksums() {
		facts.Checksum = &sse.Checksum{Type: plaintext.ChecksumType(algorithm), Value: value}
	}
	return nil
}

// ofStream returns what the source's facts say of data that is written anew as one
// stream, and what else to compute of it.
func (k *copying) ofStream() (known sse.Facts, sums []checksum.Algorithm) {
	if o := k.source.object; o != nil {
		known.Checksum = o.Facts.Checksum
		if o.Facts.Parts == 0 {
			known.MD5 = o.Facts.MD5
		}
	}
	if k.asked.Mode != sse.ModeNone { // else upstream computes none, and takes none after the data
		sums = k.whileReading(&known)
	}
	if sums != nil || known.Checksum != nil && known.Checksum.Composite {
		known.Checksum = nil
	}
	return known, sums
}
