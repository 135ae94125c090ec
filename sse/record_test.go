package sse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func testSecret(b byte) *Secret {
	var s Secret
	for i := range s {
		s[i] = b
	}
	return &s
}

var testName = Name{Bucket: "wards", Key: "2026/scan a//b.dcm"}

func sealTestRecord(t testing.TB, mode Mode) (string, ObjectKey) {
	t.Helper()
	b := &Binding{Mode: mode, Name: testName}
	rec := &Record{PlainSize: 70000}
	if mode != ModeC {
		b.KMSKey, b.KMSKeyVersion, b.Context = "key-a", 1, []byte(`{"wards":"wards"}`)
		rec.SealedDEK = bytes.Repeat([]byte{9}, 76)
	}
	if mode == ModeKMS {
		rec.ClientContext, rec.BucketKey = []byte(`{"a":"b"}`), true
	}
	key := NewObjectKey()
	private := NewPrivate(rec.PlainSize, NewStreamNonce())
	private.MD5 = bytes.Repeat([]byte{5}, 16)
	private.Checksum = &Checksum{Type: SHA256, Value: bytes.Repeat([]byte{6}, 32)}
	text, err := rec.Seal(b, testSecret(1), &key, private)
	if err != nil {
		t.Fatal(err)
	}
	return text, key
}

func contextOf(mode Mode) []byte {
	if mode == ModeC {
		return nil
	}
	return []byte(`{"wards":"wards"}`)
}

func TestRecordOpensWithWhatItWasSealedFor(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{ModeS3, ModeKMS, ModeC} {
		text, key := sealTestRecord(t, mode)
		rec, err := ParseRecord(text)
		if err != nil {
			t.Fatalf("%v: %v", mode, err)
		}
		if rec.Mode != mode || rec.PlainSize != 70000 || (mode == ModeKMS) != rec.BucketKey || (mode == ModeKMS) != (string(rec.ClientContext) == `{"a":"b"}`) {
			t.Errorf("%v: public fields %+v", mode, rec)
		}
		got, private, err := rec.Open(testName, testSecret(1), contextOf(mode))
		if err != nil || got != key {
			t.Fatalf("%v: %v", mode, err)
		}
		if len(private.MD5) != 16 || private.Checksum == nil || private.Checksum.Type != SHA256 {
			t.Errorf("%v: private fields %+v", mode, private)
		}
	}
}

func TestRecordDoesNotOpenForAnythingElse(t *testing.T) {
	t.Parallel()
	text, _ := sealTestRecord(t, ModeS3)
	rec, _ := ParseRecord(text)
	context := contextOf(ModeS3)
	for name, open := range map[string]func() error{
		"other secret": func() error { _, _, err := rec.Open(testName, testSecret(2), context); return err },
		"other bucket": func() error { _, _, err := rec.Open(Name{"ward", testName.Key}, testSecret(1), context); return err },
		"cleaned key": func() error {
			_, _, err := rec.Open(Name{"wards", "2026/scan a/b.dcm"}, testSecret(1), context)
			return err
		},
		"moved border": func() error {
			_, _, err := rec.Open(Name{"wards2", "026/scan a//b.dcm"}, testSecret(1), context)
			return err
		},
		"other context": func() error { _, _, err := rec.Open(testName, testSecret(1), []byte("{}")); return err },
	} {
		if err := open(); !errors.Is(err, ErrWrongKey) {
			t.Errorf("%s: %v, want ErrWrongKey", name, err)
		}
	}
}

