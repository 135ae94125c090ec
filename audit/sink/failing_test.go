package sink_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// openBrittle opens a required log whose file can fail, unsigned.
func (k *kit) openBrittle(headEvery time.Duration, more ...audit.Sink) (*brittleFile, *audit.Log) {
	k.t.Helper()
	f, err := sink.OpenFile(k.o)
	if err != nil {
		k.t.Fatal(err)
	}
	b := &brittleFile{Keeper: f, brittle: brittle{Sink: f}}
	k.log, err = audit.New(audit.Options{
		Sinks: append([]audit.Sink{b}, more...), Required: true, HeadEvery: headEvery, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = k.log.Close() })
	return b, k.log
}

func TestARequiredLogThatCannotBeWrittenRefuses(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	b, log := k.openBrittle(10 * time.Millisecond)
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

// A key that comes while the disk is full is named in the end, however soon the process ends then.
func TestAKeyThatComesWhileALogCannotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	b, log := k.openBrittle(time.Second)
	k.record(3)
	b.set(errors.New("no space left on device"))
	var named sync.WaitGroup
	named.Go(func() { log.SetKey(testKey) })
	for end := time.Now().Add(20 * time.Second); log.Ready() == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	b.set(nil)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	k.fine()
	named.Wait()
}

func TestALineThatASinkDidNotTakeIsSaidToBeMissing(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	other, err := sink.OpenFile(sink.FileOptions{Path: k.path + "-other"})
	if err != nil {
		t.Fatal(err)
	}
	b, log := k.openBrittle(time.Hour, &brittle{Sink: other})
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

// syncs counts what is made durable.
type syncs struct {
	audit.Keeper
	written, synced atomic.Int64
}

func (s *syncs) Write(lines []byte, count int, sync bool) error {
	s.written.Add(int64(count))
	if sync {
		s.synced.Add(1)
	}
	return s.Keeper.Write(lines, count, sync)
}

// newCountedLog is a required log of a file, of which the syncs are counted.
func newCountedLog(t *testing.T) (*audit.Log, *syncs) {
	t.Helper()
	f, err := sink.OpenFile(sink.FileOptions{Path: filepath.Join(t.TempDir(), "audit.log")})
	if err != nil {
		t.Fatal(err)
	}
	s := &syncs{Keeper: f}
	log, err := audit.New(audit.Options{Sinks: []audit.Sink{s}, Required: true, HeadEvery: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	return log, s
}

func TestOnlyLinesThatSomebodyWaitsForAreMadeDurableAtOnce(t *testing.T) {
	t.Parallel()
	log, s := newCountedLog(t)
	synced, written := s.synced.Load(), s.written.Load()
	note := func() { log.Note(&audit.Event{Kind: audit.KeyUse, KMSKey: "k", Took: -1}) }
	const requests = 20
	for range requests { // as a read that uses a key
		note()
		time.Sleep(2 * time.Millisecond) // MinIO answers meanwhile
		if err := log.Record(t.Context(), &audit.Event{Kind: audit.Request, Took: -1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.synced.Load() - synced; got != requests {
		t.Errorf("%d requests one after the other: %d syncs", requests, got)
	}
	if got := s.written.Load() - written; got != 2*requests {
		t.Errorf("%d lines for %d requests", got, requests)
	}
	note() // alone it is written soon, and waits for no head
	for end := time.Now().Add(10 * time.Second); s.written.Load()-written < 2*requests+1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a line that nobody waits for is not written")
		}
	}
	if got := s.synced.Load() - synced; got != requests {
		t.Errorf("%d syncs after a line that nobody waits for", got)
	}
}

// Reads that are under way share a sync: the one who waits has all their lines made durable.
func TestReadsShareASync(t *testing.T) {
	t.Parallel()
	log, s := newCountedLog(t)
	synced, written := s.synced.Load(), s.written.Load()
	begin := func() func() error { return log.Start(&audit.Event{Kind: audit.Begin, Took: -1}) }
	until := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}

	log.Enter() // alone its line is made durable at once, also if nobody waits yet
	alone := begin()
	until("the line of a client that is alone is not made durable", func() bool { return s.synced.Load() == synced+1 })
	if err := alone(); err != nil {
		t.Error(err)
	}

	const many = 20
	for range many - 1 {
		log.Enter()
	}
	var waits []func() error
	for range many / 2 {
		waits = append(waits, begin())
	}
	for _, durable := range waits {
		if err := durable(); err != nil || s.written.Load() < written+1+many/2 {
			t.Errorf("%v, %d lines are written", err, s.written.Load()-written)
		}
	}
	if got := s.synced.Load() - synced; got > 4 { // of 10, and few where lines are late
		t.Errorf("%d syncs for %d requests at once", got-1, many/2)
	}
	synced = s.synced.Load()
	for range many { // most have a line: it is not waited until somebody waits
		begin()
	}
	until("lines of most requests are not made durable", func() bool { return s.synced.Load() > synced })
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if begin()() == nil {
		t.Error("a log that is closed makes a line durable")
	}
}

func TestALineThatIsNotDurableIsSaidToWhoWaits(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	b, log := k.openBrittle(time.Hour)
	b.set(errors.New("no space left on device"))
	for range 2 { // the second one knows already
		durable := log.Start(&audit.Event{Kind: audit.Begin})
		for range 2 {
			if err := durable(); !errors.Is(err, audit.ErrUnavailable) {
				t.Errorf("the disk is full: %v", err)
			}
		}
	}
	b.set(nil)
}
