package sink_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
)

// What somebody can do who may write the files of a log, and may not use the KMS key.

// process writes what one process writes: n events, and a head after each half.
func (k *kit) process(n int) {
	k.t.Helper()
	k.open(false)
	k.record(n / 2)
	k.log.Flush()
	k.record(n - n/2)
	if err := k.log.Close(); err != nil {
		k.t.Fatal(err)
	}
}

// heads are those beside the log, as somebody else keeps them.
func (k *kit) heads() (heads [][]byte) {
	k.t.Helper()
	data, err := os.ReadFile(k.path + sink.HeadSuffix)
	if err != nil {
		k.t.Fatal(err)
	}
	for line := range bytes.Lines(data) {
		heads = append(heads, bytes.TrimSuffix(line, []byte("\n")))
	}
	return heads
}

// restore returns what puts the log and its head back to what they are now.
func (k *kit) restore() func() {
	k.t.Helper()
	files := make(map[string][]byte)
	for _, name := range []string{k.path, k.path + sink.HeadSuffix} {
		data, err := os.ReadFile(name)
		if err != nil {
			k.t.Fatal(err)
		}
		files[name] = data
	}
	return func() {
		for name, data := range files {
			if err := os.WriteFile(name, data, 0o600); err != nil {
				k.t.Fatal(err)
			}
		}
	}
}

// found says that the first finding is that one.
func found(t *testing.T, name string, r *trail.Report, what, text string) {
	t.Helper()
	if len(r.Findings) == 0 || r.Findings[0].What != what || !strings.Contains(r.Findings[0].Text, text) {
		t.Errorf("%s: %v, and no finding %q with %q; notes %v", name, r.Findings, what, text, r.Notes)
	}
}