// A record says one thing about its object's ETag.
func TestRecordOfAnOpaqueETagHoldsNoMD5(t *testing.T) {
	t.Parallel()
	b := &Binding{Mode: ModeS3, Name: testName, KMSKey: "key-a", KMSKeyVersion: 1, Context: contextOf(ModeS3)}
	rec := &Record{PlainSize: 1, SealedDEK: []byte{9}, OpaqueETag: true}
	key, private := NewObjectKey(), NewPrivate(1, NewStreamNonce())
	text, err := rec.Seal(b, testSecret(1), &key, private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseRecord(text)
	if err != nil || !parsed.OpaqueETag || parsed.MD5ETag() || parsed.ETag() != rec.ETag() {
		t.Fatalf("%+v, %v", parsed, err)
	}
	if _, _, err = parsed.Open(testName, testSecret(1), contextOf(ModeS3)); err != nil {
		t.Error(err)
	}
	private.MD5 = bytes.Repeat([]byte{5}, 16)
	if _, err := rec.Seal(b, testSecret(1), &key, private); !errors.Is(err, ErrRecord) {
		t.Errorf("a record that could not be read is sealed: %v", err)
	}
}

// Every single bit of a record counts: with any one flipped it is refused.
func TestRecordRefusesEveryFlippedBit(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{ModeS3, ModeKMS, ModeC} {
		text, _ := sealTestRecord(t, mode)
		raw, _ := base64.RawURLEncoding.DecodeString(text)
		accepted := 0
		for i := range len(raw) * 8 {
			bad := bytes.Clone(raw)
			bad[i/8] ^= 1 << (i % 8)
			rec, err := ParseRecord(base64.RawURLEncoding.EncodeToString(bad))
			if err == nil {
				_, _, err = rec.Open(testName, testSecret(1), contextOf(mode))
			}
			if err == nil {
				accepted++
				t.Errorf("%v: bit %d of byte %d can be flipped", mode, i%8, i/8)
			}
		}
		if accepted > 0 {
			t.Fatalf("%v: %d flips accepted", mode, accepted)
		}
	}
}

func TestParseRecordRefusesWhatIsNotCanonical(t *testing.T) {
	t.Parallel()
	text, _ := sealTestRecord(t, ModeS3)
	raw, _ := base64.RawURLEncoding.DecodeString(text)
	enc := base64.RawURLEncoding.EncodeToString
	at := func(tag byte) int { // offset of a field, by walking
		for i := 1; i < len(raw); {
			n, size, _ := canonicalUvarint(raw[i+1:])
			if raw[i] == tag {
				return i
			}
			i += 1 + size + int(n)
		}
		t.Fatalf("no tag %#x", tag)
		return 0
	}
	cut := func(tag byte) []byte {
		i := at(tag)
		n, size, _ := canonicalUvarint(raw[i+1:])
		return append(bytes.Clone(raw[:i]), raw[i+1+size+int(n):]...)
	}
	longLength := func() []byte {
		i := at(tagMode)
		return append(append(bytes.Clone(raw[:i+1]), 0x81, 0x00), raw[i+2:]...)
	}
	cases := map[string]string{
		"empty":                     "",
		"padding":                   text + "=",
		"line end":                  text[:8] + "\n" + text[8:],
		"standard alphabet":         "+" + text[1:],
		"other version":             enc(append([]byte{2}, raw[1:]...)),
		"no mode":                   enc(cut(tagMode)),
		"no sealed key":             enc(cut(tagSealedKey)),
		"no plain size":             enc(cut(tagPlainSize)),
		"no private section":        enc(cut(tagPrivate)),
		"no sealed DEK":             enc(cut(tagSealedDEK)),
		"no KMS key":                enc(cut(tagKMSKey)),
		"unknown tag":               enc(append(bytes.Clone(raw), 0x11, 0x00)),
		"repeated tag":              enc(append(bytes.Clone(raw), raw[at(tagPrivate):]...)),
		"long form of a length":     enc(longLength()),
		"bytes left over":           enc(append(bytes.Clone(raw), 0xff)),
		"longer than any record":    strings.Repeat("A", MaxRecordLength+4),
		"context in an S3 record":   enc(append(bytes.Clone(raw[:at(tagSealedDEK)]), append([]byte{tagContext, 2, '{', '}'}, raw[at(tagSealedDEK):]...)...)),
		"bucket key in S3 record":   enc(append(bytes.Clone(raw[:at(tagSealedKey)]), append([]byte{tagBucketKey, 0}, raw[at(tagSealedKey):]...)...)),
		"key version 0":             enc(bytes.Replace(raw, []byte{tagKeyVersion, 1, 1}, []byte{tagKeyVersion, 1, 0}, 1)),
		"mode 0":                    enc(bytes.Replace(raw, []byte{tagMode, 1, 1}, []byte{tagMode, 1, 0}, 1)),
		"mode 4":                    enc(bytes.Replace(raw, []byte{tagMode, 1, 1}, []byte{tagMode, 1, 4}, 1)),
		"private section too short": enc(append(bytes.Clone(raw[:at(tagPrivate)]), tagPrivate, 3, 1, 2, 3)),
	}
	for name, bad := range cases {
		if _, err := ParseRecord(bad); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, want ErrRecord", name, err)
		}
	}
}

