package keybackup

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// Of a file that is a backup, encoding gives that file again: there is one way to write it.
func FuzzDecode(f *testing.F) {
	b := &Backup{
		About:   About{Created: time.Unix(1_700_000_000, 0).UTC()},
		Entries: []Entry{{"a", []byte("secret")}, {"a@log", []byte("{}")}, {"b", nil}},
	}
	text, err := b.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, false)
	f.Add(text, true)
	f.Add(bytes.Replace(text, []byte(`"name":"a"`), []byte(`"Name":"a"`), 1), true)
	f.Add(bytes.Replace(text, []byte(`"name":"a"`), []byte(`"name":"x","name":"a"`), 1), true)
	f.Add(bytes.Replace(text, []byte(`"name":"a"`), []byte(`"name": "a"`), 1), true)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed { // with a digest that fits, as somebody who has the passphrase can make one
			data = withDigest(data)
		}
		b, err := decode(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrDamaged) || b != nil {
				t.Fatalf("%v, %v", b, err)
			}
			return
		}
		for i, e := range b.Entries {
			if kms.ValidateEntryName(e.Name) != nil || i > 0 && b.Entries[i-1].Name >= e.Name {
				t.Fatalf("entry %q", e.Name)
			}
		}
		again, err := b.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q is read as if it were %q", data, again)
		}
	})
}

// withDigest replaces the last line.
func withDigest(data []byte) []byte {
	lines := bytes.TrimSuffix(data, []byte("\n"))
	return appendDigest(bytes.Clone(lines[:bytes.LastIndexByte(lines, '\n')+1]))
}
