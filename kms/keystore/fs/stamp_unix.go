//go:build unix

package fs

import (
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// missing says that there is no file, without the cost of an error.
func missing(path string) bool {
	var st unix.Stat_t
	return unix.Stat(path, &st) == unix.ENOENT //nolint:errorlint // it is an errno, never wrapped
}

// identify returns what changes when a file is replaced or written, and when it
// changed last.
func identify(path string) (identity [4]uint64, changed time.Time, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return identity, changed, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	identity = [4]uint64{st.Ino, uint64(st.Size), uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano())}
	return identity, time.Unix(st.Ctim.Unix()), nil
}
