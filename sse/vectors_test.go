package sse

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// generate writes the vectors anew: go test ./sse -run TestVectors -generate.
// Those that exist stay as they are.
var generate = flag.Bool("generate", false, "write new test vectors")

const vectorDir = "testdata/vectors"

// vector is one object, whole as it lies upstream, and what reading it gives.
type vector struct {
	Name   string `json:"name"`
	Bucket string `json:"bucket"`
	Key    string `json:"key"`
	// Secret is the DEK, or the customer key, in hex; Context the canonical
	// encryption context.
	Secret  string `json:"secret"`
	Context string `json:"context"`
	Record  string `json:"record"`
	// Data is base64.
	Data string `json:"data"`
	// Parts is the table of parts of an object of parts, in base64, as its manifest
	// has it.
	Parts string `json:"parts,omitempty"`
	// PlainSize and Seed make the plaintext: byte i is Seed[i % len(Seed)] ^ (i / 256).
	PlainSize int64  `json:"plain_size"`
	Seed      string `json:"seed"`
	// ETag is what clients know the object by, if its record says so.
	ETag string `json:"etag,omitempty"`
	// Error is "" or what reading fails with: record, wrong-key, tampered,
	// truncated.
	Error string `json:"error,omitempty"`
}

func (v *vector) plaintext() []byte {
	out := make([]byte, v.PlainSize)
	for i := range out {
		out[i] = v.Seed[i%len(v.Seed)] ^ byte(i/256)
	}
	return out
}

// read is what a reader does with an object.
func (v *vector) read() ([]byte, error) {
	raw, err := hex.DecodeString(v.Secret)
	if err != nil {
		return nil, err
	}
	secret := Secret(raw)
	rec, err := ParseRecord(v.Record)
	if err != nil {
		return nil, err
	}
	var context []byte
	if rec.Mode != ModeC {
		context = []byte(v.Context)
	}
	key, private, err := rec.Open(Name{v.Bucket, v.Key}, &secret, context)
	if err != nil {
		return nil, err
	}
	if rec.OpaqueETag && rec.Layout != Uploaded {
		if got := fmt.Sprintf("%x-1", rec.ETag()); got != v.ETag {
			return nil, fmt.Errorf("the ETag is %s", got)
		}
	}
	data, err := base64.StdEncoding.DecodeString(v.Data)
	if err != nil {
		return nil, err
	}
	parts := OnePart(rec.PlainSize, private.Nonce)
	if rec.Layout != OneStream {
		table, err := base64.StdEncoding.DecodeString(v.Parts)
		if err != nil {
			return nil, err
		}
		if parts, err = ParseParts(table); err != nil {
			return nil, err
		}
	}
	if int64(len(data)) != parts.EncSize() {
		return nil, fmt.Errorf("%d bytes of data: %w", len(data), ErrTruncated)
	}
	plain, err := parts.Decrypt(&key, bytes.NewReader(data), Range{Length: parts.PlainSize()})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

var vectorErrors = map[string]error{
	"record": ErrRecord, "wrong-key": ErrWrongKey, "tampered": ErrTampered, "truncated": ErrTruncated,
}

func TestVectors(t *testing.T) {
	if *generate {
		generateVectors(t)
	}
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(content, &v); err != nil {
				t.Fatal(err)
			}
			got, err := v.read()
			if v.Error != "" {
				if !errors.Is(err, vectorErrors[v.Error]) {
					t.Fatalf("%s: error %v, want %s", v.Name, err, v.Error)
				}
				return
			}
			if err != nil || !bytes.Equal(got, v.plaintext()) {
				t.Fatalf("%s: %d bytes, %v", v.Name, len(got), err)
			}
		})
	}
}

