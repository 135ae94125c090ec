package takeover

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// sealing is the ciphertext of an object before it is stored: nothing of the object may be
// under way from the storage any more when it is replaced, for both wait for one lock there.
type sealing struct {
	key    *keyring.WriteKey
	object sse.ObjectKey
	mode   sse.Mode
	// parts are those that the object was put together from, nil for one stream.
	parts []sse.Part

	size   int64  // of the plaintext
	stored string // the storage's ETag
	said   *sse.Checksum

	memory *bytes.Buffer // or
	file   *os.File

	facts sse.Facts
	table *sse.Parts // of parts, else nil
	nonce sse.StreamNonce
}

func newSealing(key *keyring.WriteKey, parts []sse.Part, mode sse.Mode) *sealing {
	return &sealing{key: key, object: sse.NewObjectKey(), parts: parts, mode: mode}
}

func (s *sealing) close() {
	s.object.Zero()
	if s.file != nil {
		_ = s.file.Close()
	}
}

// expect takes note of the checksum that the storage has of the object.
func (s *sealing) expect(meta storage.Metadata) {
	for algorithm, kind := range plaintext.Checksums() {
		text := meta.Get(plaintext.ChecksumHeader(algorithm))
		text, _, composite := strings.Cut(text, "-")
		value, err := base64.StdEncoding.DecodeString(text)
		if err == nil && len(value) == kind.Size() && len(value) > 0 {
			s.said = &sse.Checksum{Type: kind, Value: value, Composite: composite || meta.Get("X-Amz-Checksum-Type") == "COMPOSITE"}
			return
		}
	}
}

// open makes the place of the ciphertext: a file, of what is larger than memory. No other
// process finds it, and it is gone with this one.
func (s *sealing) open(memory int64, spool string) (err error) {
	if s.size <= memory {
		s.memory = bytes.NewBuffer(make([]byte, 0, sse.EncSize(s.size)))
		return nil
	}
	if s.file, err = os.CreateTemp(spool, "bucketseal-encrypt-*"); err != nil {
		return err
	}
	return os.Remove(s.file.Name())
}

func (s *sealing) sink() io.Writer {
	if s.file != nil {
		return s.file
	}
	return s.memory
}

// seal encrypts a plaintext of s.size bytes, and learns what is known of it. A *leaving
// where it is not what the storage says of it.
func (s *sealing) seal(src io.Reader) error {
	if s.said != nil && s.said.Composite && s.parts == nil { // of parts that nobody knows
		s.said = nil
	}
	if s.parts != nil {
		return s.sealParts(src)
	}
	d := s.digests(s.said)
	s.nonce = sse.NewStreamNonce()
	if err := s.stream(src, 1, s.nonce, s.size, d); err != nil {
		return err
	}
	if s.mode == sse.ModeS3 {
		s.facts.MD5 = d.md5.Sum(nil)
	}
	return s.compare(d.sum)
}

// sealParts encrypts each part as a stream of its own, as an upload in parts does.
func (s *sealing) sealParts(src io.Reader) error {
	ofParts := md5.New() //nolint:gosec // see above
	var kind sse.ChecksumType
	var composite hash.Hash
	var whole *digests
	if s.said != nil && s.said.Composite {
		kind, composite = s.said.Type, plaintext.Algorithm(s.said.Type).New()
	} else if s.said != nil {
		whole = s.digests(s.said)
	}
	for i := range s.parts {
		part := &s.parts[i]
		d := s.digests(nil)
		if composite != nil {
			d.sum = plaintext.Algorithm(kind).New()
		} else if whole != nil {
			d.sum = whole.sum
		}
		part.Nonce = sse.NewStreamNonce()
		if err := s.stream(io.LimitReader(src, part.PlainSize), part.Number, part.Nonce, part.PlainSize, d); err != nil {
			return err
		}
		ofParts.Write(d.md5.Sum(nil))
		if composite != nil {
			part.Checksum = d.sum.Sum(nil)
			composite.Write(part.Checksum)
		}
	}
	if err := atEnd(src); err != nil {
		return err
	}
	s.facts.Parts = len(s.parts)
	if s.mode == sse.ModeS3 {
		s.facts.MD5 = ofParts.Sum(nil)
	}
	sum := composite
	if whole != nil {
		sum = whole.sum
	}
	if err := s.compare(sum); err != nil {
		return err
	}
	s.facts.PlainSize = s.size
	var err error
	s.table, err = sse.NewParts(s.parts, kind)
	return err
}

