//go:build !linux

package cli

import (
	"os"
)

// IsTerminal says whether somebody sees what is written to v, or types what is
// read from it. /dev/null counts: it answers nothing.
func IsTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
