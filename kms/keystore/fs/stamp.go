package fs

import (
	"encoding/binary"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// settleTime is how old a file's times must be to tell it from the next file of
// that name: file systems count time in steps, some of two seconds, and give the
// inode of a removed file to the next one.
const settleTime = 2 * time.Second

// Absent implements kms.Absenter. It makes nothing of the folder's being gone: whoever
// asks has just seen another file of it.
func (s *Store) Absent(name string) bool { return missing(s.path(name)) }

// Stamp implements kms.Stamper: inode, size and times of the key's file. Stamps
// of a file that was changed just now, or in the future, equal no other.
func (s *Store) Stamp(name string) (string, error) {
	if err := kms.ValidateEntryName(name); err != nil {
		return "", err
	}
	identity, changed, err := identify(s.path(name))
	if err != nil {
		return "", s.sentinel(name, err)
	}
	var stamp [5 * 8]byte
	for i, n := range identity {
		binary.BigEndian.PutUint64(stamp[8*i:], n)
	}
	if time.Since(changed) < settleTime {
		binary.BigEndian.PutUint64(stamp[8*len(identity):], s.unsure.Add(1))
	}
	return string(stamp[:]), nil
}