func generateVectors(t *testing.T) {
	t.Helper()
	n := 0
	write := func(v vector) {
		n++
		content, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%s/%02d-%s.json", vectorDir, n, v.Name)
		if _, err := os.Stat(name); err == nil {
			return
		}
		if err := os.WriteFile(name, append(content, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []Mode{ModeS3, ModeKMS, ModeC} {
		for _, size := range []int64{0, 1, 1000} {
			write(newVector(t, mode, size, fmt.Sprintf("%v-%d", mode, size)))
		}
	}
	for _, size := range []int64{PackageSize - 1, PackageSize, PackageSize + 1, 2*PackageSize + 1} {
		write(newVector(t, ModeS3, size, fmt.Sprintf("SSE-S3-%d", size)))
	}
	for _, v := range brokenVectors(t) {
		write(v)
	}
	for _, v := range partsVectors(t) {
		write(v)
	}
	for _, kind := range []ChecksumType{SHA512, MD5, XXHASH64, XXHASH3, XXHASH128} {
		write(newChecksumVector(t, ModeS3, 100, fmt.Sprintf("checksum-%#x", byte(kind)), kind))
		write(newPartsVectorOf(t, ModeS3, fmt.Sprintf("parts-checksum-%#x", byte(kind)), []int64{PackageSize + 1, 100}, kind))
	}
	for _, v := range opaqueVectors(t) {
		write(v)
	}
}

// opaqueVectors are objects of SSE-S3 whose ETag is no MD5, and records that say so
// falsely.
func opaqueVectors(t *testing.T) []vector {
	t.Helper()
	opaque := func(r *Record) { r.OpaqueETag = true }
	var out []vector
	for _, size := range []int64{0, 100} {
		out = append(out, newVectorAs(t, ModeS3, size, fmt.Sprintf("opaque-etag-%d", size), CRC64NVME, opaque))
	}
	out = append(out, newPartsVectorAs(t, ModeS3, "parts-opaque-etag", []int64{PackageSize + 1, 100}, CRC32, opaque))
	for _, broken := range []struct {
		name, want string
		v          vector
		from, to   string // of the record, in hex
	}{
		{"opaque-etag-dropped", "tampered", newVectorAs(t, ModeS3, 100, "", CRC64NVME, opaque), "0b0010", "10"},
		{"opaque-etag-added", "tampered", newVector(t, ModeS3, 100, ""), "08016410", "0801640b0010"},
		{"opaque-etag-of-SSE-KMS", "record", newVector(t, ModeKMS, 100, ""), "08016410", "0801640b0010"},
		{"opaque-etag-with-a-value", "record", newVectorAs(t, ModeS3, 100, "", CRC64NVME, opaque), "0b0010", "0b010110"},
	} {
		raw, _ := base64.RawURLEncoding.DecodeString(broken.v.Record)
		text := hex.EncodeToString(raw)
		at := strings.LastIndex(text, broken.from)
		if raw, _ = hex.DecodeString(text[:at] + broken.to + text[at+len(broken.from):]); at < 0 {
			t.Fatalf("%s: %s has no %s", broken.name, text, broken.from)
		}
		broken.v.Name, broken.v.Record, broken.v.Error = broken.name, base64.RawURLEncoding.EncodeToString(raw), broken.want
		out = append(out, broken.v)
	}
	return out
}

// partsVectors are objects of parts, and what becomes of them when parts are
// exchanged or their table is another's.
func partsVectors(t *testing.T) []vector {
	t.Helper()
	sizes := []int64{PackageSize + 1, PackageSize + 1, 0, 7}
	out := []vector{newPartsVector(t, ModeS3, "parts", sizes), newPartsVector(t, ModeKMS, "parts-SSE-KMS", sizes[:2]), newPartsVector(t, ModeC, "parts-SSE-C", sizes[1:])}
	n := int(EncSize(sizes[0]))
	for _, broken := range []struct {
		name, want string
		change     func(v, other *vector, data []byte) []byte
	}{
		{"parts-exchanged", "tampered", func(_, _ *vector, b []byte) []byte { return slices.Concat(b[n:2*n], b[:n], b[2*n:]) }},
		{"part-dropped", "truncated", func(_, _ *vector, b []byte) []byte { return slices.Concat(b[:n], b[2*n:]) }},
		{"table-of-another-upload", "tampered", func(v, other *vector, b []byte) []byte { v.Parts = other.Parts; return b }},
		{"table-cut", "record", func(v, _ *vector, b []byte) []byte { v.Parts = v.Parts[:len(v.Parts)-4]; return b }},
	} {
		v, other := newPartsVector(t, ModeS3, broken.name, sizes), newPartsVector(t, ModeS3, "", sizes)
		data, _ := base64.StdEncoding.DecodeString(v.Data)
		v.Data, v.Error = base64.StdEncoding.EncodeToString(broken.change(&v, &other, data)), broken.want
		out = append(out, v)
	}
	return out
}

func newPartsVector(t *testing.T, mode Mode, name string, sizes []int64) vector {
	t.Helper()
	return newPartsVectorOf(t, mode, name, sizes, CRC32)
}

// newPartsVectorOf makes an object of parts with these sizes and this checksum,
// numbered 2, 5, 8 ...
func newPartsVectorOf(t *testing.T, mode Mode, name string, sizes []int64, kind ChecksumType) vector {
	t.Helper()
	return newPartsVectorAs(t, mode, name, sizes, kind, func(*Record) {})
}

// newPartsVectorAs is newPartsVectorOf with a record that is changed before it is sealed.
func newPartsVectorAs(t *testing.T, mode Mode, name string, sizes []int64, kind ChecksumType, change func(*Record)) vector {
	t.Helper()
	v := newVector(t, mode, 0, name)
	for _, size := range sizes {
		v.PlainSize += size
	}
	b := &Binding{Mode: mode, Name: Name{v.Bucket, v.Key}}
	rec := &Record{Layout: Uploaded, Manifest: NewManifestID()}
	change(rec)
	if mode != ModeC {
		b.KMSKey, b.KMSKeyVersion, b.Context = "key-a", 1, []byte(v.Context)
		rec.SealedDEK = bytes.Repeat([]byte{0xd1}, 76)
	}
	key, secret := NewObjectKey(), testSecret(0x42)
	var err error
	if v.Record, err = rec.Seal(b, secret, &key, NewPartsPrivate()); err != nil {
		t.Fatal(err)
	}
	var list []Part
	var data []byte
	for rest := v.plaintext(); len(list) < len(sizes); rest = rest[sizes[len(list)-1]:] {
		p := Part{Number: uint32(3*len(list) + 2), PlainSize: sizes[len(list)], Nonce: NewStreamNonce(), Checksum: bytes.Repeat([]byte{0xc5}, kind.Size())}
		s := Stream{Key: key.Part(p.Number), Nonce: p.Nonce, PlainSize: p.PlainSize}
		data = append(data, encrypt(t, &s, rest[:p.PlainSize])...)
		list = append(list, p)
	}
	parts, err := NewParts(list, kind)
	if err != nil {
		t.Fatal(err)
	}
	v.Data, v.Parts = base64.StdEncoding.EncodeToString(data), base64.StdEncoding.EncodeToString(parts.Encode())
	return v
}

func newVector(t *testing.T, mode Mode, size int64, name string) vector {
	t.Helper()
	return newChecksumVector(t, mode, size, name, CRC64NVME)
}

// newChecksumVector makes an object with a checksum of this kind, if it is SSE-S3.
func newChecksumVector(t *testing.T, mode Mode, size int64, name string, kind ChecksumType) vector {
	t.Helper()
	return newVectorAs(t, mode, size, name, kind, func(*Record) {})
}

// newVectorAs is newChecksumVector with a record that is changed before it is sealed.
func newVectorAs(t *testing.T, mode Mode, size int64, name string, kind ChecksumType, change func(*Record)) vector {
	t.Helper()
	secret := testSecret(0x42)
	v := vector{
		Name: name, Bucket: "wards", Key: "2026/scan a//b.dcm", Secret: hex.EncodeToString(secret[:]),
		PlainSize: size, Seed: "the patient's data ",
	}
	b := &Binding{Mode: mode, Name: Name{v.Bucket, v.Key}}
	rec := &Record{PlainSize: size}
	change(rec)
	switch mode {
	case ModeS3:
		v.Context = `{"bucketseal:use":"sse-s3","wards":"wards"}`
	case ModeKMS:
		v.Context = `{"bucketseal:use":"sse-kms","project":"alpha","wards":"wards/2026/scan a//b.dcm"}`
		rec.ClientContext, rec.BucketKey = []byte(`{ "project":"alpha" }`), true
	}
	if mode != ModeC {
		b.KMSKey, b.KMSKeyVersion, b.Context = "key-a", 1, []byte(v.Context)
		rec.SealedDEK = bytes.Repeat([]byte{0xd1}, 76)
	}
	key := NewObjectKey()
	nonce := NewStreamNonce()
	private := NewPrivate(size, nonce)
	if mode == ModeS3 {
		if !rec.OpaqueETag {
			private.MD5 = bytes.Repeat([]byte{0x5d}, 16)
		}
		private.Checksum = &Checksum{Type: kind, Value: bytes.Repeat([]byte{0xc5}, kind.Size())}
	}
	var err error
	if v.Record, err = rec.Seal(b, secret, &key, private); err != nil {
		t.Fatal(err)
	}
	if rec.OpaqueETag {
		v.ETag = fmt.Sprintf("%x-1", rec.ETag())
	}
	s := Stream{Key: key.Part(1), Nonce: nonce, PlainSize: size}
	v.Data = base64.StdEncoding.EncodeToString(encrypt(t, &s, v.plaintext()))
	return v
}

// brokenVectors are the named failures.
func brokenVectors(t *testing.T) []vector {
	t.Helper()
	var out []vector
	size := int64(100) // for records; data has two packages
	add := func(name, want string, change func(v *vector)) {
		v := newVector(t, ModeS3, size, name)
		change(&v)
		v.Error = want
		out = append(out, v)
	}
	data := func(change func(b []byte) []byte) func(*vector) {
		return func(v *vector) {
			b, _ := base64.StdEncoding.DecodeString(v.Data)
			v.Data = base64.StdEncoding.EncodeToString(change(b))
		}
	}
	flip := func(at int) func(*vector) {
		return data(func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b })
	}
	add("wrong-secret", "wrong-key", func(v *vector) { v.Secret = hex.EncodeToString(testSecret(0x43)[:]) })
	add("moved-to-other-key", "wrong-key", func(v *vector) { v.Key += "x" })
	add("moved-to-cleaned-key", "wrong-key", func(v *vector) { v.Key = "2026/scan a/b.dcm" })
	add("moved-to-other-bucket", "wrong-key", func(v *vector) { v.Bucket = "ward" })
	add("other-context", "wrong-key", func(v *vector) { v.Context = `{"bucketseal:use":"sse-s3","wards":"ward"}` })
	add("flipped-key-name", "wrong-key", func(v *vector) { v.Record = flipField(t, v.Record, tagKMSKey) })
	add("flipped-key-version", "wrong-key", func(v *vector) { v.Record = flipField(t, v.Record, tagKeyVersion) })
	add("flipped-sealed-object-key", "wrong-key", func(v *vector) { v.Record = flipField(t, v.Record, tagSealedKey) })
	add("flipped-sealed-DEK", "tampered", func(v *vector) { v.Record = flipField(t, v.Record, tagSealedDEK) })
	add("flipped-plain-size", "tampered", func(v *vector) { v.Record = flipField(t, v.Record, tagPlainSize) })
	add("flipped-private-section", "tampered", func(v *vector) { v.Record = flipField(t, v.Record, tagPrivate) })
	add("flipped-mode", "record", func(v *vector) { v.Record = flipField(t, v.Record, tagMode) })
	add("record-of-another-write", "tampered", func(v *vector) { v.Record = newVector(t, ModeS3, v.PlainSize, "x").Record })
	add("padded-record", "record", func(v *vector) { v.Record += "=" })
	size = PackageSize + 1
	add("flipped-version", "tampered", flip(0))
	add("flipped-cipher", "tampered", flip(1))
	add("flipped-length", "tampered", flip(2))
	add("flipped-nonce", "tampered", flip(8))
	add("flipped-ciphertext", "tampered", flip(headerSize+1))
	add("flipped-tag", "tampered", flip(EncPackageSize-1))
	add("flipped-last-byte", "tampered", flip(-1))
	add("final-flag-on-first-package", "tampered", data(func(b []byte) []byte { b[4] |= finalFlag; return b }))
	add("truncated-at-a-package", "truncated", data(func(b []byte) []byte { return b[:EncPackageSize] }))
	add("truncated-inside-a-package", "truncated", data(func(b []byte) []byte { return b[:EncPackageSize-99] }))
	add("one-byte-appended", "truncated", data(func(b []byte) []byte { return append(b, 0) }))
	add("packages-swapped", "tampered", data(func(b []byte) []byte {
		return append(bytes.Clone(b[EncPackageSize:]), b[:EncPackageSize]...)
	}))
	add("data-of-another-object", "tampered", func(v *vector) { v.Data = newVector(t, ModeS3, v.PlainSize, "x").Data })
	return out
}

// flipField flips the lowest bit of the last byte of one field of a record.
func flipField(t *testing.T, text string, tag byte) string {
	t.Helper()
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	for i := 1; i < len(raw); {
		n, size, err := canonicalUvarint(raw[i+1:])
		if err != nil {
			t.Fatal(err)
		}
		end := i + 1 + size + int(n)
		if raw[i] == tag {
			raw[end-1] ^= 1
			if tag == tagKeyVersion {
				raw[end-1] = 2 // 0 is no version
			}
			return base64.RawURLEncoding.EncodeToString(raw)
		}
		i = end
	}
	t.Fatalf("no tag %#x", tag)
	return ""
}

// The format can be read from its page alone: a reader in another language,
// with another library, agrees on every vector.
func TestVectorsInPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil || exec.Command(python, "-c", "import cryptography").Run() != nil {
		t.Skip("python3 with the cryptography package is not installed")
	}
	files, err := filepath.Glob(vectorDir + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(python, append([]string{"testdata/reader.py"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
