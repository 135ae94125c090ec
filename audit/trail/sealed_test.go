package trail_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"testing"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// The keys that signed a log are counted by the versions of the KMS key that they lie under, each
// once, whatever other lines name.
func TestKeysOfALogAreCounted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	for _, key := range []struct {
		sealed, kmsKey string
		version        uint32
	}{{"one", "k", 1}, {"one", "k", 1}, {"two", "k", 1}, {"three", "k", 3}, {"four", "other", 7}} {
		file, err := sink.OpenFile(sink.FileOptions{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		l, err := audit.New(audit.Options{Sinks: []audit.Sink{file}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetKey(audit.NewKey(&[32]byte{1}, []byte(key.sealed), key.kmsKey, key.version))
		l.Note(&audit.Event{Kind: audit.KeyUse, KMSKey: "k", KMSVersion: 2, Object: `"kind":"signer"`})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := trail.SealedUnder([]string{path}, "k"); err != nil || !maps.Equal(got, map[uint32]int{1: 2, 3: 1}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := trail.SealedUnder([]string{path + ".gone"}, "k"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is gone: %v", err)
	}
}
