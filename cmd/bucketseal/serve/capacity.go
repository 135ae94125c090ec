package serve

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/edge"
)

const (
	// requestMemory is what a streamed transfer takes, measured, with room to spare
	// (docs/performance.md).
	requestMemory = 1 << 20
	// connectionMemory is the most that a client can make a connection by HTTP/1.1 take
	// beside its requests, likewise: buffers and TLS, and the allowance for headers.
	connectionMemory = 64<<10 + edge.Allowance
	// http2Memory is what is reckoned for a connection by HTTP/2, beside the shared
	// budget: windows, queues, the allowance. net/http may for a moment keep more
	// of streams that are reset; tests hold the sum of all against the memory.
	http2Memory = 4 << 20
	// requestsPerCPU bounds how many requests share a processor.
	requestsPerCPU = 1024
)

// setCapacity fills in the limits that follow from the machine. Of the memory that
// small uploads leave, requests get half, connections by HTTP/1.1 a quarter, those by
// HTTP/2 an eighth, headers beyond allowances a sixteenth; so it suffices whatever
// clients do. And never more than there are files to open; a request has two connections.
func setCapacity(c *config.Config) {
	l, memory, files := &c.Limits, servingMemory(c), openFiles()
	if l.MaxRequests == 0 {
		l.MaxRequests = int(max(16, min(int64(runtime.GOMAXPROCS(0))*requestsPerCPU, memory/2/requestMemory, files/4)))
	}
	if l.MaxConnections == 0 {
		l.MaxConnections = int(max(64, min(memory/4/connectionMemory, files/2)))
	}
	if l.MaxHTTP2Connections == 0 {
		l.MaxHTTP2Connections = int(max(2, min(memory/8/http2Memory, int64(l.MaxConnections))))
	}
}

// headerMemory is what requests may take together beyond their connections' allowances.
func headerMemory(c *config.Config) int64 { return max(1<<20, servingMemory(c)/16) }

// servingMemory is what small uploads leave: half of all at least, as warnMemory says.
func servingMemory(c *config.Config) int64 {
	memory := availableMemory()
	return max(memory/2, memory-c.SmallObject.Budget)
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
	least := min(debug.SetMemoryLimit(-1), containerMemory())
	if kib, ok := procField("/proc/meminfo", "MemTotal:"); ok {
		least = min(least, kib<<10)
	}
	if least > 1<<50 {
		return 1 << 30
	}
	return least
}

// limitMemory makes the Go runtime stay below a container's limit, as GOMEMLIMIT
// does where an operator set it: without, it lets garbage grow to as much again as
// is in use, and the container is killed for it.
func limitMemory(log *slog.Logger) {
	if _, set := os.LookupEnv("GOMEMLIMIT"); set {
		return
	}
	if limit := containerMemory(); limit < math.MaxInt64 {
		limit -= limit / 10 // for what is not Go's: the program, the kernel's buffers
		debug.SetMemoryLimit(limit)
		log.Info("memory is limited to nine tenths of the container's", "limit", limit)
	}
}

// containerMemory is the limit of the container, math.MaxInt64 if it has none.
func containerMemory() int64 {
	least := int64(math.MaxInt64)
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, _ := os.ReadFile(file)
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n < 1<<50 { // v1 says it with a large number
			least = min(least, n)
		}
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
