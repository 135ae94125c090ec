package sse

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// rekeyedVector is a wrap that says how the object of a vector is encrypted.
type rekeyedVector struct {
	wrapVector
	// Context is the canonical one of the wrap's DEK.
	Context       string `json:"context"`
	Mode          Mode   `json:"mode"`
	ClientContext string `json:"clientContext,omitempty"`
	BucketKey     bool   `json:"bucketKey,omitempty"`
	Sequence      uint64 `json:"sequence"`
}

const rekeyedVectors = "testdata/wraps-rekeyed.json"

func TestWrapsOfAnotherModeVectors(t *testing.T) {
	t.Parallel()
	if *generate {
		generateRekeyed(t)
	}
	content, err := os.ReadFile(rekeyedVectors)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []rekeyedVector
	if err := json.Unmarshal(content, &vectors); err != nil || len(vectors) < 6 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for i := range vectors {
		v := &vectors[i]
		if err := v.open(t); !errors.Is(err, vectorErrors[v.Error]) || v.Error == "" && err != nil {
			t.Errorf("%s: %v, want %q", v.Name, err, v.Error)
		}
	}
}

func (v *rekeyedVector) open(t *testing.T) error {
	t.Helper()
	of, rec := readVector(t, v.Of)
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
	as := w.Encryption(rec)
	if as.Mode != v.Mode || string(as.ClientContext) != v.ClientContext || as.BucketKey != v.BucketKey || w.Sequence != v.Sequence {
		t.Errorf("%s: %+v, sequence %d", v.Name, as, w.Sequence)
	}
	dek, err := hex.DecodeString(v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	secret := Secret(dek)
	_, _, err = rec.OpenWrapped(Name{of.Bucket, of.Key}, w, &secret, []byte(v.Context))
	return err
}

// generateRekeyed writes the vectors where there are none.
func generateRekeyed(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(rekeyedVectors); err == nil {
		return
	}
	dek := Secret{3, 2, 1}
	var out []rekeyedVector
	add := func(name, of string, as Encryption, context string, sequence uint64, spoil func([]byte) []byte, failure string) {
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
		w := NewWrap(&Binding{Mode: as.Mode, Name: Name{v.Bucket, v.Key}, KMSKey: "key-b", KMSKeyVersion: 7, Context: []byte(context)}, &dek, []byte("sealed DEK"), &object)
		w.Mode, w.ClientContext, w.BucketKey, w.Sequence = as.Mode, as.ClientContext, as.BucketKey, sequence
		encoded := w.Encode()
		if spoil != nil {
			encoded = spoil(encoded)
		}
		d := rec.Digest()
		out = append(out, rekeyedVector{
			wrapVector{name, of, hex.EncodeToString(d[:]), hex.EncodeToString(dek[:]), hex.EncodeToString(encoded), failure},
			context, as.Mode, string(as.ClientContext), as.BucketKey, sequence,
		})
	}
	const s3, kmsMode, parts = "03-SSE-S3-1000.json", "06-SSE-KMS-1000.json", "42-parts-SSE-KMS.json"
	const one, two = `{"b":"b/k","bucketseal:use":"sse-kms"}`, `{"b":"b","bucketseal:use":"sse-s3"}`
	add("SSE-S3 as SSE-KMS", s3, Encryption{Mode: ModeKMS}, one, 1, nil, "")
	add("SSE-S3 as SSE-KMS with a bucket key", s3, Encryption{Mode: ModeKMS, BucketKey: true}, one, 300, nil, "")
	add("SSE-KMS as SSE-S3", kmsMode, Encryption{Mode: ModeS3}, two, 2, nil, "")
	add("SSE-KMS with a client's context", parts, Encryption{Mode: ModeKMS, ClientContext: []byte(`{"a": "b"}`)}, one, 1, nil, "")
	add("another mode than it was sealed in", kmsMode, Encryption{Mode: ModeS3}, two, 0, func(b []byte) []byte { b[3] = byte(ModeKMS); return b }, "wrong-key")
	out[len(out)-1].Mode = ModeKMS
	add("SSE-C", kmsMode, Encryption{Mode: ModeS3}, two, 0, func(b []byte) []byte { b[3] = byte(ModeC); return b }, "record")
	add("a bucket key in SSE-S3", s3, Encryption{Mode: ModeKMS, BucketKey: true}, one, 0, func(b []byte) []byte { b[3] = byte(ModeS3); return b }, "record")
	add("sequence 0", s3, Encryption{Mode: ModeS3}, two, 0, func(b []byte) []byte { return append(b, tagSequence, 1, 0) }, "record")
	content, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rekeyedVectors, append(content, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
