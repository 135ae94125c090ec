//go:build unix

package serve

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
)

// noSocket is a listener that has no file descriptor.
type noSocket struct{ net.Listener }

// What cannot be handed over is found before the audit log is left, and a process that another one
// has taken over from does not even look.
func TestAHandOverThatCannotBeginLeavesTheAuditLogWhereItIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	file, err := sink.OpenFile(sink.FileOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	log, err := audit.New(audit.Options{Sinks: []audit.Sink{file}, Required: true, HeadEvery: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	var said bytes.Buffer
	looked := 0
	h := &handOver{
		app: &cli.App{}, audit: &build.Audit{Log: log}, log: slog.New(slog.NewTextHandler(&said, nil)),
		sockets: func() []handed { looked++; return []handed{{"s3", noSocket{}}} },
	}
	h.try(t.Context())
	if names, err := filepath.Glob(path + ".2*"); err != nil || len(names) > 0 || looked != 1 {
		t.Errorf("%v, %v, the sockets were asked for %d times", names, err, looked)
	}
	if _, err := os.Stat(path); err != nil || !strings.Contains(said.String(), "this one goes on serving") {
		t.Errorf("%v\n%s", err, &said)
	}
	h.over = true
	h.try(t.Context())
	if looked != 1 || !strings.Contains(said.String(), "another process serves already") {
		t.Errorf("the sockets were asked for %d times\n%s", looked, &said)
	}
}
