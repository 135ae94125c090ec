package sink_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
)

var testKey = audit.NewKey(&[32]byte{1, 2, 3}, []byte("sealed"), "bucketseal-system", 1)

func openTestKey(sealed []byte, _ string) (*audit.Key, error) {
	if string(sealed) != "sealed" {
		return nil, trail.ErrWrongKey
	}
	return testKey, nil
}

// kit is a log in a folder of its own.
type kit struct {
	t    *testing.T
	path string
	o    sink.FileOptions
	log  *audit.Log
}

func newKit(t *testing.T, o sink.FileOptions) *kit {
	t.Helper()
	k := &kit{t: t, path: filepath.Join(t.TempDir(), "audit.log"), o: o}
	k.o.Path = k.path
	return k
}

// open opens the log; close, or drop, ends it.
func (k *kit) open(required bool, more ...audit.Sink) {
	k.t.Helper()
	k.openUnsigned(required, more...)
	k.log.SetKey(testKey)
}

// openUnsigned opens the log as it is before there is a key.
func (k *kit) openUnsigned(required bool, more ...audit.Sink) {
	k.t.Helper()
	f, err := sink.OpenFile(k.o)
	if err != nil {
		k.t.Fatal(err)
	}
	k.log, err = audit.New(audit.Options{
		Sinks: append([]audit.Sink{f}, more...), Required: required, HeadEvery: time.Hour, Logger: slog.New(slog.DiscardHandler), About: "test",
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = k.log.Close() })
}

