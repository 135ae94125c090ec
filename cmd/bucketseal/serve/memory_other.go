//go:build !linux

package serve

import (
	"log/slog"
)

// protectMemory does nothing here: only Linux is supported.
func protectMemory(log *slog.Logger, lock bool) {
	if lock {
		log.Info("memory is not locked: keys may be written to swap")
	}
}

// dumpsCore says that it cannot be told here.
func dumpsCore() bool { return false }
