package fs

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Stamp implements kms.Stamper: inode, size and both times of the key's file
// change whenever its content can have changed.
func (s *Store) Stamp(name string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(s.path(name), &st); err != nil {
		return "", sentinel(name, fmt.Errorf("stat: %w", err))
	}
	b := make([]byte, 0, 80)
	for _, n := range [...]int64{int64(st.Ino), st.Size, st.Mtim.Nano(), st.Ctim.Nano()} { //nolint:gosec // an identity, not a number
		b = append(strconv.AppendInt(b, n, 36), '.')
	}
	return string(b), nil
}