func (k *kit) record(n int) {
	k.t.Helper()
	for i := range n {
		e := &audit.Event{Kind: audit.Request, RequestID: fmt.Sprintf("R%d", i), AccessKey: "alice", Bucket: "b", Object: fmt.Sprintf("o%d", i), Outcome: audit.OK, Status: 200, Took: time.Millisecond}
		if err := k.log.Record(k.t.Context(), e); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *kit) lines() []string {
	k.t.Helper()
	data, err := os.ReadFile(k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	return slices.Collect(strings.Lines(string(data)))
}

func (k *kit) write(lines []string) {
	k.t.Helper()
	if err := os.WriteFile(k.path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) verify(o trail.Options) *trail.Report {
	k.t.Helper()
	names, err := trail.Files(k.path)
	if err != nil {
		k.t.Fatal(err)
	}
	r, err := trail.Verify(names, o)
	if err != nil {
		k.t.Fatal(err)
	}
	return r
}

// fine says that nothing is wrong.
func (k *kit) fine() *trail.Report {
	k.t.Helper()
	r := k.verify(trail.Options{Open: openTestKey})
	if len(r.Findings) > 0 || !r.Authentic || r.Signed == 0 {
		k.t.Fatalf("%d signed of %d, authentic %t, %v", r.Signed, r.Lines, r.Authentic, r.Findings)
	}
	return r
}

func TestALogIsAsItWasWritten(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.open(true)
	k.record(20)
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); r.Lines < 23 || len(r.Notes) > 0 || r.Chains != 1 {
		t.Errorf("%d lines, notes %v", r.Lines, r.Notes)
	}
	if r := k.verify(trail.Options{Trust: append(trail.Options{}.Trust, testKey.Public())}); len(r.Findings) > 0 || !r.Authentic {
		t.Errorf("with the public key: %v", r.Findings)
	}
	other := audit.NewKey(&[32]byte{9}, nil, "", 0)
	if r := k.verify(trail.Options{Trust: append(trail.Options{}.Trust, other.Public())}); len(r.Findings) == 0 || r.Authentic {
		t.Error("a key that is not trusted is taken")
	}
	if r := k.verify(trail.Options{}); len(r.Findings) > 0 || r.Authentic {
		t.Errorf("without a key: %v, authentic %t", r.Findings, r.Authentic)
	}
}

// relink makes the hashes of lines anew from the line at on, as a forger without the key can.
func relink(t *testing.T, lines []string, at int) []string {
	t.Helper()
	lines = append([]string(nil), lines...)
	for i := at; i < len(lines); i++ {
		l, err := trail.Parse([]byte(strings.TrimSuffix(lines[i], "\n")))
		if err != nil {
			t.Fatal(err)
		}
		before, err := trail.Parse([]byte(strings.TrimSuffix(lines[i-1], "\n")))
		if err != nil {
			t.Fatal(err)
		}
		hash := audit.HashOf(before.Hash, l.Body)
		lines[i] = fmt.Sprintf("%s,\"hash\":\"%s\",\"mac\":\"%x\"}\n", l.Body, hash, l.MAC)
	}
	return lines
}

func TestVerifyNamesTheFirstLineThatIsWrong(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.open(false)
	k.record(10)
	k.log.Flush()
	k.record(10)
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	whole := k.lines()
	cut := func(lines []string, i, j int) []string {
		return append(append([]string(nil), lines[:i]...), lines[j:]...)
	}
	changed := append([]string(nil), whole...)
	changed[8] = strings.Replace(changed[8], "alice", "mally", 1)
	swapped := append([]string(nil), whole...)
	swapped[7], swapped[8] = swapped[8], swapped[7]
	head, err := os.ReadFile(k.path + sink.HeadSuffix)
	if err != nil {
		t.Fatal(err)
	}
	var heads [][]byte
	for text := range strings.Lines(string(head)) {
		heads = append(heads, []byte(strings.TrimSuffix(text, "\n")))
	}
	for _, tt := range []struct {
		name   string
		lines  []string
		what   string
		number int
		text   string
	}{
		{"changed", changed, trail.Changed, 9, "line 9"},
		{"changed, hashes made anew", relink(t, changed, 8), trail.Forged, 9, "line 9"},
		{"removed", cut(whole, 8, 9), trail.Removed, 9, "line 9 is missing before line 10"},
		{"many removed", cut(whole, 8, 12), trail.Removed, 9, "the lines 9 to 12 are missing"},
		{"repeated", append(append(append([]string(nil), whole[:9]...), whole[5]), whole[9:]...), trail.Inserted, 10, "line 6"},
		{"invented", append(append(append([]string(nil), whole[:9]...), strings.Replace(whole[9], "alice", "mally", 1)), whole[9:]...), trail.Inserted, 10, "says it is 10"},
		{"reordered", swapped, trail.Reordered, 8, "line 9 stands where line 8 should"},
		{"no line", append(append(append([]string(nil), whole[:9]...), "hello\n"), whole[10:]...), trail.Changed, 10, "no line of an audit log"},
		{"the beginning is gone", whole[4:], trail.Removed, 1, "before line 5 are missing"},
		{"the end is cut off", whole[:15], trail.CutOff, 0, "ends with line 15"},
	} {
		k.write(tt.lines)
		r := k.verify(trail.Options{Open: openTestKey, Heads: heads})
		if len(r.Findings) == 0 || r.Findings[0].What != tt.what || r.Findings[0].Number != tt.number || !strings.Contains(r.Findings[0].Text, tt.text) {
			t.Errorf("%s: %v", tt.name, r.Findings)
		}
		if !strings.Contains(tt.name, "anew") && len(r.Findings) > 1 {
			t.Errorf("%s: more than one finding: %v", tt.name, r.Findings)
		}
	}
	// Who has only the public key learns between which heads it is.
	k.write(relink(t, changed, 8))
	r := k.verify(trail.Options{Trust: append(trail.Options{}.Trust, testKey.Public())})
	if len(r.Findings) == 0 || !strings.Contains(r.Findings[0].Text, "hashes were made anew") || r.Findings[0].Number != 14 {
		t.Errorf("with the public key: %v", r.Findings)
	}
}

func TestTheChainGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.open(true)
	k.record(5)
	k.log.Flush()
	k.record(3)
	// What a process that is killed leaves: no stop, and a torn line.
	data, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(k.path + sink.HeadSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	_ = os.WriteFile(k.path, append(data, `{"seq":12,"chain":"x","ki`...), 0o600)
	_ = os.WriteFile(k.path+sink.HeadSuffix, head, 0o600)
	if r := k.fine(); len(r.Notes) == 0 || !strings.Contains(fmt.Sprint(r.Notes), "has no end (25 bytes)") {
		t.Errorf("the torn line: %v", r.Notes)
	}
	k.open(true)
	k.record(2)
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); r.Chains != 1 || !strings.Contains(fmt.Sprint(r.Notes), "25 bytes of a line without an end were cut off") {
		t.Errorf("%d chains, %v", r.Chains, r.Notes)
	}

	// Lines that are cut off while nobody writes are missed at the next start.
	k.write(k.lines()[:8])
	k.open(true)
	k.record(1)
	_ = k.log.Close()
	if r := k.verify(trail.Options{Open: openTestKey}); len(r.Findings) == 0 || r.Findings[0].What != trail.CutOff {
		t.Errorf("cut off before a start: %v", r.Findings)
	}
}

func TestFilesFollowOneAnother(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{MaxSize: 8 << 10, Keep: 4})
	k.open(false)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() { // rotation while others write
			for range 100 {
				_ = k.log.Record(context.Background(), &audit.Event{Kind: audit.Request, Object: "o", Took: -1})
				time.Sleep(time.Millisecond)
			}
		})
	}
	wait.Wait()
	k.log.Flush()
	names, _ := trail.Files(k.path)
	if len(names) != 5 {
		t.Errorf("%d files, not 5: %v", len(names), names)
	}
	k.fine()
	// As logrotate does it.
	if err := os.Rename(k.path, k.path+".20991231T000000.000000Z"); err != nil {
		t.Fatal(err)
	}
	k.record(1)
	k.log.Reopen()
	k.record(3)
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	if r := k.fine(); r.Chains != 1 {
		t.Errorf("%d chains", r.Chains)
	}
	if !strings.Contains(k.lines()[0], `"kind":"file"`) {
		t.Errorf("the new file begins with %s", k.lines()[0])
	}
	// A process that ended between the two steps of a rotation.
	if err := os.Rename(k.path, k.path+".20991231T000001.000000Z"); err != nil {
		t.Fatal(err)
	}
	k.open(false)
	k.record(1)
	_ = k.log.Close()
	if r := k.fine(); r.Chains != 1 {
		t.Errorf("%d chains", r.Chains)
	}
	// A former file is taken away.
	names, _ = trail.Files(k.path)
	if err := os.Remove(names[len(names)-2]); err != nil {
		t.Fatal(err)
	}
	if r := k.verify(trail.Options{Open: openTestKey}); len(r.Findings) != 1 || r.Findings[0].What != trail.Removed {
		t.Errorf("a file is gone: %v", r.Findings)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{MaxSize: 4 << 10})
	k.open(false)
	k.record(30)
	k.log.Note(&audit.Event{Kind: audit.KeyUse, AccessKey: "temp", Via: []audit.Voucher{{AccessKey: "bob", Kind: "configured"}}, KMSKey: "patients", Took: -1})
	_ = k.log.Close()
	names, _ := trail.Files(k.path)
	for _, tt := range []struct {
		q    trail.Query
		want int
	}{
		{trail.Query{Object: "o7"}, 1},
		{trail.Query{Object: "o1*", Bucket: "b"}, 11},
		{trail.Query{AccessKey: "alice"}, 30},
		{trail.Query{AccessKey: "bob"}, 1},
		{trail.Query{KMSKey: "patients"}, 1},
		{trail.Query{AccessKey: "alice", Limit: 4}, 4},
		{trail.Query{AccessKey: "alice", Since: time.Now().Add(time.Hour)}, 0},
		{trail.Query{Request: "R3", Until: time.Now().Add(time.Hour)}, 1},
	} {
		lines, more, err := trail.Search(t.Context(), names, tt.q)
		if err != nil || len(lines) != tt.want || more != (tt.q.Limit == 4) {
			t.Errorf("%+v: %d lines, more %t, %v", tt.q, len(lines), more, err)
		}
		if tt.q.Limit == 4 && len(lines) == 4 && lines[3].Object != "o29" {
			t.Errorf("the last lines end with %s", lines[3].Object)
		}
	}
}
