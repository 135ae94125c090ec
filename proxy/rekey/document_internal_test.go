package rekey

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/sse"
)

func digestOf(n int) (d sse.RecordDigest) {
	d[0], d[1], d[2] = byte(n), byte(n>>8), byte(n>>16)
	return d
}

// full is a document with everything in it.
func full() *document {
	d := new(document).next()
	s := d.scope("b", "k")
	s.upTo, s.open, s.closed, s.top = 3, true, "run", 2
	s.singles[digestOf(1)] = single{7, ""}
	s.singles[digestOf(2)] = single{0, "somebody"}
	d.scope("b", "other").upTo = 1
	d.scope("a", "k").upTo = 1
	return &d.document
}

func TestDocumentHasOneEncoding(t *testing.T) {
	t.Parallel()
	for _, d := range []*document{{generation: 1}, full()} {
		data, err := d.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeDocument(data)
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if text, err := again.encode(); err != nil || !bytes.Equal(text, data) {
			t.Errorf("%s\nis read, and written as\n%s", data, text)
		}
		for _, bad := range [][]byte{
			append(data, '\n'), bytes.Replace(data, []byte(`"version":1`), []byte(`"version":2`), 1), bytes.Replace(data, []byte(`"generation":1`), []byte(`"generation":0`), 1),
		} {
			if _, err := decodeDocument(bad); !errors.Is(err, errDocument) {
				t.Errorf("%s: %v", bad, err)
			}
		}
	}
}

func TestADraftLeavesTheDocumentBeforeAlone(t *testing.T) {
	t.Parallel()
	d := full()
	before, _ := d.encode()
	next := d.next()
	s := next.scope("b", "k")
	s.singles[digestOf(3)], s.open = single{1, ""}, false
	next.scope("new", "k").upTo = 9
	if after, _ := d.encode(); !bytes.Equal(before, after) {
		t.Errorf("%s became\n%s", before, after)
	}
	if next.epochOf("b") != 2 || next.epochOf("a") != 1 || next.generation != 2 {
		t.Errorf("epochs %d and %d in generation %d", next.epochOf("b"), next.epochOf("a"), next.generation)
	}
}

// Where too many records are noted singly, any record of their KMS key may have a wrap, and
// none that had one is forgotten.
func TestManySingleRecordsBecomeAScope(t *testing.T) {
	t.Parallel()
	d := &document{}
	rec := &sse.Record{Mode: sse.ModeKMS, KMSKey: "k", KMSKeyVersion: 4}
	for i := range maxSingles + 1 {
		next := d.next()
		if !next.note("b", rec, digestOf(i), 1, "x") {
			t.Fatal("nothing noted")
		}
		next.shrink()
		d = &next.document
		if n := d.buckets["b"].singles(); n > maxSingles {
			t.Fatalf("%d single records", n)
		}
	}
	if p, in := d.place("b", rec); !in || p.must || p.epoch != d.generation {
		t.Errorf("a record of the scope: %+v, %v", p, in)
	}
	newer := *rec
	newer.KMSKeyVersion = 5
	if _, in := d.place("b", &newer); in {
		t.Error("a record of a newer version is in the scope")
	}
	if _, in := d.place("other", rec); in {
		t.Error("a record of another bucket is in the scope")
	}
	// What is being written stays noted.
	next := d.next()
	for i := range maxSingles + 10 {
		next.pend("b", rec, digestOf(i), "x")
	}
	next.shrink()
	if n := next.buckets["b"].singles(); n != maxSingles+10 {
		t.Errorf("%d of %d pending records are left", n, maxSingles+10)
	}
}

func TestTheBookHasFewSingleRecordsInAll(t *testing.T) {
	t.Parallel()
	d := new(document).next()
	rec := &sse.Record{Mode: sse.ModeKMS, KMSKey: "k", KMSKeyVersion: 1}
	for b := range 20 {
		for i := range 1000 {
			d.note(fmt.Sprint("bucket ", b), rec, digestOf(i), 1, "x")
		}
	}
	d.shrink()
	n := 0
	for _, b := range d.buckets {
		n += b.singles()
	}
	if data, err := d.encode(); n > maxAllSingles || err != nil || len(data) > maxDocument/4 {
		t.Errorf("%d single records in %d bytes, %v", n, len(data), err)
	}
}

// A note is made once, whoever asks how often.
func TestNotesAreMadeOnce(t *testing.T) {
	t.Parallel()
	rec := &sse.Record{Mode: sse.ModeKMS, KMSKey: "k", KMSKeyVersion: 1}
	d := new(document).next()
	if d.pend("b", rec, digestOf(1), "a") {
		t.Error("a record of which no wrap counts is pending")
	}
	for want := range []bool{true, false} {
		if d.note("b", rec, digestOf(1), 3, "a") != (want == 0) {
			t.Errorf("note %d", want)
		}
	}
	in := *rec
	d.scope("b", "k").upTo = 1
	if !d.pend("b", &in, digestOf(2), "a") || d.pend("b", &in, digestOf(2), "a") || !d.pend("b", &in, digestOf(2), "b") {
		t.Error("pend")
	}
	if d.unpend("b", &in, digestOf(2), "a") || !d.unpend("b", &in, digestOf(2), "b") || d.unpend("b", &in, digestOf(2), "b") {
		t.Error("unpend")
	}
	if _, there := d.scopeOf("b", "k").singles[digestOf(2)]; there {
		t.Error("what was taken back is still noted")
	}
}

func FuzzDecodeDocument(f *testing.F) {
	data, _ := full().encode()
	f.Add(data)
	data, _ = (&document{generation: 1}).encode()
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decodeDocument(data)
		if err != nil {
			if !errors.Is(err, errDocument) {
				t.Errorf("error %v", err)
			}
			return
		}
		if again, err := d.encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s is read, and written as %s", data, again)
		}
		d.next().scope("b", "k")
		_, _ = d.place("b", &sse.Record{KMSKey: "k", KMSKeyVersion: 1})
	})
}
