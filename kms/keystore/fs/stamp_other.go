//go:build !unix

package fs

import (
	"os"
	"time"
)

// missing says that there is no file.
func missing(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err)
}

// identify returns what every system tells of a file.
func identify(path string) (identity [4]uint64, changed time.Time, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return identity, changed, err
	}
	return [4]uint64{0, uint64(info.Size()), uint64(info.ModTime().UnixNano())}, info.ModTime(), nil
}
