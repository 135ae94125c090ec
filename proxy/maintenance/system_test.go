package maintenance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// systemUsage is what a scan finds of the proxies' own objects.
func systemUsage(t *testing.T, e *vaulttest.Engine) *maintenance.SystemUsage {
	t.Helper()
	u, err := e.Usage(t.Context(), &maintenance.UsageOf{System: true})
	if err != nil {
		t.Fatal(err)
	}
	return u.System
}

// wantSystemUnder says how many system objects lie under each version of the system key.
func wantSystemUnder(t *testing.T, e *vaulttest.Engine, want map[uint32]int64) {
	t.Helper()
	u := systemUsage(t, e)
	if len(u.Unknown) > 0 {
		t.Fatal(u)
	}
	for under, n := range u.Counts {
		if n.Objects != want[under.Version] || under.KMSKey != "system" {
			t.Errorf("%d objects lie under %v, want %d", n.Objects, under, want[under.Version])
		}
		delete(want, under.Version)
	}
	if len(want) > 0 {
		t.Errorf("missing are %v", want)
	}
}

// endVersion takes a version of the system key away.
func endVersion(t *testing.T, service kms.Service, version uint32) {
	t.Helper()
	for _, action := range []kms.VersionAction{kms.Retire, kms.Destroy} {
		if err := service.ChangeVersion(t.Context(), "system", kms.VersionChange{Action: action, Version: version, Force: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// systemOnly is a re-wrap of nothing but system objects.
func systemOnly() maintenance.Rewrap { return maintenance.Rewrap{Key: "system"} }

func TestRewrapFreesSystemObjectsOfAVersion(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	long := strings.Repeat("long ", 30_000)
	weird := "a/" + strings.Repeat("x", 300)
	objects := []*vaulttest.Shelved{
		s.PutStream(t, "a", sse.ModeKMS, []byte("small"), false),
		s.PutStream(t, weird, sse.ModeKMS, []byte(long), true),
		s.PutStream(t, "c", sse.ModeKMS, []byte(long), true),
		s.PutParts(t, "d", sse.ModeKMS, long, "end"),
	}
	if total, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"}); total.Done != 4 || total.System != 0 {
		t.Fatalf("%+v", total)
	}
	// Three manifests, four wraps, the book of them, the rules.
	wantSystemUnder(t, s.Engine, map[uint32]int64{1: 9})
	if total := systemTotal(t, s.Engine, systemOnly()); total.System != 9 || total.SystemDone != 0 {
		t.Errorf("before anything was rotated: %+v", total)
	}
	if _, err := s.KMS.RotateKey(t.Context(), "system", 0); err != nil {
		t.Fatal(err)
	}
	dry := systemOnly()
	dry.DryRun = true
	if total := systemTotal(t, s.Engine, dry); total.SystemDone != 9 {
		t.Errorf("dry run: %+v", total)
	}
	wantSystemUnder(t, s.Engine, map[uint32]int64{1: 9})
	for _, other := range []maintenance.Rewrap{{Key: "default"}, {To: "other"}, {Buckets: []string{"*"}}, {Prefix: "a"}, {OlderThan: 1}} {
		if total := systemTotal(t, s.Engine, other); total.SystemDone != 0 {
			t.Errorf("%+v: %+v", other, total)
		}
	}
	if total := systemTotal(t, s.Engine, maintenance.Rewrap{}); total.SystemDone != 9 || total.Failed != 0 || total.Done != 0 {
		t.Errorf("%+v", total)
	}
	wantSystemUnder(t, s.Engine, map[uint32]int64{2: 9})
	if total := systemTotal(t, s.Installation.Engine(t), systemOnly()); total.System != 9 || total.SystemDone != 0 {
		t.Errorf("once more: %+v", total)
	}
	endVersion(t, s.KMS, 1)
	if err := s.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		wantRead(t, s.Installation.Engine(t), o, nil)
	}
}

// systemTotal runs a re-wrap in which nothing fails.
func systemTotal(t *testing.T, e *vaulttest.Engine, o maintenance.Rewrap) maintenance.RewrapTotal {
	t.Helper()
	reports := 0
	o.Report = func(r maintenance.Rewrapped) {
		reports++
		if r.Err != nil {
			t.Errorf("%s: %v", r.Name.Key, r.Err)
		}
		if r.System && (r.FromKey != "system" || r.ToKey != "system" || r.FromVersion != 1 || r.ToVersion != 2) {
			t.Errorf("report %+v", r)
		}
	}
	total, err := e.Rewrap(t.Context(), &o)
	if err != nil {
		t.Fatal(err)
	}
	if int64(reports) != total.Done+total.Failed+total.SystemDone {
		t.Errorf("%d reports of %+v", reports, total)
	}
	return total
}

func TestSystemObjectsStayUnderTheirKey(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	_, err := s.Rewrap(t.Context(), &maintenance.Rewrap{Key: "system", To: "other", Report: func(maintenance.Rewrapped) {}})
	if !errors.Is(err, keyring.ErrNotRewrapped) {
		t.Error(err)
	}
}

// What is not known, or not authentic, is said by both who count and who re-wrap.
func TestSystemObjectsThatCannotBeToldAreNamed(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	for name, value := range map[string]string{"stranger/1": "x", "wrap/bucket/a\x010123": "forged"} {
		if err := s.System.PutNote(t.Context(), name, value, nil); err != nil {
			t.Fatal(err)
		}
	}
	if u := systemUsage(t, s.Engine); len(u.Unknown) != 2 {
		t.Errorf("%+v", u)
	}
	o := systemOnly()
	var failed []error
	o.Report = func(r maintenance.Rewrapped) { failed = append(failed, r.Err) }
	total, err := s.Rewrap(t.Context(), &o)
	if err != nil || total.Failed != 2 || len(failed) != 2 || !errors.Is(errors.Join(failed...), system.ErrUnknownLayout) || !errors.Is(errors.Join(failed...), system.ErrTampered) {
		t.Errorf("%+v, %v, %v", total, failed, err)
	}
}

// Who replaces a note while it is sealed anew, or removes it, is not undone.
func TestRewrapOfSystemObjectsGivesWay(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	for i := range 4 {
		s.PutStream(t, fmt.Sprint(i), sse.ModeKMS, []byte("data"), false)
	}
	if total, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"}); total.Done != 4 {
		t.Fatal(total)
	}
	if err := s.KMS.CreateKey(t.Context(), "third"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KMS.RotateKey(t.Context(), "system", 0); err != nil {
		t.Fatal(err)
	}
	notes, _, err := s.System.ListNotes(t.Context(), "wrap/", "")
	if err != nil || len(notes) != 4 {
		t.Fatal(notes, err)
	}
	// Before the first note is written anew, a rival re-wrap replaces three, and the fourth
	// is removed.
	var once sync.Once
	rival := s.Installation.Engine(t)
	var busy atomic.Bool
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Op != memory.Put || c.Step != memory.Arrived || c.Name.Bucket != s.System.Bucket() || !strings.HasPrefix(c.Name.Key, "wrap/") || busy.Load() {
			return nil
		}
		once.Do(func() {
			busy.Store(true)
			defer busy.Store(false)
			if total, _ := rewrapped(t, rival, maintenance.Rewrap{Key: "other", To: "third"}); total.Done != 4 {
				t.Error(total)
			}
			if _, err := s.System.DeleteNotes(t.Context(), notes[3].Name, nil); err != nil {
				t.Error(err)
			}
		})
		return nil
	})
	total := systemTotal(t, s.Engine, systemOnly())
	s.Storage.SetFaults(nil)
	if total.Failed != 0 {
		t.Errorf("%+v", total)
	}
	if _, err := s.System.GetNote(t.Context(), notes[3].Name); !errors.Is(err, system.ErrNotFound) {
		t.Errorf("what was removed came back: %v", err)
	}
	for _, key := range []string{"default", "other"} { // the rival's wraps are needed now
		if err := s.KMS.DeleteKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	endVersion(t, s.KMS, 1)
	fresh := s.Installation.Engine(t)
	for i := range 3 {
		wantRead(t, fresh, &vaulttest.Shelved{Name: vaulttest.Name(fmt.Sprint(i)), Data: []byte("data")}, nil)
	}
}

// An answer that is lost, and a storage that is away for a moment, cost nothing.
func TestRewrapOfSystemObjectsOutlivesFailures(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	s.PutParts(t, "d", sse.ModeKMS, strings.Repeat("long ", 30_000), "end")
	if _, err := s.KMS.RotateKey(t.Context(), "system", 0); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Op == memory.Put && c.Step == memory.Done && calls.Add(1) <= 2 {
			return storage.ErrUnreachable
		}
		return nil
	})
	total := systemTotal(t, s.Engine, systemOnly())
	s.Storage.SetFaults(nil)
	if total.Failed != 0 {
		t.Errorf("%+v", total)
	}
	wantSystemUnder(t, s.Engine, map[uint32]int64{2: 2})
}
