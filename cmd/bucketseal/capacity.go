package main

import (
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/config"
)

const (
	// requestMemory is what a streamed transfer takes, measured, with room to spare
	// (docs/performance.md).
	requestMemory = 1 << 20
	// connectionMemory is what an idle connection by TLS takes, likewise.
	connectionMemory = 64 << 10
	// requestsPerCPU bounds how many requests share a processor.
	requestsPerCPU = 1024
)

// setCapacity fills in the limits that follow from the machine: half of its memory for
// requests, a quarter for connections, and never more than there are files to
// open; a request has two connections.
func setCapacity(l *config.Limits) {
	memory, files := availableMemory(), openFiles()
	if l.MaxRequests == 0 {
		l.MaxRequests = int(max(64, min(int64(runtime.GOMAXPROCS(0))*requestsPerCPU, memory/2/requestMemory, files/4)))
	}
	if l.MaxConnections == 0 {
		l.MaxConnections = int(max(256, min(memory/4/connectionMemory, files/2)))
	}
}

// warnMemory says that uploads may take more than half of the memory: the limit of
// requests knows only what transfers take besides.
func warnMemory(c *config.Config, log *slog.Logger) {
	if memory := availableMemory(); c.SmallObject.Budget > memory/2 {
		log.Warn("small_object.budget is more than half of the memory", "budget", c.SmallObject.Budget, "memory", memory)
	}
}

// availableMemory is the least that machine, container and GOMEMLIMIT give, in
// bytes; where nothing tells, 1 GiB.
func availableMemory() int64 {
	least := debug.SetMemoryLimit(-1)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, _ := os.ReadFile(file)
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil {
			least = min(least, n)
		}
	}
	if kib, ok := procField("/proc/meminfo", "MemTotal:"); ok {
		least = min(least, kib<<10)
	}
	if least > 1<<50 {
		return 1 << 30
	}
	return least
}

// openFiles is how many files this process may open; where nothing tells, as many
// as an old system allows.
func openFiles() int64 {
	if n, ok := procField("/proc/self/limits", "Max open files"); ok {
		return n
	}
	return 1024
}

// procField returns the first number behind a name in a file of /proc.
func procField(file, name string) (int64, bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	_, rest, ok := strings.Cut(string(data), name)
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	return n, err == nil
}