func parseLine(t *testing.T, text string) *trail.Line {
	t.Helper()
	l, err := trail.Parse([]byte(strings.TrimSuffix(text, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAnOldCopyOfALogIsFoundByHeadsKeptElsewhere(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.process(6)
	old := k.restore()
	k.process(6)
	heads := k.heads()
	withHeads := trail.Options{Open: openTestKey, Heads: heads}
	if r := k.verify(withHeads); len(r.Findings) > 0 {
		t.Fatalf("before: %v", r.Findings)
	}
	head := parseLine(t, string(heads[1]))

	// The copy is whole in itself: only who kept a head elsewhere sees it.
	old()
	k.fine()
	found(t, "an old copy", k.verify(withHeads), trail.CutOff, fmt.Sprintf("signed lines up to %d", head.Seq))
	// A process goes on after it, up to the same number and beyond.
	k.process(12)
	k.fine()
	found(t, "an old copy that goes on", k.verify(withHeads), trail.Changed, fmt.Sprintf("line %d is another one than the head", head.Seq))

	// An old copy beside the log, as if it were a former file.
	data, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(k.path+".20200101T000000.000000Z", data, 0o600); err != nil {
		t.Fatal(err)
	}
	found(t, "a file twice", k.verify(trail.Options{Open: openTestKey}), trail.Inserted, "line 1 stands here")
}

func TestAFileThatIsGoneIsNamedUnlessItWasTheOldest(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{MaxSize: 2 << 10})
	k.open(false)
	for range 40 {
		k.record(1)
		k.log.Flush()
	}
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := trail.Files(k.path)
	if err != nil || len(names) < 4 {
		t.Fatalf("%v, %v", names, err)
	}
	k.fine()
	verify := func(o trail.Options, names ...string) *trail.Report {
		t.Helper()
		o.Open = openTestKey
		r, err := trail.Verify(names, o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := 1; i < len(names)-1; i++ {
		found(t, names[i], verify(trail.Options{}, slices.Delete(slices.Clone(names), i, i+1)...), trail.Removed, "are missing before line")
	}
	last := len(names) - 1
	found(t, "the last file", verify(trail.Options{Heads: k.heads()}, names[:last]...), trail.CutOff, "the log ends with line")
	// What retention does, and who pretends to be it: a note has the number.
	if r := verify(trail.Options{}, names[1:]...); len(r.Findings) > 0 || !strings.Contains(fmt.Sprint(r.Notes), "before it are in files that were not given") {
		t.Errorf("the oldest file: %v, %v", r.Findings, r.Notes)
	}
}

func TestLogsOfTwoProxiesCannotBeSpliced(t *testing.T) {
	t.Parallel()
	a, b := newKit(t, sink.FileOptions{}), newKit(t, sink.FileOptions{})
	a.process(10)
	b.process(10)
	mine, others := a.lines(), b.lines()
	chainA, chainB := parseLine(t, mine[0]).Chain, parseLine(t, others[0]).Chain
	both := func(heads ...[]byte) *trail.Report { return a.verify(trail.Options{Open: openTestKey, Heads: heads}) }

	a.write(slices.Concat(mine[:6], others[6:8], mine[8:]))
	found(t, "lines of another chain", both(), trail.Removed, "before line 7 are missing")

	// The same, with the name of the chain and the hashes made to fit.
	var renamed []string
	for _, line := range others[6:8] {
		renamed = append(renamed, strings.Replace(line, chainB, chainA, 1))
	}
	a.write(relink(t, slices.Concat(mine[:6], renamed, mine[8:]), 6))
	found(t, "lines under another name", both(), trail.Forged, "line 7 was written by somebody without the key")

	// A whole log in the place of another one is whole: a head, kept elsewhere, misses its own.
	heads := a.heads()
	a.write(others)
	if r := both(); len(r.Findings) > 0 {
		t.Errorf("another proxy's log: %v", r.Findings)
	}
	found(t, "another proxy's log", both(heads...), trail.CutOff, "of which there is no line")
	// One after the other is what it looks like: two logs.
	a.write(slices.Concat(mine, others))
	if r := both(heads...); len(r.Findings) > 0 || r.Chains != 2 {
		t.Errorf("two whole logs in one file: %d chains, %v", r.Chains, r.Findings)
	}
}

func TestAHeadOfAnotherKeyIsForged(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.process(8)
	whole := k.lines()
	stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	b64 := base64.StdEncoding.EncodeToString
	ours, theirs := b64(testKey.Public()), b64(stranger.Public().(ed25519.PublicKey))
	// forge makes the log anew, each head signed by the stranger, with a line that names ours or,
	// with signer, the stranger's key.
	forge := func(signer bool) (forged []string) {
		var before audit.Hash
		for _, line := range whole {
			l := parseLine(t, line)
			body := string(l.Body)
			if l.Kind == "head" {
				signature := ed25519.Sign(stranger, audit.HeadText(l.Chain, l.From, l.To, before))
				body = strings.NewReplacer(l.Of, before.String(), ours, theirs, b64(l.Signature), b64(signature)).Replace(body)
			} else if signer {
				body = strings.Replace(body, ours, theirs, 1)
			}
			before = audit.HashOf(before, []byte(body))
			mac := ""
			if l.MAC != nil {
				mac = fmt.Sprintf(`,"mac":"%x"`, l.MAC)
			}
			forged = append(forged, fmt.Sprintf("%s,\"hash\":\"%s\"%s}\n", body, before, mac))
		}
		return forged
	}
	withKey, withPublic := trail.Options{Open: openTestKey}, trail.Options{Trust: []ed25519.PublicKey{testKey.Public()}}
	k.write(forge(false))
	found(t, "with the key", k.verify(withKey), trail.Forged, "line 3 was written by somebody without the key")
	found(t, "with the public key", k.verify(withPublic), trail.Forged, "the signature of line 3")
	all := forge(true) // it fits together
	k.write(all)
	found(t, "another signer, with the key", k.verify(withKey), trail.Forged, "line 2 names a key that is none of this key service's")
	found(t, "another signer, with the public key", k.verify(withPublic), trail.Forged, "line 2 names a key that is not trusted")
	if r := k.verify(trail.Options{}); len(r.Findings) > 0 || r.Authentic {
		t.Errorf("without any key: authentic %t, %v", r.Authentic, r.Findings)
	}
	// A head that was kept elsewhere and is somebody's own says nothing.
	k.write(whole)
	own := [][]byte{[]byte(strings.TrimSuffix(all[1], "\n")), []byte(strings.TrimSuffix(all[len(all)-1], "\n"))}
	found(t, "a stranger's head", k.verify(trail.Options{Open: openTestKey, Heads: own}), trail.Forged, "none of this key service's")
}

func TestLinesThatWereWrittenBetweenAHeadAndAKillAreVouchedFor(t *testing.T) {
	t.Parallel()
	k := newKit(t, sink.FileOptions{})
	k.open(true)
	k.record(4)
	k.log.Flush()
	k.record(4)
	killed := k.restore() // durable lines, and the head before them
	if err := k.log.Close(); err != nil {
		t.Fatal(err)
	}
	killed()
	lines := k.lines()
	k.process(4)
	withPublic := trail.Options{Trust: []ed25519.PublicKey{testKey.Public()}}
	k.fine() // by the code of each line
	if r := k.verify(withPublic); len(r.Findings) > 0 || !strings.Contains(fmt.Sprint(r.Notes), "nothing vouches for the 4 lines before") {
		t.Errorf("with the public key: %v, %v", r.Findings, r.Notes)
	}
	// One of them is changed, before a process goes on and after.
	changed := slices.Clone(lines)
	changed[8] = strings.Replace(changed[8], "alice", "mally", 1)
	k.write(relink(t, changed, 8))
	found(t, "changed", k.verify(trail.Options{Open: openTestKey}), trail.Forged, "line 9")
	k.process(4)
	found(t, "changed before a start", k.verify(trail.Options{Open: openTestKey}), trail.Forged, "line 9")
	// Cut off as far as the head, before a start: no head misses them, and that is the limit.
	killed()
	head := slices.IndexFunc(lines, func(line string) bool { return parseLine(t, line).Seq == parseLine(t, string(k.heads()[1])).Seq })
	k.write(lines[:head+1])
	k.process(4)
	k.fine()
	// Further than that, and the next start says so.
	killed()
	k.write(lines[:head])
	k.process(4)
	found(t, "cut before the head", k.verify(trail.Options{Open: openTestKey}), trail.CutOff, fmt.Sprintf("the log ended before line %d", head+1))
}

func TestInventedLinesWithoutAKeyAreNoNote(t *testing.T) {
	t.Parallel()
	k, stranger := newKit(t, sink.FileOptions{}), newKit(t, sink.FileOptions{})
	k.process(6)
	whole := k.lines()
	last := parseLine(t, whole[len(whole)-1])
	// What a process writes before there is a key, made to follow the log's last line.
	body := func(seq uint64, rest string) string {
		return fmt.Sprintf(`{"seq":%d,"chain":"%s","time":"2026-01-01T00:00:00.000000Z",%s`, seq, last.Chain, rest)
	}
	hash, invented := last.Hash, []string(nil)
	for i, rest := range []string{
		fmt.Sprintf(`"kind":"start","prev":"%s","about":"test"`, last.Hash),
		`"kind":"request","access_key":"mally","outcome":"ok"`, `"kind":"stop"`,
	} {
		text := body(last.Seq+1+uint64(i), rest)
		hash = audit.HashOf(hash, []byte(text))
		invented = append(invented, fmt.Sprintf("%s,\"hash\":\"%s\"}\n", text, hash))
	}
	withKey, withPublic := trail.Options{Open: openTestKey}, trail.Options{Trust: []ed25519.PublicKey{testKey.Public()}}
	k.write(slices.Concat(whole, invented))
	for _, o := range []trail.Options{withKey, withPublic} {
		r := k.verify(o)
		found(t, "after the log", r, trail.Unsigned, fmt.Sprintf("nothing vouches for the 3 lines from line %d on", last.Seq+1))
	}
	k.process(2) // a process that goes on does not make them good
	for _, o := range []trail.Options{withKey, withPublic} {
		found(t, "in the middle", k.verify(o), trail.Unsigned, "nothing vouches for the 3 lines before line")
	}

	// A whole log that nobody has signed, beside a real one.
	k.write(whole)
	stranger.openUnsigned(false)
	stranger.record(3)
	if err := stranger.log.Close(); err != nil {
		t.Fatal(err)
	}
	for _, o := range []trail.Options{withKey, withPublic} {
		r, err := trail.Verify([]string{k.path, stranger.path}, o)
		if err != nil {
			t.Fatal(err)
		}
		found(t, "beside the log", r, trail.Unsigned, "from line 1 on")
	}
}
