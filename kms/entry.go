package kms

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// entryMark stands between the name of a key and what tells one of its entries from
// the others. No key name has it, so nobody can ask for an entry as if it were a key;
// every kind of store allows it.
const entryMark = "@"

const (
	rootSuffix  = entryMark + "log"
	logIDLength = 16
	// maxEntrySuffix bounds what follows a key's name in the name of an entry, in bytes.
	maxEntrySuffix = len(entryMark) + logIDLength + len(".v4294967295")
)

// MaxEntryNameSize is the length of the longest name that a Store is given, in bytes.
const MaxEntryNameSize = MaxKeyNameSize + maxEntrySuffix

// ValidateEntryName refuses what is neither the name of a key nor of an entry beside
// one (docs/keys.md, section 8): what stores are asked for. ErrInvalidKeyName.
func ValidateEntryName(name string) error {
	if _, ok := KeyOfEntry(name); !ok {
		return fmt.Errorf("%.120q: %w", name, ErrInvalidKeyName)
	}
	return nil
}

// KeyOfEntry returns the name of the key that an entry of a store belongs to: the
// entry's own for version 1. ok is false for what is no name of an entry.
func KeyOfEntry(entry string) (key string, ok bool) {
	key, rest, derived := strings.Cut(entry, entryMark)
	if !validName(key) {
		return "", false
	}
	if !derived || rest == rootSuffix[len(entryMark):] {
		return key, true
	}
	id, number, ok := strings.Cut(rest, ".")
	if !ok || !isLogID(id) {
		return "", false
	}
	number = strings.TrimPrefix(number, "v")
	n, err := strconv.ParseUint(number, 10, 32)
	return key, err == nil && n > 0 && strconv.FormatUint(n, 10) == number
}

func isLogID(id string) bool {
	if len(id) != logIDLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// logOf returns the log that an event or a secret belongs to, "" for other entries.
func logOf(entry string) string {
	_, rest, _ := strings.Cut(entry, entryMark)
	id, _, _ := strings.Cut(rest, ".")
	if !isLogID(id) {
		return ""
	}
	return id
}

// rootEntry is the entry that says where the log of a key is.
func rootEntry(key string) string { return key + rootSuffix }

// eventEntry is an entry of the log of a key; they are counted from 1.
func eventEntry(key, log string, seq uint32) string {
	return fmt.Sprintf("%s%s%s.%d", key, entryMark, log, seq)
}

// secretEntry has the secret of a version after the first.
func secretEntry(key, log string, version uint32) string {
	return fmt.Sprintf("%s%s%s.v%d", key, entryMark, log, version)
}

// KeyEntries are the entries of one key.
type KeyEntries struct {
	Name string
	// Entries are in the order in which they have to be copied to another store: what is
	// there of them at any time is the key as it once was, or no key yet.
	Entries []string
}

// GroupEntries sorts what a store lists by keys. Names that are none are left out.
func GroupEntries(entries []string) []KeyEntries {
	byKey := make(map[string][]string)
	for _, entry := range entries {
		if key, ok := KeyOfEntry(entry); ok {
			byKey[key] = append(byKey[key], entry)
		}
	}
	groups := make([]KeyEntries, 0, len(byKey))
	for _, name := range slices.Sorted(maps.Keys(byKey)) {
		list := byKey[name]
		slices.SortFunc(list, func(a, b string) int {
			kindA, numberA := copyOrder(name, a)
			kindB, numberB := copyOrder(name, b)
			return cmp.Or(cmp.Compare(kindA, kindB), cmp.Compare(numberA, numberB), strings.Compare(a, b))
		})
		groups = append(groups, KeyEntries{name, list})
	}
	return groups
}

// copyOrder has secrets first, then events by number, the root that leads to them, and
// the record.
func copyOrder(key, entry string) (kind, number int) {
	switch {
	case entry == key:
		return 4, 0
	case entry == rootEntry(key):
		return 3, 0
	}
	_, text, _ := strings.Cut(entry, ".")
	if text, secret := strings.CutPrefix(text, "v"); secret {
		number, _ = strconv.Atoi(text)
		return 1, number
	}
	number, _ = strconv.Atoi(text)
	return 2, number
}
