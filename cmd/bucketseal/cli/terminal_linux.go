package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal says whether somebody sees what is written to v, or types what is
// read from it.
func IsTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
