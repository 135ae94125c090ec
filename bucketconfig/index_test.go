package bucketconfig

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func exampleIndex() *index {
	return &index{generation: 7, rules: map[string]entry{
		"zeta":  {rule: Rule{Algorithm: AES256}, created: 1700000000123},
		"alpha": {rule: Rule{Algorithm: AWSKMS, KMSKeyID: "arn:aws:kms:<k>", BucketKeyEnabled: true}, created: -1},
	}}
}

const exampleJSON = `{"version":1,"generation":7,"rules":[` +
	`{"bucket":"alpha","created":-1,"algorithm":"aws:kms","kmsKeyId":"arn:aws:kms:\u003ck\u003e","bucketKeyEnabled":true},` +
	`{"bucket":"zeta","created":1700000000123,"algorithm":"AES256"}]}`

func TestIndexEncoding(t *testing.T) {
	t.Parallel()
	data, err := exampleIndex().encode(maxIndexSize)
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != exampleJSON {
		t.Errorf("encoding:\n got %s\nwant %s", data, exampleJSON)
	}
	x, err := decodeIndex(data)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(x, exampleIndex()) {
		t.Errorf("decoded %+v", x)
	}
	empty, err := (&index{generation: 1}).encode(maxIndexSize)
	if err != nil || string(empty) != `{"version":1,"generation":1,"rules":[]}` {
		t.Errorf("empty index: %s, %v", empty, err)
	}
}

func TestDecodeIndexRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	t.Parallel()
	const rule = `{"bucket":"b","created":1,"algorithm":"AES256"}`
	wrap := func(rules string) string { return `{"version":1,"generation":1,"rules":[` + rules + `]}` }
	if _, err := decodeIndex([]byte(wrap(rule))); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"nothing":               ``,
		"torn":                  exampleJSON[:len(exampleJSON)-3],
		"trailing data":         exampleJSON + "x",
		"trailing newline":      exampleJSON + "\n",
		"second value":          exampleJSON + exampleJSON,
		"leading space":         " " + exampleJSON,
		"null":                  `null`,
		"no rules":              `{"version":1,"generation":1}`,
		"null rules":            `{"version":1,"generation":1,"rules":null}`,
		"no generation":         `{"version":1,"generation":0,"rules":[]}`,
		"negative generation":   `{"version":1,"generation":-1,"rules":[]}`,
		"generation as text":    `{"version":1,"generation":"1","rules":[]}`,
		"generation as float":   `{"version":1,"generation":1.0,"rules":[]}`,
		"later version":         `{"version":2,"generation":1,"rules":[]}`,
		"fields exchanged":      `{"generation":1,"version":1,"rules":[]}`,
		"other case":            `{"Version":1,"generation":1,"rules":[]}`,
		"field twice":           `{"version":1,"generation":1,"generation":1,"rules":[]}`,
		"unknown field":         `{"version":1,"generation":1,"rules":[],"x":1}`,
		"unknown field in rule": wrap(`{"bucket":"b","created":1,"algorithm":"AES256","x":1}`),
		"bucket twice":          wrap(rule + `,` + rule),
		"buckets out of order":  wrap(`{"bucket":"c","created":1,"algorithm":"AES256"},` + rule),
		"no bucket":             wrap(`{"bucket":"","created":1,"algorithm":"AES256"}`),
		"long bucket":           wrap(`{"bucket":"` + strings.Repeat("b", 256) + `","created":1,"algorithm":"AES256"}`),
		"no algorithm":          wrap(`{"bucket":"b","created":1,"algorithm":""}`),
		"unknown algorithm":     wrap(`{"bucket":"b","created":1,"algorithm":"aes256"}`),
		"key with AES256":       wrap(`{"bucket":"b","created":1,"algorithm":"AES256","kmsKeyId":"k"}`),
		"KMS without key":       wrap(`{"bucket":"b","created":1,"algorithm":"aws:kms"}`),
		"default spelled out":   wrap(`{"bucket":"b","created":1,"algorithm":"AES256","bucketKeyEnabled":false}`),
		"needless escape":       wrap(`{"bucket":"\u0062","created":1,"algorithm":"AES256"}`),
		"missing escape":        wrap(`{"bucket":"b","created":1,"algorithm":"aws:kms","kmsKeyId":"<"}`),
		"invalid UTF-8":         wrap(`{"bucket":"b` + "\xff" + `","created":1,"algorithm":"AES256"}`),
		"lone surrogate":        wrap(`{"bucket":"b\ud800","created":1,"algorithm":"AES256"}`),
		"date as text":          wrap(`{"bucket":"b","created":"1","algorithm":"AES256"}`),
		"too large":             strings.Repeat(" ", maxIndexSize+1),
	} {
		if x, err := decodeIndex([]byte(data)); !errors.Is(err, errIndex) {
			t.Errorf("%s: got %+v, %v", name, x, err)
		}
	}
}

func TestIndexWithLeavesTheOldOneAlone(t *testing.T) {
	t.Parallel()
	x := exampleIndex()
	next, err := x.with("beta", entry{rule: Rule{Algorithm: AES256}, created: 5}, true)
	if err != nil {
		t.Fatal(err)
	}
	if next, err = next.with("zeta", entry{}, false); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(x, exampleIndex()) {
		t.Errorf("the old index changed: %+v", x)
	}
	if _, ok := next.rules["zeta"]; ok || next.generation != 9 || len(next.rules) != 2 || next.rules["beta"].created != 5 {
		t.Errorf("next index %+v", next)
	}
	x.generation = math.MaxUint64
	if _, err := x.with("b", entry{}, false); !errors.Is(err, ErrIndexFull) {
		t.Errorf("generation after the last one: %v", err)
	}
}

func TestIndexHoldsTensOfThousandsOfBucketsAndIsBounded(t *testing.T) {
	t.Parallel()
	x := &index{generation: 1, rules: map[string]entry{}}
	for i := range 20_000 {
		x.rules[fmt.Sprintf("bucket-%040d", i)] = entry{created: 1700000000123, rule: Rule{Algorithm: AWSKMS, KMSKeyID: "arn:aws:kms:some-key-name"}}
	}
	data, err := x.encode(maxIndexSize)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := decodeIndex(data); err != nil || len(again.rules) != len(x.rules) {
		t.Fatal(err)
	}
	if len(data) > maxIndexSize/4 {
		t.Errorf("%d bytes", len(data))
	}
	if _, err := x.encode(len(data)); err != nil {
		t.Error(err)
	}
	if _, err := x.encode(len(data) - 1); !errors.Is(err, ErrIndexFull) {
		t.Errorf("one byte too many: %v", err)
	}
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add([]byte(exampleJSON))
	f.Add([]byte(`{"version":1,"generation":1,"rules":[]}`))
	f.Add([]byte(`{"version":1,"generation":18446744073709551615,"rules":[{"bucket":"b","created":1,"algorithm":"aws:kms","kmsKeyId":"\u2028"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := decodeIndex(data)
		if err != nil {
			if !errors.Is(err, errIndex) {
				t.Fatalf("error %v", err)
			}
			return
		}
		again, err := x.encode(maxIndexSize)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q was accepted, its encoding is %q (%v)", data, again, err)
		}
	})
}
