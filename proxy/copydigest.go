package proxy

import (
	"context"
	"io"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/sse"
)

// askedSum is the checksum that the request asks the copy to have.
func (c *copying) askedSum() (checksum.Algorithm, bool) {
	return checksum.Parse(c.request.Header.Get("X-Amz-Checksum-Algorithm"))
}

// missing is the checksum that the copy must have and its source does not: the one
// that the request asks for, or, as at AWS, one of the whole where the source's is one
// of its parts'.
func (c *copying) missing(known *sse.Facts) []checksum.Algorithm {
	sum := known.Checksum
	algorithm, ok := c.askedSum()
	if !ok && sum != nil {
		algorithm, ok = checksumOf(sum.Type).wire, true
	}
	if !ok || sum != nil && !sum.Composite && sum.Type == sealedChecksum(algorithm) {
		return nil
	}
	return []checksum.Algorithm{algorithm}
}

// whileReading is what to compute of data that is read in any case: as at AWS, a
// copy whose source has no checksum gets a CRC64NVME.
func (c *copying) whileReading(known *sse.Facts) []checksum.Algorithm {
	if _, asked := c.askedSum(); !asked && known.Checksum == nil {
		return []checksum.Algorithm{defaultChecksum}
	}
	return c.missing(known)
}

// combineParts gives a copy the checksum of the whole where its source has one of its
// parts' checksums that it follows from: a CRC. No data is read for it.
func (c *copying) combineParts(ctx context.Context) error {
	o := c.source.object
	if o == nil || o.facts.Checksum == nil || !o.facts.Checksum.Composite || !combinable(o.facts.Checksum.Type) {
		return nil
	}
	if err := c.mayPut(ctx); err != nil {
		return err
	}
	parts, err := c.server.layout(ctx, o)
	if err != nil {
		return err
	}
	kind, whole := o.facts.Checksum.Type, uint64(0)
	if parts.Checksum() != kind {
		return nil
	}
	for _, p := range parts.List() {
		whole = checksum.Combine(checksumOf(kind).wire, whole, p.Checksum, p.PlainSize)
	}
	o.facts.Checksum = &sse.Checksum{Type: kind, Value: checksum.Bytes(checksumOf(kind).wire, whole)}
	return nil
}

// measure reads the source for what the copy must have and nobody knows: the MD5
// of an SSE-KMS object that becomes an SSE-S3 one, and a checksum that is asked
// for. Where nothing is missing it reads nothing.
func (c *copying) measure(ctx context.Context) error {
	facts := &c.source.object.facts
	withMD5 := c.asked.Mode == sse.ModeS3 && facts.MD5 == nil
	if !withMD5 && c.missing(facts) == nil {
		return nil
	}
	if err := c.mayPut(ctx); err != nil {
		return err
	}
	plain, done, err := c.source.read(ctx, c.server, c.request, sse.Range{Length: c.source.size})
	if err != nil {
		return err
	}
	defer done()
	body := newCopiedBody(plain, *facts, withMD5, c.whileReading(facts))
	if err := c.server.buffers.discard(body); err != nil {
		return err
	}
	if sum, ok := body.MD5(); ok {
		facts.MD5, facts.Parts = sum[:], 0
	}
	for algorithm, value := range body.Checksums() {
		facts.Checksum = &sse.Checksum{Type: sealedChecksum(algorithm), Value: value}
	}
	return nil
}

// discard reads src to its end.
func (b *bufferBudget) discard(src io.Reader) error {
	buffer := b.copies.Get().(*[copyBufferSize]byte)
	defer func() {
		clear(buffer[:]) // plaintext
		b.copies.Put(buffer)
	}()
	return b.copy(io.Discard, src, buffer[:], 0)
}

// ofStream returns what the source's facts say of data that is written anew as one
// stream, and what else to compute of it.
func (c *copying) ofStream() (known sse.Facts, sums []checksum.Algorithm) {
	if o := c.source.object; o != nil {
		known.Checksum = o.facts.Checksum
		if o.facts.Parts == 0 {
			known.MD5 = o.facts.MD5
		}
	}
	if c.asked.Mode != sse.ModeNone { // else upstream computes none, and takes none after the data
		sums = c.whileReading(&known)
	}
	if sums != nil || known.Checksum != nil && known.Checksum.Composite {
		known.Checksum = nil
	}
	return known, sums
}
