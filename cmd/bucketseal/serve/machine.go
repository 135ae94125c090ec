package serve

import (
	"math"
	"runtime/debug"

	"github.com/bucketseal/bucketseal/proxy/doctor"
)

// machine tells of this process and its machine.
func machine() doctor.Machine {
	m := doctor.Machine{Memory: availableMemory(), Files: openFiles(), Swap: maySwap(), Cores: dumpsCore()}
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		m.Limit = limit
		m.Memory = physicalMemory()
	}
	return m
}

// physicalMemory is what machine and container give, 0 if that cannot be told.
func physicalMemory() int64 {
	least := containerMemory()
	if kib, ok := procField("/proc/meminfo", "MemTotal:"); ok {
		least = min(least, kib<<10)
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// maySwap says whether memory of this process may be written to swap space.
func maySwap() bool {
	locked, known := procField("/proc/self/status", "VmLck:")
	total, ok := procField("/proc/meminfo", "SwapTotal:")
	return ok && total > 0 && known && locked == 0
}
