package sse

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// wrapVector is a wrap of the object of a vector.
type wrapVector struct {
	Name string `json:"name"`
	// Of names the vector, in testdata/vectors, whose record the wrap is of.
	Of string `json:"of"`
	// Digest is the record's, in hex. Secret is the DEK of the wrap, in hex.
	Digest string `json:"digest"`
	Secret string `json:"secret"`
	Wrap   string `json:"wrap"` // hex
	// Error is "" or what reading fails with.
	Error string `json:"error,omitempty"`
}

const wrapVectors = "testdata/wraps.json"

// readVector reads the vector of an object, and its record.
func readVector(t *testing.T, name string) (v vector, rec *Record) {
	t.Helper()
	content, err := os.ReadFile(vectorDir + "/" + name)
	if err == nil {
		err = json.Unmarshal(content, &v)
	}
	if err == nil {
		rec, err = ParseRecord(v.Record)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v, rec
}

func (v *wrapVector) open(t *testing.T) error {
	t.Helper()
	of, rec := readVector(t, v.Of)
	if d := rec.Digest(); hex.EncodeToString(d[:]) != v.Digest {
		t.Errorf("%s: digest %x, want %s", v.Name, d, v.Digest)
	}
	own, err := hex.DecodeString(of.Secret)
	if err != nil {
		t.Fatal(err)
	}
	secret := Secret(own)
	want, _, err := rec.Open(Name{of.Bucket, of.Key}, &secret, []byte(of.Context))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(v.Wrap)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWrap(raw)
	if err != nil {
		return err
	}
	if again := w.Encode(); hex.EncodeToString(again) != v.Wrap {
		t.Errorf("%s: encoded again it is %x", v.Name, again)
	}
	dek, err := hex.DecodeString(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	secret = Secret(dek)
	got, _, err := rec.OpenWrapped(Name{of.Bucket, of.Key}, w, &secret, []byte(of.Context))
	if err == nil && got != want {
		t.Errorf("%s: another object's key", v.Name)
	}
	return err
}

func TestWrapVectors(t *testing.T) {
	t.Parallel()
	if *generate {
		generateWraps(t)
	}
	content, err := os.ReadFile(wrapVectors)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []wrapVector
	if err := json.Unmarshal(content, &vectors); err != nil || len(vectors) < 8 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for i := range vectors {
		v := &vectors[i]
		if err := v.open(t); !errors.Is(err, vectorErrors[v.Error]) || v.Error == "" && err != nil {
			t.Errorf("%s: %v, want %q", v.Name, err, v.Error)
		}
	}
}

// generateWraps writes the vectors where there are none.
func generateWraps(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(wrapVectors); err == nil {
		return
	}
	var out []wrapVector
	add := func(name, of, secret string, bytes []byte, failure string) {
		_, rec := readVector(t, of)
		d := rec.Digest()
		out = append(out, wrapVector{name, of, hex.EncodeToString(d[:]), secret, hex.EncodeToString(bytes), failure})
	}
	dek := Secret{1, 2, 3}
	wrap := func(of, key string) []byte {
		v, rec := readVector(t, of)
		raw, err := hex.DecodeString(v.Secret)
		if err != nil {
			t.Fatal(err)
		}
		secret := Secret(raw)
		object, _, err := rec.Open(Name{v.Bucket, v.Key}, &secret, []byte(v.Context))
		if err != nil {
			t.Fatal(err)
		}
		w := NewWrap(&Binding{Mode: rec.Mode, Name: Name{v.Bucket, v.Key}, KMSKey: "key-b", KMSKeyVersion: 7, Context: []byte(v.Context)}, &dek, []byte("sealed DEK"), &object)
		w.Key = key
		return w.Encode()
	}
	const s3, kmsMode, parts = "03-SSE-S3-1000.json", "06-SSE-KMS-1000.json", "42-parts-SSE-KMS.json"
	secret := hex.EncodeToString(dek[:])
	add("SSE-S3", s3, secret, wrap(s3, ""), "")
	add("SSE-KMS, with the object's key", kmsMode, secret, wrap(kmsMode, "2026/scan a//b.dcm"), "")
	add("parts", parts, secret, wrap(parts, ""), "")
	add("another DEK", s3, hex.EncodeToString(make([]byte, KeySize)), wrap(s3, ""), "wrong-key")
	add("another mode's", s3, secret, wrap(kmsMode, ""), "wrong-key")
	flipped := wrap(s3, "")
	flipped[len(flipped)-1] ^= 1
	add("flipped tag", s3, secret, flipped, "wrong-key")
	name := wrap(s3, "")
	name[4] ^= 1
	add("another KMS key's name", s3, secret, name, "wrong-key")
	add("another version", s3, secret, append([]byte{2}, wrap(s3, "")[1:]...), "record")
	add("cut", s3, secret, wrap(s3, "")[:40], "record")
	add("an unknown field", s3, secret, append(wrap(s3, ""), 0x20, 0), "record")
	content, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(wrapVectors, append(content, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzParseWrap(f *testing.F) {
	key, secret := NewObjectKey(), Secret{1}
	w := NewWrap(&Binding{Mode: ModeKMS, Name: Name{"b", "k"}, KMSKey: "key", KMSKeyVersion: 3}, &secret, []byte("sealed"), &key)
	f.Add(w.Encode())
	w.Key = "k"
	f.Add(w.Encode())
	f.Add([]byte{wrapVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := ParseWrap(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again := w.Encode(); string(again) != string(b) {
			t.Errorf("%x is read, and written as %x", b, again)
		}
	})
}
