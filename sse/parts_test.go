package sse

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
)

// oddParts are parts of every awkward size, with gaps in their numbers.
func oddParts(t testing.TB, key *ObjectKey, sizes []int64) (*Parts, []byte, []byte) {
	t.Helper()
	var list []Part
	var plain, enc []byte
	for i, size := range sizes {
		part := Part{Number: uint32(3*i + 1), PlainSize: size, Nonce: NewStreamNonce()}
		body := make([]byte, size)
		_, _ = rand.Read(body)
		s := Stream{Key: key.Part(part.Number), Nonce: part.Nonce, PlainSize: size}
		plain, enc = append(plain, body...), append(enc, encrypt(t, &s, body)...)
		list = append(list, part)
	}
	p, err := NewParts(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p, plain, enc
}

func TestPartsDecryptRangesAcrossEveryBoundary(t *testing.T) {
	t.Parallel()
	key := NewObjectKey()
	p, plain, enc := oddParts(t, &key, []int64{1, PackageSize, 0, PackageSize + 1, 2*PackageSize - 1, 7})
	if p.PlainSize() != int64(len(plain)) || p.EncSize() != int64(len(enc)) {
		t.Fatalf("sizes %d, %d", p.PlainSize(), p.EncSize())
	}
	var edges []int64
	for i := range p.List() {
		for _, d := range []int64{-1, 0, 1} {
			if at := p.Range(i).Offset + d; at >= 0 && at <= p.PlainSize() {
				edges = append(edges, at)
			}
		}
	}
	edges = append(edges, p.PlainSize(), p.PlainSize()-1, PackageSize+5)
	for _, from := range edges {
		for _, to := range edges {
			if to < from {
				continue
			}
			r := Range{Offset: from, Length: to - from}
			part := p.Encrypted(r)
			d, err := p.Decrypt(&key, bytes.NewReader(enc[part.Offset:part.Offset+part.Length]), r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(d)
			if err != nil || !bytes.Equal(got, plain[from:to]) {
				t.Fatalf("range [%d,%d): %v", from, to, err)
			}
			if d, err = p.Decrypt(&key, bytes.NewReader(enc[part.Offset:part.Offset+part.Length]), r); err != nil {
				t.Fatal(err)
			}
			var written bytes.Buffer
			if _, err := d.WriteTo(&written); err != nil || !bytes.Equal(written.Bytes(), plain[from:to]) {
				t.Fatalf("range [%d,%d), written: %v", from, to, err)
			}
		}
	}
}

func TestPartsInAnotherOrderAreRefused(t *testing.T) {
	t.Parallel()
	key := NewObjectKey()
	p, _, enc := oddParts(t, &key, []int64{100, 100})
	half := len(enc) / 2
	swapped := append(bytes.Clone(enc[half:]), enc[:half]...)
	d, err := p.Decrypt(&key, bytes.NewReader(swapped), Range{Length: p.PlainSize()})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(d); !errors.Is(err, ErrTampered) || len(got) != 0 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestPartsEncodeAndParse(t *testing.T) {
	t.Parallel()
	list := []Part{{Number: 1, PlainSize: 5 << 20, Nonce: NewStreamNonce(), Checksum: []byte("abcd")}, {Number: 9999, Checksum: []byte("efgh")}}
	p, err := NewParts(list, CRC32)
	if err != nil {
		t.Fatal(err)
	}
	raw := p.Encode()
	back, err := ParseParts(raw)
	if err != nil || back.PlainSize() != 5<<20 || len(back.List()) != 2 || back.Checksum() != CRC32 || string(back.List()[1].Checksum) != "efgh" {
		t.Fatalf("%+v, %v", back, err)
	}
	for i := 1; i < len(raw); i++ {
		if q, err := ParseParts(raw[:i]); err == nil && len(q.List()) == 2 {
			t.Errorf("cut at %d is accepted", i)
		}
	}
	if _, err := NewParts([]Part{{Number: 2}, {Number: 2}}, 0); !errors.Is(err, ErrRecord) {
		t.Errorf("repeated number: %v", err)
	}
}

func TestTenThousandPartsStaySmall(t *testing.T) {
	t.Parallel()
	var list []Part
	for i := range MaxParts {
		list = append(list, Part{Number: uint32(i + 1), PlainSize: int64(5<<20 + i), Nonce: NewStreamNonce()})
	}
	p, err := NewParts(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(p.Encode()); n > MaxParts*20 {
		t.Errorf("table of %d bytes", n)
	}
}

func FuzzParseParts(f *testing.F) {
	key := NewObjectKey()
	p, _, _ := oddParts(f, &key, []int64{1, 0, 70000})
	f.Add(p.Encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParseParts(raw)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("error %v is not ErrRecord", err)
			}
			return
		}
		if !bytes.Equal(p.Encode(), raw) {
			t.Fatalf("%x is accepted, %x is canonical", raw, p.Encode())
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	facts := Facts{MD5: make([]byte, 16), Parts: 3, PlainSize: 9, Checksum: &Checksum{Type: CRC32, Value: []byte("abcd"), Composite: true}}
	f.Add(facts.Manifest())
	f.Fuzz(func(t *testing.T, raw []byte) {
		facts, err := ParseManifest(raw)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("error %v is not ErrRecord", err)
			}
			return
		}
		if !bytes.Equal(facts.Manifest(), raw) {
			t.Fatalf("%x is accepted, %x is canonical", raw, facts.Manifest())
		}
	})
}

func TestPartETagTellsUploadsOfAPartApart(t *testing.T) {
	t.Parallel()
	upload, nonce := ManifestID{1}, StreamNonce{2}
	tag := PartETag(upload, 3, nonce)
	fields := []string{"bucketseal/1/etag", string(upload[:]), "\x00\x00\x00\x03", string(nonce[:])}
	var plain []byte
	for _, f := range fields {
		plain = append(plain, 0, 0, 0, byte(len(f)))
		plain = append(plain, f...)
	}
	if want := sha256.Sum256(plain); !bytes.Equal(tag[:], want[:16]) {
		t.Errorf("tag %x, want %x", tag, want[:16])
	}
	for what, other := range map[string][16]byte{
		"upload": PartETag(ManifestID{2}, 3, nonce), "number": PartETag(upload, 4, nonce), "nonce": PartETag(upload, 3, StreamNonce{3}),
	} {
		if other == tag {
			t.Errorf("another %s has the same ETag", what)
		}
	}
}

func TestEntryAloneHoldsAPartsShareOfTheWhole(t *testing.T) {
	t.Parallel()
	crc := []byte("12345678")
	want := PartFacts{Facts: Facts{PlainSize: 9, Checksum: &Checksum{Type: CRC32, Value: []byte("abcd")}, WholeCRC: crc}, Nonce: StreamNonce{1}}
	got, err := ParseEntry(want.Entry())
	if err != nil || !bytes.Equal(got.WholeCRC, crc) || got.Checksum.Type != CRC32 || got.Nonce != want.Nonce || got.PlainSize != 9 {
		t.Errorf("%+v comes back as %+v: %v", want, got, err)
	}
	if _, err := ParseManifest((&Facts{WholeCRC: crc}).Manifest()); !errors.Is(err, ErrRecord) {
		t.Errorf("in a manifest: %v", err)
	}
	if _, err := parsePrivate((&Private{Facts: Facts{WholeCRC: crc}}).encode(), &Record{}); !errors.Is(err, ErrRecord) {
		t.Errorf("in a record: %v", err)
	}
	short := append([]byte{manifestVersion}, tagWholeCRC, 4, 1, 2, 3, 4)
	if _, err := ParseEntry(short); !errors.Is(err, ErrRecord) {
		t.Errorf("too short: %v", err)
	}
}
