package sse

import (
	"bytes"
	"io"
	"testing"
)

var benchedModes = []struct {
	name string
	mode Mode
}{{"SSE-S3", ModeS3}, {"SSE-KMS", ModeKMS}}

func BenchmarkSealKey(b *testing.B) {
	binding, secret, key := testBinding(), testSecret(1), NewObjectKey()
	b.ReportAllocs()
	for b.Loop() {
		binding.seal(secret, &key)
	}
}

func BenchmarkUnsealKey(b *testing.B) {
	binding, secret, key := testBinding(), testSecret(1), NewObjectKey()
	sealed := binding.seal(secret, &key)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := binding.unseal(secret, &sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func testBinding() *Binding {
	return &Binding{Mode: ModeS3, Name: testName, KMSKey: "key-a", KMSKeyVersion: 1, Context: contextOf(ModeS3)}
}

func BenchmarkSealRecord(b *testing.B) {
	for _, m := range benchedModes {
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sealTestRecord(b, m.mode)
			}
		})
	}
}

func BenchmarkParseRecord(b *testing.B) {
	for _, m := range benchedModes {
		b.Run(m.name, func(b *testing.B) {
			text, _ := sealTestRecord(b, m.mode)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseRecord(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpenRecord(b *testing.B) {
	for _, m := range benchedModes {
		b.Run(m.name, func(b *testing.B) {
			text, _ := sealTestRecord(b, m.mode)
			rec, err := ParseRecord(text)
			if err != nil {
				b.Fatal(err)
			}
			secret, context := testSecret(1), contextOf(m.mode)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := rec.Open(testName, secret, context); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a small object costs beside its bytes.
func BenchmarkSmallStream(b *testing.B) {
	s, plain := newStream(b, 4<<10)
	enc := encrypt(b, &s, plain)
	b.Run("encrypt", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			r, err := s.Encrypt(bytes.NewReader(plain))
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decrypt", func(b *testing.B) {
		b.SetBytes(int64(len(plain)))
		b.ReportAllocs()
		for b.Loop() {
			r, err := s.Decrypt(bytes.NewReader(enc), Range{Length: s.PlainSize})
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}
