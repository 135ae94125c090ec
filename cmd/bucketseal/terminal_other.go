//go:build !linux

package main

import "os"

// isTerminal says whether somebody sees what is written to v, or types what is
// read from it. /dev/null counts: it answers nothing.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
