package sse

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/minio/sio"
)

// sizes are the borders of packages and their neighbours.
var sizes = []int64{0, 1, PackageSize - 1, PackageSize, PackageSize + 1, 2*PackageSize + 1, 5*PackageSize - 7}

func newStream(t testing.TB, size int64) (Stream, []byte) {
	t.Helper()
	plain := make([]byte, size)
	_, _ = rand.Read(plain)
	key := NewObjectKey()
	return Stream{Key: key.Part(1), Nonce: NewStreamNonce(), PlainSize: size}, plain
}

func encrypt(t testing.TB, s *Stream, plain []byte) []byte {
	t.Helper()
	r, err := s.Encrypt(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

func decrypt(s *Stream, enc []byte, r Range) ([]byte, error) {
	part := r.Encrypted().Clip(int64(len(enc)))
	dec, err := s.Decrypt(bytes.NewReader(enc[part.Offset:part.Offset+part.Length]), r)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(dec)
}

func TestStreamRoundTripHasTheComputedLength(t *testing.T) {
	t.Parallel()
	for _, size := range sizes {
		s, plain := newStream(t, size)
		enc := encrypt(t, &s, plain)
		if int64(len(enc)) != EncSize(size) {
			t.Errorf("size %d: %d encrypted bytes, want %d", size, len(enc), EncSize(size))
		}
		if size >= 16 && bytes.Contains(enc, plain[:16]) {
			t.Errorf("size %d: plaintext in the encrypted stream", size)
		}
		back, err := decrypt(&s, enc, Range{Length: size})
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("size %d: round trip: %v", size, err)
		}
		if got, err := PlainSize(EncSize(size)); err != nil || got != size {
			t.Errorf("PlainSize(EncSize(%d)) = %d, %v", size, got, err)
		}
	}
}

func TestStreamIgnoresHowReadersCutTheirReads(t *testing.T) {
	t.Parallel()
	for _, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader} {
		s, plain := newStream(t, PackageSize+1)
		r, _ := s.Encrypt(wrap(bytes.NewReader(plain)))
		enc, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := s.Decrypt(wrap(bytes.NewReader(enc)), Range{Length: s.PlainSize})
		back, err := io.ReadAll(d)
		if err != nil || !bytes.Equal(back, plain) {
			t.Errorf("%T: round trip of %d of %d bytes: %v", wrap(nil), len(back), len(plain), err)
		}
	}
}

func TestStreamDecryptsEveryRange(t *testing.T) {
	t.Parallel()
	const size = 3*PackageSize + 17
	s, plain := newStream(t, size)
	enc := encrypt(t, &s, plain)
	edges := []int64{0, 1, PackageSize - 1, PackageSize, PackageSize + 1, 2 * PackageSize, 3*PackageSize - 1, 3 * PackageSize, size - 1, size}
	for _, from := range edges {
		for _, to := range edges {
			if to < from {
				continue
			}
			r := Range{Offset: from, Length: to - from}
			got, err := decrypt(&s, enc, r)
			if err != nil || !bytes.Equal(got, plain[from:to]) {
				t.Fatalf("range [%d,%d): %v", from, to, err)
			}
			if n := r.Encrypted().Clip(int64(len(enc))).Length; n > r.Length+2*EncPackageSize {
				t.Errorf("range [%d,%d) fetches %d bytes", from, to, n)
			}
		}
	}
	if _, err := decrypt(&s, enc, Range{Offset: size, Length: 1}); err == nil {
		t.Error("a range beyond the end was accepted")
	}
}

// A source that is cut off must not become a valid, shorter object: sio takes
// io.ErrUnexpectedEOF for the end.
func TestEncryptFailsWhenSourceIsCutOff(t *testing.T) {
	t.Parallel()
	boom := errors.New("connection reset")
	for name, end := range map[string]error{
		"unexpected EOF":         io.ErrUnexpectedEOF,
		"wrapped unexpected EOF": fmt.Errorf("body: %w", io.ErrUnexpectedEOF),
		"early EOF":              io.EOF,
		"other error":            boom,
	} {
		for _, cut := range []int64{0, 1, PackageSize - 1, PackageSize, PackageSize + 1, 2 * PackageSize} {
			s, plain := newStream(t, 2*PackageSize+1)
			r, err := s.Encrypt(io.MultiReader(bytes.NewReader(plain[:cut]), iotest.ErrReader(end)))
			if err != nil {
				t.Fatal(err)
			}
			enc, err := io.ReadAll(r)
			if err == nil || int64(len(enc)) >= EncSize(s.PlainSize) {
				t.Fatalf("%s after %d bytes: %d encrypted bytes, %v", name, cut, len(enc), err)
			}
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				t.Errorf("%s: error %v could be taken for an end", name, err)
			}
			if _, again := r.Read(make([]byte, 1)); again == nil || again == io.EOF {
				t.Errorf("%s: after the failure the reader goes on: %v", name, again)
			}
			for i := range enc { // no package may carry the final flag
				if i%EncPackageSize == 4 && enc[i]&finalFlag != 0 {
					t.Errorf("%s: a final package was sealed", name)
				}
			}
		}
	}
}