// digests are what is computed of a stream: sum is nil for nothing.
type digests struct{ md5, sum hash.Hash }

func (s *sealing) digests(of *sse.Checksum) *digests {
	d := &digests{md5: md5.New()} //nolint:gosec // see above
	if of != nil {
		d.sum = plaintext.Algorithm(of.Type).New()
	}
	return d
}

// Write computes.
func (d *digests) Write(p []byte) (int, error) {
	d.md5.Write(p)
	if d.sum != nil {
		d.sum.Write(p)
	}
	return len(p), nil
}

// stream encrypts the next size bytes of src, all that it has.
func (s *sealing) stream(src io.Reader, part uint32, nonce sse.StreamNonce, size int64, d *digests) error {
	if size == 0 {
		return atEnd(src)
	}
	exact := &exactly{src: io.TeeReader(src, d), left: size}
	stream := sse.Stream{Key: s.object.Part(part), Nonce: nonce, PlainSize: size}
	enc, err := stream.Encrypt(exact)
	if err != nil {
		return err
	}
	n, err := io.Copy(s.sink(), enc)
	if err == nil && n != sse.EncSize(size) {
		err = fmt.Errorf("%d encrypted bytes of %d: %w", n, sse.EncSize(size), storage.ErrUnreachable)
	}
	return err
}

// exactly reads a source to its end, which must come after so many bytes: DARE would seal
// one that is cut off as a shorter one.
type exactly struct {
	src  io.Reader
	left int64
}

// Read reads. storage.ErrUnreachable for a source of another length.
func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.src.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0, err == io.EOF && e.left > 0:
		return 0, fmt.Errorf("the object's data have another length than it: %w", storage.ErrUnreachable)
	case err != nil && err != io.EOF && !errors.Is(err, storage.ErrUnreachable):
		err = fmt.Errorf("read object: %w (%w)", storage.ErrUnreachable, err)
	}
	return n, err
}

// atEnd says whether a source has ended.
func atEnd(src io.Reader) error {
	n, err := io.CopyN(io.Discard, src, 1)
	switch {
	case n > 0:
		return fmt.Errorf("the object's data are longer than it: %w", storage.ErrUnreachable)
	case err != io.EOF:
		return fmt.Errorf("read object: %w (%w)", storage.ErrUnreachable, err)
	}
	return nil
}

// compare holds the checksum that the storage has against the data's, and keeps it.
func (s *sealing) compare(sum hash.Hash) error {
	if s.said == nil {
		return nil
	}
	if got := sum.Sum(nil); !bytes.Equal(got, s.said.Value) {
		return leave(Mismatch, "its data have the %v %x, and not %x", plaintext.Algorithm(s.said.Type), got, s.said.Value)
	}
	s.facts.Checksum = s.said
	return nil
}

// record seals the object's key and what is known of it.
func (s *sealing) record() (string, error) {
	rec := &s.key.Record
	if s.table != nil {
		rec.Layout, rec.Manifest = sse.Copied, sse.NewManifestID()
		return s.key.Seal(&s.object, sse.NewPartsPrivate())
	}
	rec.PlainSize = s.size
	private := sse.NewPrivate(s.size, s.nonce)
	private.Facts = s.facts
	return s.key.Seal(&s.object, private)
}

// body is the ciphertext, for a write.
func (s *sealing) body() (storage.Body, error) {
	var at io.ReaderAt
	var length int64
	if s.file != nil {
		info, err := s.file.Stat()
		if err != nil {
			return storage.Body{}, err
		}
		at, length = s.file, info.Size()
	} else {
		at, length = bytes.NewReader(s.memory.Bytes()), int64(s.memory.Len())
	}
	again := func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(at, 0, length)), nil }
	body := storage.Body{Length: length, Again: again, Expect: length >= expectFrom}
	if length > 0 {
		body.Reader, _ = again()
	}
	return body, nil
}

// expectFrom is the size in bytes from which the storage is asked first whether it takes the
// body.
const expectFrom = 1 << 20
