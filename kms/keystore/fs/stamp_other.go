//go:build !linux

package fs

import (
	"fmt"
	"os"
)

// Stamp implements kms.Stamper with what every system tells of a file.
func (s *Store) Stamp(name string) (string, error) {
	info, err := os.Stat(s.path(name))
	if err != nil {
		return "", sentinel(name, err)
	}
	return fmt.Sprintf("%d.%d", info.Size(), info.ModTime().UnixNano()), nil
}
