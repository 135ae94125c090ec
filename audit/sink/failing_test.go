package sink_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// brittle is a durable sink that can fail.
type brittle struct {
	audit.Sink
	mu  sync.Mutex
	err error
}

func (b *brittle) set(err error) { b.mu.Lock(); b.err = err; b.mu.Unlock() }

func (b *brittle) Write(lines []byte, n int, s bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	return b.Sink.Write(lines, n, s)
}

// brittleFile is brittle for a sink that keeps the chain.
type brittleFile struct {
	audit.Keeper
	brittle
}

func (b *brittleFile) Name() string                            { return "file" }
func (b *brittleFile) Durable() bool                           { return true }
func (b *brittleFile) Close() error                            { return b.Keeper.Close() }
func (b *brittleFile) Write(lines []byte, n int, s bool) error { return b.brittle.Write(lines, n, s) }

func TestARequiredLogThatCannotBeWrittenRefuses(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.o.Path = k.path
	f, err := sink.OpenFile(k.o)
	if err != nil {
		t.Fatal(err)
	}
	b := &brittleFile{Keeper: f, brittle: brittle{Sink: f}}
	log, err := audit.New(audit.Options{Sinks: []audit.Sink{b}, Required: true, HeadEvery: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k.log = log
	log.SetKey(testKey)
	k.record(3)
	b.set(errors.New("no space left on device"))
	for range 3 {
		if err := log.Record(t.Context(), &audit.Event{Kind: audit.Request}); !errors.Is(err, audit.ErrUnavailable) {
			t.Errorf("the disk is full: %v", err)
		}
	}
	if log.Ready() == nil {
		t.Error("the disk is full, and the log is ready")
	}
	b.set(nil)
	for end := time.Now().Add(5 * time.Second); log.Ready() != nil && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	k.record(2)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); !strings.Contains(fmt.Sprint(r.Notes), "events have no line: no space left on device") {
		t.Errorf("%v", r.Notes)
	}
	if c := log.Counts(); c.Refused != 3 || c.Lost == 0 {
		t.Errorf("%+v", c)
	}
}

func TestALineThatASinkDidNotTakeIsSaidToBeMissing(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	f, err := sink.OpenFile(k.o)
	if err != nil {
		t.Fatal(err)
	}
	other, err := sink.OpenFile(sink.FileOptions{Path: k.path + "-other"})
	if err != nil {
		t.Fatal(err)
	}
	b := &brittleFile{Keeper: f, brittle: brittle{Sink: f}}
	log, err := audit.New(audit.Options{Sinks: []audit.Sink{b, &brittle{Sink: other}}, Required: true, HeadEvery: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	k.log = log
	log.SetKey(testKey)
	k.record(3)
	b.set(errors.New("no space left on device"))
	k.record(4) // the other one has them
	b.set(nil)
	k.record(2)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); !strings.Contains(fmt.Sprint(r.Notes), "file did not take the lines 7 to 10: no space left") {
		t.Errorf("%v", r.Notes)
	}
	if r, err := trail.Verify([]string{k.path + "-other"}, trail.Options{Open: openTestKey}); err != nil || len(r.Findings) > 0 {
		t.Errorf("%v %v", r, err)
	}
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	path := filepath.Join(t.TempDir(), "full")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.OpenFile(sink.FileOptions{Path: path}); err == nil || !strings.Contains(err.Error(), "no regular file") {
		t.Errorf("a device is taken for a file: %v", err)
	}
}

func TestTwoProcessesDoNotShareAFile(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.open(false)
	if _, err := sink.OpenFile(k.o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("the file is open already: %v", err)
	}
}

func TestALogThatIsNotRequiredBeginsWhenItCan(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	f, err := sink.OpenFile(k.o)
	if err != nil {
		t.Fatal(err)
	}
	b := &brittleFile{Keeper: f, brittle: brittle{Sink: f, err: errors.New("no space left on device")}}
	o := audit.Options{Sinks: []audit.Sink{b}, Required: true, HeadEvery: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	if _, err := audit.New(o); err == nil {
		t.Fatal("a required log that cannot be written was opened")
	}
	o.Required = false
	log, err := audit.New(o)
	if err != nil {
		t.Fatal(err)
	}
	k.log = log
	k.record(3)
	time.Sleep(20 * time.Millisecond)
	b.set(nil)
	log.SetKey(testKey)
	k.record(3)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); !strings.Contains(k.lines()[0], `"kind":"start"`) || !strings.Contains(fmt.Sprint(r.Notes), "3 events have no line") {
		t.Errorf("%v\n%s", r.Notes, k.lines()[0])
	}
}
