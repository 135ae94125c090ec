package kms

import (
	"fmt"
	"strings"
	"testing"
)

// The names of a store's entries lead to one key each, and to files and secrets beside no other.
func FuzzEntryName(f *testing.F) {
	for _, s := range []string{"my-key", "my-key@log", "k@0123456789abcdef.1", "k@0123456789abcdef.v2", "k@0123456789abcdef.01", "k@0123456789abcdef.4294967296", "../x", "k@", "@log", "k@log@log"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		key, ok := KeyOfEntry(entry)
		if (ValidateEntryName(entry) == nil) != ok {
			t.Fatalf("%q is a name, and is none", entry)
		}
		groups := GroupEntries([]string{entry, "another", entry})
		if !ok {
			if len(groups) != 1 || key != "" && ValidateKeyName(key) != nil {
				t.Fatalf("%q belongs to %q", entry, key)
			}
			return
		}
		if ValidateKeyName(key) != nil || len(entry) > MaxEntryNameSize || strings.ContainsAny(entry, "/\\\x00 \n") || strings.HasPrefix(entry, ".") {
			t.Fatalf("%q belongs to %q", entry, key)
		}
		rest := strings.TrimPrefix(entry, key)
		var log string
		var number uint32
		same := rest == "" || entry == rootEntry(key)
		if len(rest) > 1+logIDLength {
			log = rest[1 : 1+logIDLength]
			_, _ = fmt.Sscanf(strings.TrimPrefix(rest[1+logIDLength:], ".v"), "%d", &number)
			_, _ = fmt.Sscanf(strings.TrimPrefix(rest[1+logIDLength:], "."), "%d", &number)
			same = same || entry == eventEntry(key, log, number) || entry == secretEntry(key, log, number)
		}
		if !same {
			t.Fatalf("%q is a second way to write an entry of %q", entry, key)
		}
		for _, g := range groups {
			if g.Name == key && (len(g.Entries) < 2 || g.Entries[0] != g.Entries[1] && key != "another") {
				t.Fatalf("%q: %v", entry, groups)
			}
		}
	})
}