func TestSealRefusesARecordThatIsTooLong(t *testing.T) {
	t.Parallel()
	b := &Binding{Mode: ModeKMS, Name: testName, KMSKey: "k", KMSKeyVersion: 1}
	rec := &Record{ClientContext: bytes.Repeat([]byte{'x'}, 4000), SealedDEK: []byte{1}}
	key := NewObjectKey()
	if _, err := rec.Seal(b, testSecret(1), &key, NewPrivate(0, StreamNonce{})); !errors.Is(err, ErrContextTooLong) {
		t.Errorf("got %v, want ErrContextTooLong", err)
	}
	rec = &Record{SealedDEK: bytes.Repeat([]byte{1}, 4000)}
	if _, err := rec.Seal(b, testSecret(1), &key, NewPrivate(0, StreamNonce{})); !errors.Is(err, ErrRecord) {
		t.Errorf("got %v, want ErrRecord", err)
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	key := NewObjectKey()
	part := key.Part(1)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{key, part, *testSecret(7), Request{CustomerKey: *testSecret(7)}} {
			got := fmt.Sprintf(format, v)
			if !strings.Contains(got, "[redacted]") || strings.Contains(got, "7 7") || strings.Contains(got, "0x7, 0x7") {
				t.Errorf("%s of %T: %s", format, v, got)
			}
		}
	}
}

func TestSystemObjectOpensOnlyUnderItsName(t *testing.T) {
	t.Parallel()
	o := SystemObject{Deployment: "d", Kind: "bucket-rules", Name: "rules/index", KMSKey: "k", KMSKeyVersion: 1, SealedDEK: []byte{1, 2}}
	sealed := SealSystem(o, testSecret(1), []byte("index"))
	head, err := SystemKey(sealed)
	if err != nil || head.KMSKey != "k" || !bytes.Equal(head.SealedDEK, o.SealedDEK) {
		t.Fatalf("SystemKey: %+v, %v", head, err)
	}
	if data, err := OpenSystem(o, testSecret(1), sealed); err != nil || string(data) != "index" {
		t.Fatalf("OpenSystem: %q, %v", data, err)
	}
	for name, change := range map[string]func(*SystemObject){
		"deployment": func(o *SystemObject) { o.Deployment = "e" },
		"kind":       func(o *SystemObject) { o.Kind = "ledger" },
		"name":       func(o *SystemObject) { o.Name = "rules/other" },
	} {
		other := o
		change(&other)
		if _, err := OpenSystem(other, testSecret(1), sealed); !errors.Is(err, ErrTampered) {
			t.Errorf("other %s: %v, want ErrTampered", name, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := OpenSystem(o, testSecret(1), bad); err == nil {
			t.Errorf("byte %d can be changed", i)
		}
		if _, err := OpenSystem(o, testSecret(1), sealed[:i]); err == nil {
			t.Errorf("cut at %d is accepted", i)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, mode := range []Mode{ModeS3, ModeKMS, ModeC} {
		text, _ := sealTestRecord(f, mode)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rec, err := ParseRecord(text)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("error %v is not ErrRecord", err)
			}
			return
		}
		// What is accepted is the one encoding of what it says.
		again := base64.RawURLEncoding.EncodeToString(appendField(rec.appendPublic(nil), tagPrivate, rec.private))
		if again != text {
			t.Fatalf("%q is accepted, %q is canonical", text, again)
		}
	})
}

func FuzzParseSystem(f *testing.F) {
	o := SystemObject{Deployment: "d", Kind: "k", Name: "n", KMSKey: "k", KMSKeyVersion: 1, SealedDEK: []byte{1}}
	f.Add(SealSystem(o, testSecret(1), []byte("data")))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, _, err := parseSystem(sealed); err != nil && !errors.Is(err, ErrRecord) {
			t.Fatalf("error %v is not ErrRecord", err)
		}
	})
}
