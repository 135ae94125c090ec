package sse

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/minio/sio"
)

// minio/sio is the reference of DARE: what is encrypted here has the bytes that sio makes
// of it, and what sio refuses is refused here.

// sioConfig is sio as strict as it can be.
func sioConfig(s *Stream, firstPackage int64) sio.Config {
	nonce := [nonceSize]byte(s.Nonce)
	return sio.Config{
		MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM},
		Key: s.Key[:], Nonce: &nonce, SequenceNumber: uint32(firstPackage),
	}
}

func sioEncrypt(t testing.TB, s *Stream, plain []byte) []byte {
	t.Helper()
	r, err := sio.EncryptReader(bytes.NewReader(plain), sioConfig(s, 0))
	if err != nil {
		t.Fatal(err)
	}
	enc, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return enc
}

// sioDecrypt gives the range r of what sio makes of enc, which is the packages of r.
func sioDecrypt(s *Stream, enc []byte, r Range) ([]byte, error) {
	dec, err := sio.DecryptReader(bytes.NewReader(enc), sioConfig(s, r.Offset/PackageSize))
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, dec, r.Offset%PackageSize); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = io.CopyN(&out, dec, r.Length)
	if err == nil && r.Offset+r.Length == s.PlainSize { // sio knows the end by the final flag
		_, err = io.Copy(io.Discard, dec)
	}
	return out.Bytes(), err
}

func TestEncryptedBytesAreThoseOfSio(t *testing.T) {
	t.Parallel()
	for _, size := range sizes {
		s, plain := newStream(t, size)
		want := sioEncrypt(t, &s, plain)
		if got := encrypt(t, &s, plain); !bytes.Equal(got, want) {
			t.Errorf("size %d: read: other bytes than sio's", size)
		}
		e, err := s.Encrypt(iotest.HalfReader(bytes.NewReader(plain)))
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if n, err := e.WriteTo(&written); err != nil || n != EncSize(size) || !bytes.Equal(written.Bytes(), want) {
			t.Errorf("size %d: written: %d other bytes than sio's: %v", size, n, err)
		}
		spaced := make([]byte, EncSize(size))
		if err := ReadSpaced(bytes.NewReader(plain), spaced, size); err != nil {
			t.Fatal(err)
		}
		if s.EncryptSpaced(spaced); !bytes.Equal(spaced, want) {
			t.Errorf("size %d: in place: other bytes than sio's", size)
		}
		if size == 0 {
			continue // sio takes nothing for cut off
		}
		if got, err := sioDecrypt(&s, want, Range{Length: size}); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("size %d: sio reads %d bytes: %v", size, len(got), err)
		}
	}
}

// mutate changes an encrypted stream as two bytes of ops at a time say.
func mutate(enc, other, ops []byte) []byte {
	enc = bytes.Clone(enc)
	for ; len(ops) >= 2; ops = ops[2:] {
		n := (len(enc) + EncPackageSize - 1) / EncPackageSize
		if n == 0 {
			break
		}
		a, b := int(ops[1]>>4)%n, int(ops[1]&15)%n
		pack := func(i int) []byte { return enc[i*EncPackageSize : min((i+1)*EncPackageSize, len(enc))] }
		switch p := pack(a); ops[0] % 8 {
		case 0: // swapped
			q := pack(b)
			for i := range min(len(p), len(q)) {
				p[i], q[i] = q[i], p[i]
			}
		case 1: // repeated
			copy(pack(b), p)
		case 2: // left out
			enc = append(enc[:a*EncPackageSize], enc[a*EncPackageSize+len(p):]...)
		case 3: // cut
			enc = enc[:max(0, a*EncPackageSize+len(p)*(b+1)/16-1)]
		case 4: // of another stream
			copy(p, other[min(b*EncPackageSize, len(other)):])
		case 5: // header
			p[int(ops[1]&15)%len(p)] ^= 1 << (ops[0] >> 5)
		case 6: // ciphertext or tag
			p[len(p)-1-int(ops[1])%len(p)] ^= 1 << (ops[0] >> 5)
		case 7: // final flag
			if len(p) > 4 {
				p[4] ^= finalFlag
			}
		}
	}
	return enc
}

