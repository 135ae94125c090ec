package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// shelf is a system bucket in memory with compare-and-swap.
type shelf struct {
	mu   sync.Mutex
	data map[string][]byte
	tag  map[string]int
	puts int
	// before is called before each Put, without the lock.
	before func(name string)
}

func newShelf() *shelf { return &shelf{data: make(map[string][]byte), tag: make(map[string]int)} }

func (s *shelf) Get(_ context.Context, kind, name, _ string) ([]byte, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, there := s.data[kind+" "+name]
	if !there {
		return nil, "", system.ErrNotFound
	}
	return data, fmt.Sprint(s.tag[kind+" "+name]), nil
}

func (s *shelf) Put(_ context.Context, kind, name string, data []byte, etag string) (string, error) {
	if s.before != nil {
		s.before(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := kind + " " + name
	now := ""
	if _, there := s.data[id]; there {
		now = fmt.Sprint(s.tag[id])
	}
	if now != etag {
		return "", system.ErrConflict
	}
	s.puts++
	s.tag[id]++
	s.data[id] = data
	return fmt.Sprint(s.tag[id]), nil
}

// site is an installation with one bucket, whose objects are counts.
type site struct {
	t      *testing.T
	shelf  *shelf
	keys   *kms.Local
	mu     sync.Mutex
	counts map[maintenance.UsageKey]maintenance.Count
	scans  atomic.Int64
	// during is called in each scan.
	during func(ctx context.Context) error
}

func newSite(t *testing.T) *site {
	t.Helper()
	keys, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Close)
	if err := keys.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	return &site{t: t, shelf: newShelf(), keys: keys, counts: make(map[maintenance.UsageKey]maintenance.Count)}
}

// proxy is a process of the site.
func (s *site) proxy(interval time.Duration) *Scanner {
	s.t.Helper()
	uses := NewUses(s.keys, "system")
	uses.ShareIn(s.shelf)
	scanner, err := NewScanner(Options{
		Objects: s.shelf, Ready: func(context.Context) error { return nil }, Keys: s.keys, Uses: uses, Interval: interval,
		Clock: func(context.Context) (time.Time, error) { return time.Now(), nil }, Logger: slog.New(slog.DiscardHandler),
		Count: func(ctx context.Context, _ *maintenance.UsageOf) (*maintenance.Usage, error) {
			s.scans.Add(1)
			u := &maintenance.Usage{Began: time.Now(), Buckets: []string{"b"}}
			if s.during != nil {
				if err := s.during(ctx); err != nil {
					return nil, err
				}
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			u.Counts, u.Ended = maps.Clone(s.counts), time.Now()
			return u, nil
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	scanner.settle, scanner.claimFor, scanner.claimPoll = time.Millisecond, 300*time.Millisecond, 10*time.Millisecond
	return scanner
}

func (s *site) set(version uint32, objects int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts = map[maintenance.UsageKey]maintenance.Count{}
	if objects > 0 {
		s.counts[maintenance.UsageKey{Bucket: "b", Mode: sse.ModeKMS, KMSKey: "k", Version: version}] = maintenance.Count{Objects: objects, Bytes: 10 * objects}
	}
}

func (s *site) rotate() {
	s.t.Helper()
	if _, err := s.keys.RotateKey(s.t.Context(), "k", 0); err != nil {
		s.t.Fatal(err)
	}
}

// scan scans, and judges version 1 of the key.
func (s *site) judge(p *Scanner) *Verdict {
	s.t.Helper()
	scan, err := p.Last(s.t.Context())
	if err != nil && !errors.Is(err, ErrNoScan) {
		s.t.Fatal(err)
	}
	shared, err := p.o.Uses.Shared(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return OfVersion(scan, shared, "k", 1, time.Now())
}

func (s *site) scanned(p *Scanner) *Scan {
	s.t.Helper()
	scan, err := p.Scan(s.t.Context(), &ScanOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return scan
}

func TestAVersionIsFreeWhenAScanThatCoversItCountsNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, other := s.proxy(0), s.proxy(0)
	want := func(what string, free bool, missing string) {
		t.Helper()
		if v := s.judge(other); v.Free() != free || !strings.Contains(v.Missing, missing) || (missing == "") != (v.Missing == "") {
			t.Errorf("%s: free %v, lost %d, missing %q", what, v.Free(), v.Lost(), v.Missing)
		}
	}
	want("nobody scanned", false, "no scan")
	s.scanned(p)
	want("the newest version", false, "not yet known to be replaced")
	s.rotate()
	want("rotated after the scan", false, "not yet known to be replaced")
	s.set(1, 3)
	s.scanned(p)
	want("in use", false, "")
	if v := s.judge(other); v.Lost() != 3 || !strings.Contains(v.String(), "b SSE-KMS: 3") {
		t.Errorf("%d: %s", v.Lost(), v)
	}
	s.set(2, 3)
	want("before the next scan", false, "")
	s.scanned(p)
	want("left", true, "")
	// A write that began before the rotation ends.
	if err := p.o.Uses.Late(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	want("a late write", false, "a write under version 1 ended")
	s.scanned(p)
	want("a scan right behind it", false, "a write under version 1 ended")
	scan, _ := p.Last(t.Context())
	shared, _ := p.o.Uses.Shared(t.Context())
	scan.Began = scan.Began.Add(2 * lateFor)
	if v := OfVersion(scan, shared, "k", 1, scan.Began); !v.Free() {
		t.Errorf("a scan long after it: %q", v.Missing)
	}
	if v := OfVersion(scan, shared, "k", 1, scan.Began.Add(maxAge+time.Hour)); v.Free() || v.Lost() != 0 {
		t.Errorf("long after the scan: %+v", v)
	}
	scan.UnknownCount = 1
	if v := OfVersion(scan, shared, "k", 1, scan.Began); v.Free() || !strings.Contains(v.Missing, "cannot be read") {
		t.Errorf("an unknown object: %q", v.Missing)
	}
	scan.UnknownCount, scan.System = 0, []SystemCount{{"k", 1, 2}}
	if v := OfVersion(scan, shared, "k", 1, scan.Began); v.Free() || v.Lost() != 2 {
		t.Errorf("the proxies' own objects: %+v", v)
	}
}

func TestAWholeKeyIsFreeWhenNobodyUsedItSinceTheScan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.proxy(0)
	scan := s.scanned(p)
	shared := &Shared{}
	soon, later := scan.Began.Add(time.Second), scan.Began.Add(2*flushLag)
	if v := OfKey(scan, shared, "k", Use{}, soon); v.Free() {
		t.Error("proxies may have used it and not said so yet")
	}
	if v := OfKey(scan, shared, "k", Use{}, later); !v.Free() {
		t.Errorf("nobody uses it: %q", v.Missing)
	}
	if v := OfKey(scan, shared, "k", Use{Decrypt: scan.Began.Truncate(time.Minute)}, later); v.Free() {
		t.Error("the key service has used it")
	}
	if _, err := p.o.Uses.GenerateDEK(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.o.Uses.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	shared, err := s.proxy(0).o.Uses.Shared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v := OfKey(scan, shared, "k", Use{}, later); v.Free() || !strings.Contains(v.Missing, "was used at") {
		t.Errorf("a proxy has used it: %q", v.Missing)
	}
}

// What is written under a key that may be deleted is known although the process is killed before
// it shares its uses, for as long as it may have written after it last did. A key that settings
// name is not deleted, and costs nothing.
func TestAUseIsStoredBeforeWhatIsWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, key := range []string{"named", "system"} {
		if err := s.keys.CreateKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	u := NewUses(s.keys, "system", "named")
	u.ShareIn(s.shelf)
	now := time.Now()
	u.now = func() time.Time { return now }
	write := func(key string, puts int) {
		t.Helper()
		before := s.shelf.puts
		if _, err := u.GenerateDEK(t.Context(), key, nil); err != nil || s.shelf.puts-before != puts {
			t.Errorf("a write under %s: %d documents, want %d, %v", key, s.shelf.puts-before, puts, err)
		}
	}
	write("named", 0)
	write("system", 0)
	write("k", 1)
	write("k", 0)
	now = now.Add(unstoredFor - time.Minute)
	write("k", 0) // and the process is killed
	shared, err := s.proxy(0).o.Uses.Shared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scan := &Scan{Began: now.Add(-time.Second)}
	if v := OfKey(scan, shared, "k", Use{}, now.Add(time.Hour)); v.Free() {
		t.Error("the key is free, although something was written under it after the scan began")
	}
	now = now.Add(time.Minute)
	write("k", 1)
	u.ShareIn(down{})
	now = now.Add(unstoredFor)
	if dek, err := u.GenerateDEK(t.Context(), "k", nil); !errors.Is(err, errDown) || dek.Plaintext != ([kms.DEKSize]byte{}) {
		t.Errorf("a write of which nobody would know: %v", err)
	}
}

// A write that took longer than what is stored holds for is known before it is acknowledged, though
// the process is killed then.
func TestALongWriteIsStoredBeforeItIsAcknowledged(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	u := NewUses(s.keys, "system")
	u.ShareIn(s.shelf)
	now := time.Now()
	u.now = func() time.Time { return now }
	dek, err := u.GenerateDEK(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(9 * time.Minute)
	scan := &Scan{Began: now.Add(-time.Second)} // which the object came too late for
	before := s.shelf.puts
	if _, err := u.DecryptDEK(t.Context(), "k", dek.Ciphertext, nil); err != nil || s.shelf.puts != before {
		t.Errorf("a read: %d documents, %v", s.shelf.puts-before, err)
	}
	if _, err := u.DecryptDEK(kms.Uncached(t.Context()), "k", dek.Ciphertext, nil); err != nil || s.shelf.puts != before+1 {
		t.Errorf("the end of a write: %d documents, %v", s.shelf.puts-before, err)
	}
	shared, err := s.proxy(0).o.Uses.Shared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if v := OfKey(scan, shared, "k", Use{}, now.Add(time.Hour)); v.Free() {
		t.Error("the key is free, although something was written under it after the scan began")
	}
	u.ShareIn(down{})
	now = now.Add(unstoredFor)
	if opened, err := u.DecryptDEK(kms.Uncached(t.Context()), "k", dek.Ciphertext, nil); !errors.Is(err, errDown) || opened != ([kms.DEKSize]byte{}) {
		t.Errorf("a write of which nobody would know: %v", err)
	}
	if _, err := u.DecryptDEK(t.Context(), "k", dek.Ciphertext, nil); err != nil {
		t.Errorf("a read where nothing can be written: %v", err)
	}
}

// A key that settings do not name any more may be deleted: what is written under it from then on is
// stored first.
func TestNamedKeysChange(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	u := NewUses(s.keys, "system", "k")
	u.ShareIn(s.shelf)
	for i, named := range []string{"k", "other", "k"} {
		u.Name(named)
		if _, err := u.GenerateDEK(t.Context(), "k", nil); err != nil || s.shelf.puts != min(i, 1) {
			t.Errorf("%d: %d documents, %v", i, s.shelf.puts, err)
		}
	}
}

func TestUsesAreSharedAndKept(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.proxy(0).o.Uses, s.proxy(0).o.Uses
	dek, err := one.GenerateDEK(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	two.now = func() time.Time { return time.Now().Add(5 * time.Minute) }
	if _, err := two.DecryptDEK(t.Context(), "k", dek.Ciphertext, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := two.DecryptDEK(t.Context(), "k", []byte("none"), nil); err == nil {
		t.Fatal("nothing was opened")
	}
	for _, u := range []*Uses{one, two, two} {
		if err := u.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if s.shelf.puts != 2 {
		t.Errorf("%d documents were written, want one of each process", s.shelf.puts)
	}
	shared, err := s.proxy(0).o.Uses.Shared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := shared.Of("k")
	if len(got) != 1 || got[0].Version != 1 || got[0].Decrypt.Sub(got[0].Generate).Round(time.Minute) < 4*time.Minute {
		t.Errorf("%+v", got)
	}
}

func TestTheSystemKeyAloneMakesNothingShared(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if err := s.keys.CreateKey(t.Context(), "system"); err != nil {
		t.Fatal(err)
	}
	u := s.proxy(0).o.Uses
	if _, err := u.GenerateDEK(t.Context(), "system", nil); err != nil {
		t.Fatal(err)
	}
	if err := u.Flush(t.Context()); err != nil || s.shelf.puts != 0 {
		t.Errorf("%v, %d documents", err, s.shelf.puts)
	}
}

// What is opened with a version, or asked for while it is retired, after a scan that counted
// nothing under it, the scan did not see: as where another object's name hides it.
func TestAVersionIsNotFreeIfItWasWantedSinceTheScan(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dek, err := s.keys.GenerateDEK(t.Context(), "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.rotate()
	scan := s.scanned(s.proxy(0))
	opened := func(u *Uses) error {
		_, err := u.DecryptDEK(t.Context(), "k", dek.Ciphertext, nil)
		return err
	}
	for what, c := range map[string]struct {
		use  func(*Uses) error
		at   time.Duration
		free bool
	}{
		"nothing":      {func(*Uses) error { return nil }, 2 * time.Minute, true},
		"opened":       {opened, 2 * time.Minute, false},
		"asked for":    {func(u *Uses) error { u.Wanted("k", 1); return nil }, 2 * time.Minute, false},
		"another one":  {func(u *Uses) error { u.Wanted("k", 2); return nil }, 2 * time.Minute, true},
		"asked before": {func(u *Uses) error { u.Wanted("k", 1); return nil }, -2 * time.Minute, true},
	} {
		u := NewUses(s.keys, "system")
		u.now = func() time.Time { return scan.Began.Add(c.at) }
		u.ShareIn(newShelf())
		if err := errors.Join(c.use(u), u.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		shared, err := u.Shared(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if v := OfVersion(scan, shared, "k", 1, scan.Began.Add(time.Hour)); v.Free() != c.free || c.free != (v.Missing == "") {
			t.Errorf("%s: %q", what, v.Missing)
		}
	}
}

// A key of the same name whose versions begin anew, or go on from an older state, is none that the
// scan covers anything of: neither if somebody has seen it in use, nor if nobody has.
func TestAScanCoversNothingOfAnotherKeyOfThatName(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.proxy(0)
	versions := func() []kms.VersionInfo {
		t.Helper()
		all, err := s.keys.KeyVersions(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	s.rotate()
	s.rotate()
	scan := s.scanned(p)
	later := scan.Began.Add(time.Hour)
	if v := OfVersionAmong(scan, &Shared{}, "k", 1, versions(), later); !v.Free() {
		t.Fatalf("of the key that it saw: %q", v.Missing)
	}
	if err := s.keys.DeleteKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if err := s.keys.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	u := NewUses(s.keys, "system")
	u.now = func() time.Time { return scan.Began.Add(2 * time.Minute) }
	u.ShareIn(newShelf())
	if _, err := u.GenerateDEK(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	shared, err := u.Shared(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // fewer versions than it saw, as many, more
		s.rotate()
		if v := OfVersion(scan, shared, "k", 1, later); v.Free() || !strings.Contains(v.Missing, "was sealed under version 1") {
			t.Errorf("in use since: %q", v.Missing)
		}
		if v := OfVersionAmong(scan, &Shared{}, "k", 1, versions(), later); v.Free() || !strings.Contains(v.Missing, "not known to have seen this key") {
			t.Errorf("made anew: %q", v.Missing)
		}
	}
	scan = s.scanned(p)
	if v := OfVersionAmong(scan, &Shared{}, "k", 1, versions(), later); !v.Free() {
		t.Errorf("scanned again: %q", v.Missing)
	}
	scan.Since = nil // by a version of this program that did not note it
	if v := OfVersionAmong(scan, &Shared{}, "k", 1, versions(), later); v.Free() {
		t.Error("a scan that does not say which key it saw covers one")
	}
}

// More versions of keys than are remembered one by one are remembered together: none of them is
// taken for unused.
func TestMoreUsesThanThereIsRoomForAreNotForgotten(t *testing.T) {
	t.Parallel()
	began := time.Now()
	for what, fill := range map[string]func(*Uses, *shelf){
		"by this process": func(u *Uses, _ *shelf) {
			for n := range maxUses {
				u.note(&u.of(fmt.Sprint("key", n), 1).decrypt, "")
			}
		},
		"by others": func(_ *Uses, at *shelf) {
			shared := &Shared{Uses: make(map[string]map[uint32]Use)}
			for n := range maxUses {
				shared.Uses[fmt.Sprint("key", n)] = map[uint32]Use{1: {Decrypt: began}}
			}
			data, err := json.Marshal(shared)
			if err == nil {
				_, err = at.Put(t.Context(), usesKind, usesName, data, "")
			}
			if err != nil {
				t.Error(err)
			}
		},
	} {
		s := newSite(t)
		u := NewUses(s.keys, "system")
		u.ShareIn(s.shelf)
		fill(u, s.shelf)
		if _, err := u.GenerateDEK(t.Context(), "k", nil); err != nil {
			t.Fatal(err)
		}
		if err := u.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		other := NewUses(s.keys, "system")
		other.ShareIn(s.shelf)
		shared, err := other.Shared(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		scan := &Scan{Began: began.Add(-time.Minute), Ended: began}
		if v := OfKey(scan, shared, "k", Use{}, began.Add(time.Hour)); v.Free() || !strings.Contains(v.Missing, "was used") {
			t.Errorf("%s: %q", what, v.Missing)
		}
	}
}

func TestLateWritesOfManyAreStoredTogether(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	u := s.proxy(0).o.Uses
	s.shelf.before = func(string) { time.Sleep(2 * time.Millisecond) }
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if err := u.Late(t.Context(), "k", 1); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if s.shelf.puts > 100 {
		t.Errorf("%d documents for 200 writes at once", s.shelf.puts)
	}
	if shared, err := s.proxy(0).o.Uses.Shared(t.Context()); err != nil || shared.Late["k"][1].IsZero() {
		t.Errorf("%+v, %v", shared, err)
	}
}

func TestALateWriteThatCannotBeNotedFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	u := NewUses(s.keys, "")
	u.ShareIn(down{})
	if err := u.Late(t.Context(), "k", 1); !errors.Is(err, errDown) {
		t.Errorf("%v", err)
	}
}

// A storage that does not answer holds up who shares the uses, and nobody else for longer than they wait.
func TestNobodyWaitsLongerThanTheyAreWaitedFor(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	u := NewUses(s.keys, "")
	silent := silence{asked: make(chan struct{}), end: make(chan struct{})}
	u.ShareIn(silent)
	var first sync.WaitGroup
	first.Go(func() {
		if err := u.Late(t.Context(), "k", 1); !errors.Is(err, errDown) {
			t.Errorf("the one who shares: %v", err)
		}
	})
	<-silent.asked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := u.Late(gone, "k", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a write whose client has gone: %v", err)
	}
	if _, err := u.GenerateDEK(gone, "k", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("another one: %v", err)
	}
	close(silent.end)
	first.Wait()
}

// silence does not answer before its end.
type silence struct {
	down
	asked, end chan struct{}
}

func (s silence) Get(context.Context, string, string, string) ([]byte, string, error) {
	s.asked <- struct{}{}
	<-s.end
	return nil, "", errDown
}

var errDown = errors.New("down")

type down struct{}

func (down) Get(context.Context, string, string, string) ([]byte, string, error) {
	return nil, "", errDown
}

func (down) Put(context.Context, string, string, []byte, string) (string, error) { return "", errDown }

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"began":"2024-01-01T00:00:00Z","ended":"2024-01-01T00:00:01Z","counts":[{"objects":1}],"covered":{"k":2},"late":{"k":{"1":"2024-01-01T00:00:00Z"}}}`))
	f.Add([]byte(`{"uses":{"k":{"1":{"generate":"2024-01-01T00:00:00Z"}}}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		shared, err := parseShared(data)
		if err != nil {
			shared = &Shared{}
		}
		if scan, err := parseScan(data); err == nil {
			v := OfVersion(scan, shared, "k", 1, time.Now())
			_ = v.String()
			_ = OfKey(scan, shared, "k", Use{}, time.Now()).Free()
		}
		_ = shared.Of("")
	})
}
