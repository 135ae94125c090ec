package sse

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// Whatever the storage makes of an object whose table of parts is lost, what a survey takes
// for parts are parts that were encrypted under the object's key, whole and in the order of
// their numbers. Of two uploads of one part, it may be either.
func FuzzSurvey(f *testing.F) {
	for op := range byte(8) {
		f.Add(uint16(5), uint16(0), uint16(900), []byte{op, 1}, true)
		f.Add(uint16(0xffff), uint16(1), uint16(0xffff), []byte{op, 0x12, op, 0x21}, false)
	}
	f.Add(uint16(5), uint16(6), uint16(7), []byte{}, true)
	f.Fuzz(func(t *testing.T, first, second, third uint16, ops []byte, known bool) {
		key := NewObjectKey()
		sizes := []int64{1 + int64(first), 1 + int64(second), 1 + int64(third)}
		parts, plain, encrypted := oddParts(t, &key, sizes)
		_, otherPlain, otherEncrypted := oddParts(t, &key, sizes)
		changed := mutate(encrypted, otherEncrypted, ops[:min(len(ops), 8)])
		var told []Part
		if known {
			told = parts.List()
		}
		var got []*bytes.Buffer
		var packages bytes.Buffer
		s := Survey{Key: &key, Known: told, Begin: func() (io.Writer, io.Writer) {
			got = append(got, new(bytes.Buffer))
			return got[len(got)-1], &packages
		}}
		found, err := s.Run(bytes.NewReader(changed))
		if err != nil {
			if bytes.Equal(changed, encrypted) {
				t.Fatal(err)
			}
			return
		}
		if len(got) != len(found) || known && len(found) != len(told) || !bytes.Equal(packages.Bytes(), changed) {
			t.Fatalf("%d parts, of which %d were begun, of %d", len(found), len(got), len(told))
		}
		for i, p := range found {
			at := slices.IndexFunc(parts.List(), func(q Part) bool { return q.Number == p.Number })
			if at < 0 || i > 0 && found[i-1].Number >= p.Number || p.PlainSize != sizes[at] {
				t.Fatalf("part %d of %d bytes", p.Number, p.PlainSize)
			}
			begin := int64(0)
			for _, size := range sizes[:at] {
				begin += size
			}
			if text := got[i].Bytes(); !bytes.Equal(text, plain[begin:begin+sizes[at]]) && !bytes.Equal(text, otherPlain[begin:begin+sizes[at]]) {
				t.Fatalf("part %d has another plaintext", p.Number)
			}
		}
	})
}
