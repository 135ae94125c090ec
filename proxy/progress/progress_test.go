package progress

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"
)

func sample() *Cursor {
	at := func(n int64) Instant { return Instant{time.UnixMilli(n), time.UnixMilli(n + 7)} }
	return &Cursor{
		Newest: map[string]uint32{"b": 2, "a": 1}, Began: at(1000), Lap: at(2000), Saved: at(3000), Clean: 1, Changed: true,
		Place: Place{Versions, "bucket", "key\xff", "null"}, Open: []string{"a", "b"},
	}
}

// What is read is written as the same again, and nothing else is read.
func FuzzDecode(f *testing.F) {
	data, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	ended := &Cursor{Newest: map[string]uint32{}, Place: Place{Phase: Ended}, Closed: Instant{time.UnixMilli(5), time.UnixMilli(6)}}
	if data, err = ended.encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":2,"newest":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if again, err := c.encode(); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q, then %q, %v", data, again, err)
		}
	})
}

func TestCursorIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	data, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decode(data)
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", sample()) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, change := range map[string]func(*Cursor){
		"a version without a name":    func(c *Cursor) { c.Place.After = "" },
		"versions of no bucket":       func(c *Cursor) { c.Place.Bucket = "" },
		"the end, and no time of it":  func(c *Cursor) { c.Place = Place{Phase: Ended} },
		"another phase":               func(c *Cursor) { c.Place = Place{Phase: 4} },
		"keys in another order":       func(c *Cursor) { c.Open = []string{"b", "a"} },
		"a key twice":                 func(c *Cursor) { c.Open = []string{"a", "a"} },
		"less than no laps":           func(c *Cursor) { c.Clean = -1 },
		"a time of the end before it": func(c *Cursor) { c.Closed = c.Saved },
	} {
		c := sample()
		change(c)
		data, err := c.encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decode(data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	long := sample()
	for i := range 1000 {
		long.Newest[fmt.Sprint(i)] = 1
	}
	if _, err := long.encode(); !errors.Is(err, ErrTooLong) {
		t.Errorf("%v", err)
	}
}

// Things end in any order, and the place is behind what ended without a gap.
func TestMarks(t *testing.T) {
	t.Parallel()
	var m Marks
	a, b := m.Add(Place{After: "a"}, 2), m.Add(Place{After: "b"}, 1)
	m.Add(Place{After: "c"}, 0)
	if at, moved := m.Done(nil); moved {
		t.Errorf("%+v", at)
	}
	if at, moved := m.Done(b); moved {
		t.Errorf("%+v", at)
	}
	if at, moved := m.Done(a); moved {
		t.Errorf("%+v", at)
	}
	if at, moved := m.Done(a); !moved || at.After != "c" {
		t.Errorf("%+v", at)
	}
}