func TestEncryptRefusesALongerSource(t *testing.T) {
	t.Parallel()
	for _, size := range sizes {
		s, plain := newStream(t, size)
		r, _ := s.Encrypt(bytes.NewReader(append(plain, 'x')))
		if _, err := io.ReadAll(r); !errors.Is(err, ErrSource) {
			t.Errorf("size %d: %v, want ErrSource", size, err)
		}
	}
}

// tamper names every way in which an upstream can change a stream.
func TestDecryptRefusesTamperedStreams(t *testing.T) {
	t.Parallel()
	const size = 3*PackageSize + 5
	s, plain := newStream(t, size)
	enc := encrypt(t, &s, plain)
	other := s
	other.Nonce = NewStreamNonce()
	otherEnc := encrypt(t, &other, plain)
	pkg := func(b []byte, n int) []byte { return b[n*EncPackageSize : min((n+1)*EncPackageSize, len(b))] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	flip := func(at int) []byte {
		c := bytes.Clone(enc)
		c[at] ^= 0x01
		return c
	}
	cases := map[string][]byte{
		"version flipped":           flip(0),
		"cipher flipped":            flip(1),
		"length flipped":            flip(2),
		"nonce flipped":             flip(5),
		"ciphertext flipped":        flip(headerSize + 100),
		"tag flipped":               flip(EncPackageSize - 1),
		"last package flipped":      flip(len(enc) - 20),
		"final flag on the first":   func() []byte { c := bytes.Clone(enc); c[4] |= finalFlag; return c }(),
		"final flag off the last":   func() []byte { c := bytes.Clone(enc); c[3*EncPackageSize+4] &^= finalFlag; return c }(),
		"packages swapped":          join(pkg(enc, 1), pkg(enc, 0), pkg(enc, 2), pkg(enc, 3)),
		"package repeated":          join(pkg(enc, 0), pkg(enc, 0), pkg(enc, 2), pkg(enc, 3)),
		"package left out":          join(pkg(enc, 0), pkg(enc, 2), pkg(enc, 3)),
		"package of another stream": join(pkg(enc, 0), pkg(otherEnc, 1), pkg(enc, 2), pkg(enc, 3)),
		"whole other stream":        otherEnc,
		"cut at a package":          enc[:3*EncPackageSize],
		"cut inside a package":      enc[:3*EncPackageSize-9],
		"cut inside a header":       enc[:EncPackageSize+7],
		"empty":                     nil,
	}
	for name, bad := range cases {
		d, err := s.Decrypt(bytes.NewReader(bad), Range{Length: size})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(d)
		if !errors.Is(err, ErrTampered) && !errors.Is(err, ErrTruncated) {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
		if !bytes.HasPrefix(plain, got) {
			t.Errorf("%s: delivered bytes that were never written", name)
		}
		if n, again := d.Read(make([]byte, PackageSize)); n != 0 || again == nil || again == io.EOF {
			t.Errorf("%s: after the failure: %d bytes, %v", name, n, again)
		}
	}
}

func TestDecryptRefusesPackagesOfOtherStreamInARange(t *testing.T) {
	t.Parallel()
	s, plain := newStream(t, 4*PackageSize)
	other := s
	other.Nonce = NewStreamNonce()
	forged := encrypt(t, &other, plain)
	if _, err := decrypt(&s, forged, Range{Offset: PackageSize, Length: 10}); !errors.Is(err, ErrTampered) {
		t.Errorf("got %v, want ErrTampered", err)
	}
}

func TestDecryptRefusesVersion10AndOtherCiphers(t *testing.T) {
	t.Parallel()
	s, plain := newStream(t, 100)
	for name, cfg := range map[string]sio.Config{
		"version 1.0": {MinVersion: sio.Version10, MaxVersion: sio.Version10, CipherSuites: []byte{sio.AES_256_GCM}, Key: s.Key[:]},
		"ChaCha20":    {MinVersion: sio.Version20, CipherSuites: []byte{sio.CHACHA20_POLY1305}, Key: s.Key[:], Nonce: (*[12]byte)(&s.Nonce)},
	} {
		r, err := sio.EncryptReader(bytes.NewReader(plain), cfg)
		if err != nil {
			t.Fatal(err)
		}
		enc, _ := io.ReadAll(r)
		if _, err := decrypt(&s, enc, Range{Length: 100}); !errors.Is(err, ErrTampered) {
			t.Errorf("%s: %v, want ErrTampered", name, err)
		}
	}
}

func TestStreamsOfOnePartNumberNeverShareANonce(t *testing.T) {
	t.Parallel()
	seen := map[StreamNonce]bool{}
	for range 1000 {
		n := NewStreamNonce()
		if seen[n] || n[0]&finalFlag != 0 {
			t.Fatalf("nonce %x repeated or with its highest bit set", n)
		}
		seen[n] = true
	}
}

func TestPlainSizeRefusesImpossibleLengths(t *testing.T) {
	t.Parallel()
	for _, enc := range []int64{-1, 1, 16, 32, EncPackageSize + 1, EncPackageSize + 32} {
		if n, err := PlainSize(enc); err == nil {
			t.Errorf("PlainSize(%d) = %d", enc, n)
		}
	}
}

func TestHeaderLengthFieldIsLittleEndian(t *testing.T) {
	t.Parallel()
	s, plain := newStream(t, 300)
	enc := encrypt(t, &s, plain)
	if got := binary.LittleEndian.Uint16(enc[2:]); got != 299 {
		t.Errorf("length field %d, want 299", got)
	}
}

// lengths notes how long writes are.
type lengths []int

func (l *lengths) Write(p []byte) (int, error) {
	*l = append(*l, len(p))
	return len(p), nil
}

func TestPackagesAreHandedOnWhole(t *testing.T) {
	t.Parallel()
	s, plain := newStream(t, 6*PackageSize+1)
	e, err := s.Encrypt(iotest.HalfReader(bytes.NewReader(plain)))
	if err != nil {
		t.Fatal(err)
	}
	var sealed, opened lengths
	if _, err := e.WriteTo(&sealed); err != nil {
		t.Fatal(err)
	}
	if want := []int{ahead * EncPackageSize, 2 * EncPackageSize, 1 + packageOverhead}; !slices.Equal(sealed, want) {
		t.Errorf("encrypted: writes of %d, want %d", sealed, want)
	}
	d, err := s.Decrypt(bytes.NewReader(encrypt(t, &s, plain)), Range{Offset: 1, Length: s.PlainSize - 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.WriteTo(&opened); err != nil {
		t.Fatal(err)
	}
	if want := []int{2*PackageSize - 1, 2 * PackageSize, 2 * PackageSize, 1}; !slices.Equal(opened, want) {
		t.Errorf("decrypted: writes of %d, want %d", opened, want)
	}
}

// keeper keeps the last thing that it was given, and fails, as the writer of an HTTP/2
// stream that its client has reset.
type keeper struct{ got []byte }

func (k *keeper) Write(p []byte) (int, error) {
	k.got = p
	return 0, io.ErrShortWrite
}

func TestWhatAFailedWriterWasGivenIsNobodyElses(t *testing.T) {
	t.Parallel()
	for range 20 {
		s, plain := newStream(t, 2*PackageSize)
		d, err := s.Decrypt(bytes.NewReader(encrypt(t, &s, plain)), Range{Length: s.PlainSize})
		if err != nil {
			t.Fatal(err)
		}
		var k keeper
		if _, err := d.WriteTo(&k); err != io.ErrShortWrite || !errors.Is(d.Err(), io.ErrClosedPipe) { //nolint:errorlint // as it is
			t.Fatalf("error %v, then %v", err, d.Err())
		}
		_ = d.Close()
		if !bytes.Equal(k.got, plain) {
			t.Fatal("the buffer was cleared, and given to others, while a writer has it")
		}
	}
}

func TestBuffersAreCleared(t *testing.T) {
	t.Parallel()
	b := &buffer{bytes: bytes.Repeat([]byte{'x'}, 1000), class: len(bufferSizes)}
	if b.clear(900); bytes.IndexByte(b.bytes, 'x') != 900 {
		t.Error("plaintext stays in a buffer that is given away")
	}
	s, plain := newStream(t, 3*PackageSize+1)
	d, err := s.Decrypt(bytes.NewReader(encrypt(t, &s, plain)), Range{Length: s.PlainSize})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if int64(d.used) < EncPackageSize || !bytes.Contains(d.buf.bytes[:d.used], plain[:PackageSize]) {
		t.Errorf("of the buffer %d bytes are taken for used", d.used)
	}
	_ = d.Close()
	if n, err := d.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.ErrClosedPipe) || d.buf != nil {
		t.Errorf("after Close: %d bytes, %v", n, err)
	}
}

func BenchmarkEncrypt(b *testing.B) {
	s, plain := newStream(b, 16<<20)
	b.SetBytes(int64(len(plain)))
	buf := make([]byte, 128<<10)
	for b.Loop() {
		r, _ := s.Encrypt(bytes.NewReader(plain))
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf)
	}
}

func BenchmarkDecrypt(b *testing.B) {
	s, plain := newStream(b, 16<<20)
	enc := encrypt(b, &s, plain)
	b.SetBytes(int64(len(plain)))
	buf := make([]byte, 128<<10)
	for b.Loop() {
		r, _ := s.Decrypt(bytes.NewReader(enc), Range{Length: s.PlainSize})
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf)
	}
}
