package sink

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A queue whose next segment could not be begun begins it when that works again, and loses nothing
// that it took.
func TestAQueueGoesOnAfterASegmentCouldNotBeBegun(t *testing.T) {
	t.Parallel()
	broken := errors.New("input/output error")
	for what, left := range map[string]bool{"the folder is not synced": false, "and the segment stays": true} {
		q, err := openQueue(filepath.Join(t.TempDir(), "queue"), 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		lines := bytes.Repeat([]byte("line\n"), segmentSize/5)
		if err := q.add(lines, true); err != nil {
			t.Fatal(err)
		}
		q.syncFolder = func(string) error { return broken }
		for range 2 {
			if err := q.add(lines, true); !errors.Is(err, broken) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if left {
			if err := os.WriteFile(q.name(2), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		q.syncFolder = syncFolder
		if err := q.add(lines, true); err != nil {
			t.Errorf("%s: when it works again: %v", what, err)
		}
		if got, err := drain(q); err != nil || !bytes.Equal(got, append(bytes.Clone(lines), lines...)) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if err := q.close(); err != nil {
			t.Error(err)
		}
	}
}
