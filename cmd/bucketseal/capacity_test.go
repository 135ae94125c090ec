package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/config"
)

func TestCapacityFollowsFromTheMachineUnlessItIsGiven(t *testing.T) {
	t.Parallel()
	var l config.Limits
	setCapacity(&l)
	if l.MaxRequests < 64 || l.MaxConnections < 256 {
		t.Errorf("%d requests, %d connections", l.MaxRequests, l.MaxConnections)
	}
	if need := int64(l.MaxRequests) * requestMemory; l.MaxRequests > 64 && need > availableMemory()/2 {
		t.Errorf("%d requests need more than half of %d bytes", l.MaxRequests, availableMemory())
	}
	given := config.Limits{MaxRequests: 7, MaxConnections: 9}
	setCapacity(&given)
	if given.MaxRequests != 7 || given.MaxConnections != 9 {
		t.Errorf("%d requests, %d connections", given.MaxRequests, given.MaxConnections)
	}
}

func TestABudgetBeyondTheMemoryIsAWarning(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	to := slog.New(slog.NewTextHandler(&log, nil))
	c := &config.Config{SmallObject: config.SmallObject{Budget: 1 << 10}}
	if warnMemory(c, to); log.Len() != 0 {
		t.Errorf("%s", log.String())
	}
	c.SmallObject.Budget = availableMemory()
	if warnMemory(c, to); !strings.Contains(log.String(), "level=WARN") {
		t.Errorf("%s", log.String())
	}
}

func TestProcFieldReadsTheNumberBehindAName(t *testing.T) {
	t.Parallel()
	file := write(t, t.TempDir()+"/f", "A: 1 kB\nMax open files            1024      4096   files\nC: unlimited\n")
	for name, want := range map[string]int64{"A:": 1, "Max open files": 1024, "C:": -1, "D:": -1} {
		n, ok := procField(file, name)
		if !ok {
			n = -1
		}
		if n != want {
			t.Errorf("%s: %d, want %d", name, n, want)
		}
	}
	if _, ok := procField(file+"-none", "A:"); ok {
		t.Error("a file that does not exist has a number")
	}
}
