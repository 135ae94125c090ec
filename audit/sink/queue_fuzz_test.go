package sink

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// drain takes everything off a queue, a little at a time.
func drain(q *queue) (all []byte, err error) {
	for {
		lines, err := q.peek(1 << 20)
		if err != nil || len(lines) == 0 {
			return all, err
		}
		all = append(all, lines...)
		if err := q.take(len(lines)); err != nil {
			return all, err
		}
	}
}

// Whatever a crash leaves of the last segment and of the cursor, the queue opens and gives
// whole lines: all that were there, from the one on at which the cursor says it was.
func FuzzQueue(f *testing.F) {
	f.Add([]byte("one\ntwo\nthree\n"), []byte("1 4\n"))
	f.Add([]byte("one\ntwo\nthr"), []byte("1 4"))
	f.Add([]byte("one\ntwo\n"), []byte("1 40\n"))
	f.Add([]byte("one\ntwo\n"), []byte("1 5\n"))
	f.Add([]byte("\n\n"), []byte("2 0\n"))
	f.Add([]byte(""), []byte("1 -1\n"))
	f.Fuzz(func(t *testing.T, lines, noted []byte) {
		folder := t.TempDir()
		if err := errors.Join(os.WriteFile(filepath.Join(folder, "00000000000000000001.lines"), lines, 0o600),
			os.WriteFile(filepath.Join(folder, cursorName), noted, 0o600)); err != nil {
			t.Fatal(err)
		}
		q, err := openQueue(folder, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = q.close() }()
		if err := q.add([]byte("last\n"), false); err != nil {
			t.Fatal(err)
		}
		got, err := drain(q)
		if err != nil {
			t.Fatalf("%q after %q: %v", lines, noted, err)
		}
		there := append(bytes.Clone(lines[:bytes.LastIndexByte(lines, '\n')+1]), "last\n"...)
		rest := len(there) - len(got)
		if !bytes.HasSuffix(there, got) || rest > 0 && there[rest-1] != '\n' || q.waiting() != 0 {
			t.Fatalf("%q after %q gives %q, and %d bytes wait", lines, noted, got, q.waiting())
		}
		if again, err := drain(q); len(again) != 0 || err != nil {
			t.Fatalf("taken off twice: %q, %v", again, err)
		}
	})
}
