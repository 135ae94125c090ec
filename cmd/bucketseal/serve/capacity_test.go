package serve

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/config"
)

func TestCapacityFollowsFromTheMachineUnlessItIsGiven(t *testing.T) {
	t.Parallel()
	var c config.Config
	setCapacity(&c)
	l := c.Limits
	if l.MaxRequests < 16 || l.MaxConnections < 64 || l.MaxHTTP2Connections < 2 {
		t.Errorf("%d requests, %d connections, %d by HTTP/2", l.MaxRequests, l.MaxConnections, l.MaxHTTP2Connections)
	}
	need := int64(l.MaxRequests)*requestMemory + int64(l.MaxConnections)*connectionMemory + int64(l.MaxHTTP2Connections)*http2Memory + headerMemory(&c)
	if memory := availableMemory(); memory > 256<<20 && need > memory {
		t.Errorf("what clients can take, %d bytes, is more than %d", need, memory)
	}
	small := config.Config{SmallObject: config.SmallObject{Budget: availableMemory() / 4}}
	if setCapacity(&small); small.Limits.MaxConnections > l.MaxConnections || servingMemory(&small) != availableMemory()-small.SmallObject.Budget {
		t.Errorf("small uploads leave %d connections of %d", small.Limits.MaxConnections, l.MaxConnections)
	}
	given := config.Config{Limits: config.Limits{MaxRequests: 7, MaxConnections: 9, MaxHTTP2Connections: 3}}
	want := given.Limits
	if setCapacity(&given); given.Limits != want {
		t.Errorf("%+v", given.Limits)
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
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("A: 1 kB\nMax open files            1024      4096   files\nC: unlimited\n"), 0o600); err != nil {
		t.Fatal(err)
	}
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