// checkAgainstSio decrypts the packages of r of a changed stream: nothing is delivered that
// was not written, and nothing is accepted that sio refuses.
func checkAgainstSio(t *testing.T, s *Stream, plain, bad []byte, r Range) {
	t.Helper()
	part := r.Encrypted().Clip(EncSize(s.PlainSize)).Clip(int64(len(bad)))
	packs := bad[part.Offset : part.Offset+part.Length]
	want := plain[r.Offset : r.Offset+r.Length]
	_, refused := sioDecrypt(s, packs, r)
	for name, read := range map[string]func(d *Decrypter) ([]byte, error){
		"Read": func(d *Decrypter) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{d}) },
		"WriteTo": func(d *Decrypter) ([]byte, error) {
			var b bytes.Buffer
			_, err := d.WriteTo(&b)
			return b.Bytes(), err
		},
		"Begin": func(d *Decrypter) ([]byte, error) {
			if err := d.Begin(128 << 10); err != nil {
				return nil, err
			}
			return io.ReadAll(iotest.HalfReader(d))
		},
	} {
		d, err := s.Decrypt(iotest.DataErrReader(bytes.NewReader(packs)), r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(d)
		switch {
		case err == nil && refused != nil:
			t.Fatalf("%s: accepted, and sio says %v", name, refused)
		case err == nil && !bytes.Equal(got, want):
			t.Fatalf("%s: accepted, and not what was written", name)
		case err != nil && !errors.Is(err, ErrTampered) && !errors.Is(err, ErrTruncated):
			t.Fatalf("%s: error %v", name, err)
		case !bytes.HasPrefix(want, got):
			t.Fatalf("%s: delivered what was never written", name)
		case err != nil && bytes.Equal(packs, encryptedPart(t, s, plain, r)):
			t.Fatalf("%s: refused what was written: %v", name, err)
		}
		if n, again := d.Read(make([]byte, 1)); n != 0 || err != nil && (again == nil || again == io.EOF) {
			t.Fatalf("%s: after its end: %d bytes, %v", name, n, again)
		}
	}
}

func encryptedPart(t testing.TB, s *Stream, plain []byte, r Range) []byte {
	enc := encrypt(t, s, plain)
	part := r.Encrypted().Clip(int64(len(enc)))
	return enc[part.Offset : part.Offset+part.Length]
}

func TestWhatSioRefusesIsRefused(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(14, 2)) //nolint:gosec // repeatable
	for range 100 {
		s, plain := newStream(t, 1+rnd.Int64N(5*PackageSize))
		other := s
		other.Nonce = NewStreamNonce()
		ops := make([]byte, 2*rnd.IntN(3))
		for i := range ops {
			ops[i] = byte(rnd.Uint32())
		}
		r := Range{Length: s.PlainSize}
		if rnd.IntN(2) == 0 {
			r.Offset = rnd.Int64N(s.PlainSize)
			r.Length = 1 + rnd.Int64N(s.PlainSize-r.Offset)
		}
		checkAgainstSio(t, &s, plain, mutate(encrypt(t, &s, plain), encrypt(t, &other, plain), ops), r)
	}
}

func FuzzDecryptAgainstSio(f *testing.F) {
	for op := range byte(8) {
		f.Add(uint32(2*PackageSize+5), uint32(0), uint32(2*PackageSize+5), []byte{op, 0x01})
		f.Add(uint32(4*PackageSize), uint32(PackageSize+1), uint32(PackageSize), []byte{op, 0x12})
	}
	f.Fuzz(func(t *testing.T, size, offset, length uint32, ops []byte) {
		s, plain := newStream(t, 1+int64(size)%(4*PackageSize))
		other := s
		other.Nonce = NewStreamNonce()
		r := Range{Offset: int64(offset) % s.PlainSize}
		r.Length = 1 + int64(length)%(s.PlainSize-r.Offset)
		checkAgainstSio(t, &s, plain, mutate(encrypt(t, &s, plain), encrypt(t, &other, plain), ops), r)
	})
}
