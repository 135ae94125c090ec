package sink_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// successor returns the kit of another process that writes to the same file.
func (k *kit) successor() *kit { return &kit{t: k.t, path: k.path, o: k.o} }

// handOver has the process of k leave the log to another one, both of which write then.
func (k *kit) handOver() *kit {
	k.t.Helper()
	if err := k.log.Yield(); err != nil {
		k.t.Fatal(err)
	}
	next := k.successor()
	next.open(true)
	k.record(2)
	next.record(2)
	k.record(2)
	if err := k.log.Close(); err != nil {
		k.t.Fatal(err)
	}
	time.Sleep(time.Millisecond) // files are named by the microsecond, and chains begin at one
	return next
}

func TestAFileIsHandedOverWhileBothProcessesWrite(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{MaxSize: 4 << 10})
	k.open(true)
	k.record(3)
	second := k.handOver()
	third := second.handOver()
	third.record(30) // files that this one begins for their size follow
	if err := third.log.Close(); err != nil {
		t.Fatal(err)
	}
	r := k.fine()
	if r.Chains != 3 {
		t.Errorf("%d chains", r.Chains)
	}
	if r := k.verify(trail.Options{Trust: []ed25519.PublicKey{testKey.Public()}}); len(r.Findings) > 0 || !r.Authentic {
		t.Errorf("with the public key: %v", r.Findings)
	}
	names, err := trail.Files(k.path)
	if err != nil || len(names) < 4 {
		t.Fatalf("%v, %v", names, err)
	}
	verify := func(names ...string) *trail.Report {
		t.Helper()
		r, err := trail.Verify(names, trail.Options{Open: openTestKey})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The whole chain of the second process is taken away, or the end of the first one's.
	found(t, "a chain is gone", verify(slices.Delete(slices.Clone(names), 1, 2)...), trail.Removed, "is missing: this one began after it")
	if r := verify(names[1:]...); len(r.Findings) > 0 || !strings.Contains(fmt.Sprint(r.Notes), "came before: it is in files that were not given") {
		t.Errorf("the first chain: %v, %v", r.Findings, r.Notes)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if err := os.WriteFile(names[0], bytes.Join(lines[:3], nil), 0o600); err != nil {
		t.Fatal(err)
	}
	found(t, "the end of a chain", verify(names...), trail.CutOff, "ends with line 3, and had line")
	// What a process leaves that is killed while another one serves already.
	if err := os.WriteFile(names[0], append(data, `{"seq":99`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := verify(names...); len(r.Findings) > 0 || !strings.Contains(fmt.Sprint(r.Notes), "has no end (9 bytes)") {
		t.Errorf("a torn line in a former file: %v, %v", r.Findings, r.Notes)
	}
}

func TestAProcessGoesOnIfTheOtherDoesNotCome(t *testing.T) {
	t.Parallel()
	for _, wrote := range []bool{false, true} {
		k := newKit(t, sink.FileOptions{})
		k.open(true)
		k.record(3)
		if err := k.log.Yield(); err != nil {
			t.Fatal(err)
		}
		k.record(1)
		if wrote { // it came so far, and was ended
			next := k.successor()
			next.open(true)
			next.record(1)
			if err := next.log.Close(); err != nil {
				t.Fatal(err)
			}
		}
		k.log.Resume()
		k.record(2)
		if got := strings.Join(k.lines(), ""); !strings.Contains(got, `"request":"R1"`) {
			t.Errorf("the lines are not at the path:\n%s", got)
		}
		time.Sleep(time.Millisecond)
		if next := k.handOver(); next.log.Close() != nil { // again, and it comes
			t.Error("the next one")
		}
		k.fine()
	}
}

// A process that is asked to hand over once more has no log any more that it could leave.
func TestAFileIsLeftToAnotherProcessOnce(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.open(true)
	k.record(3)
	if err := k.log.Yield(); err != nil {
		t.Fatal(err)
	}
	next := k.successor()
	next.open(true)
	next.record(2)
	there, err := os.Stat(k.path)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Millisecond) // files are named by the microsecond
	if err := k.log.Yield(); err == nil {
		t.Error("another process's file was left")
	}
	k.record(1)
	next.record(2)
	if now, err := os.Stat(k.path); err != nil || !os.SameFile(there, now) {
		t.Errorf("the next process's file was moved: %v", err)
	}
	if err := errors.Join(k.log.Close(), next.log.Close()); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); r.Chains != 2 {
		t.Errorf("%d chains", r.Chains)
	}
}

func TestFormerFilesGoWithTheirHeads(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{MaxSize: 2 << 10, Keep: 2})
	k.open(true)
	k.record(2)
	next := k.handOver()
	for range 30 {
		next.record(1)
	}
	if err := next.log.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(k.path[:strings.LastIndexByte(k.path, '/')])
	if err != nil || len(entries) != 4 { // two former files, the file and its head
		t.Errorf("%v, %v", entries, err)
	}
	k.fine()
}
