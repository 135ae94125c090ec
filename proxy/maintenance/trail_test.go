package maintenance_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// course is a shelf whose re-wraps are killed, and note each moment how far they are.
type course struct {
	*shelf
	// late is when a late write was last noted, in nanoseconds since 1970.
	late atomic.Int64
}

func newCourse(t *testing.T, settles time.Duration) *course {
	t.Helper()
	c := new(course)
	c.shelf = newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		i.Change = func(o *vaulttest.Options) {
			o.SaveEvery, o.Settles = time.Millisecond, settles
			o.LateWrite = func(context.Context) (time.Time, error) { return time.Unix(0, c.late.Load()), nil }
		}
	})
	return c
}

// killed runs a re-wrap, of a process of its own, that is killed with its request number k, not
// counting those of its cursor. ended says that it ended before.
func (c *course) killed(t *testing.T, k int, o maintenance.Rewrap) (total maintenance.RewrapTotal, ended bool) {
	t.Helper()
	e := c.Installation.Engine(t)
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	var requests atomic.Int64
	c.Storage.SetFaults(func(_ context.Context, call *memory.Call) error {
		if call.Step != memory.Arrived {
			return nil
		}
		time.Sleep(2 * time.Millisecond) // it has time to note how far it is
		if !strings.HasPrefix(call.Name.Key, progress.Prefix) {
			requests.Add(1)
		}
		if requests.Load() >= int64(k) {
			kill()
			return storage.ErrUnreachable
		}
		return nil
	})
	defer c.Storage.SetFaults(nil)
	if o.Report == nil {
		o.Report = func(maintenance.Rewrapped) {}
	}
	total, err := e.Rewrap(ctx, &o)
	return total, err == nil
}

// left are how many objects and uploads lie under the KMS key default, or an older version than
// its newest if newest is not 0.
func (c *course) left(t *testing.T, newest uint32) (n int64) {
	t.Helper()
	u, err := c.Installation.Engine(t).Usage(t.Context(), &maintenance.UsageOf{Found: func(u maintenance.Used) {
		if u.KMSKey == "default" && (newest == 0 || u.KMSKeyVersion < newest) {
			n++
		}
	}})
	if err != nil || u == nil {
		t.Fatal(err)
	}
	return n
}

func (c *course) cursors(t *testing.T) int {
	t.Helper()
	notes, _, err := c.System.ListNotes(t.Context(), progress.Prefix, "")
	if err != nil {
		t.Fatal(err)
	}
	return len(notes)
}

func (c *course) fill(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		c.PutStream(t, fmt.Sprintf("%03d", i), sse.ModeKMS, []byte("data"), false)
	}
}

func (c *course) rotate(t *testing.T) {
	t.Helper()
	if _, err := c.KMS.RotateKey(t.Context(), "default", 0); err != nil {
		t.Fatal(err)
	}
}

// Whatever request a re-wrap is killed at again and again, it ends, and nothing is left.
func TestRewrapEndsHoweverOftenItIsKilled(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"", "other"} {
		for _, k := range []int{17, 37} {
			t.Run(fmt.Sprintf("to %q, killed at request %d", to, k), func(t *testing.T) {
				t.Parallel()
				c := newCourse(t, time.Nanosecond)
				c.fill(t, 30)
				for i := range 3 {
					_, err := c.Begin(t.Context(), vaulttest.Caller("alice"), &vault.Begin{Write: vault.Write{
						Name: vaulttest.Name(fmt.Sprint("upload", i)), Meta: storage.Metadata{}, Asked: encryption.Asked{Request: sse.Request{Mode: sse.ModeKMS}},
					}})
					if err != nil {
						t.Fatal(err)
					}
				}
				newest := uint32(0)
				if to == "" {
					c.rotate(t)
					newest = 2
				}
				ended, runs := false, 0
				for ; !ended && runs < 150; runs++ {
					_, ended = c.killed(t, k, maintenance.Rewrap{Key: "default", To: to})
				}
				if !ended {
					t.Fatalf("%d runs, and none has ended; %d are left", runs, c.left(t, newest))
				}
				if c.cursors(t) != 0 { // the last run was killed while it removed its cursor: it had ended, which the next one sees
					if _, ended = c.killed(t, 1000, maintenance.Rewrap{Key: "default", To: to}); !ended {
						t.Fatal("a run that nobody killed has not ended")
					}
				}
				if n := c.left(t, newest); n != 0 || c.cursors(t) != 0 {
					t.Errorf("after %d runs %d are left, and %d cursors", runs, n, c.cursors(t))
				}
			})
		}
	}
}

// A re-wrap that notes how far it is while it reports what failed waits for neither for ever.
func TestRewrapNotesItsPlaceWhileItReports(t *testing.T) {
	t.Parallel()
	c := newCourse(t, time.Nanosecond)
	c.fill(t, 30)
	c.rotate(t)
	slow := func(maintenance.Rewrapped) { time.Sleep(3 * time.Millisecond) }
	for k := 40; k < 60; k++ {
		c.killed(t, k, maintenance.Rewrap{Key: "default", Report: slow})
	}
	if _, ended := c.killed(t, 10000, maintenance.Rewrap{Key: "default", Report: slow}); !ended || c.left(t, 2) != 0 {
		t.Errorf("ended %t, %d are left", ended, c.left(t, 2))
	}
}

// atCursor kills a re-wrap when it has noted that it is behind some objects.
func (c *course) atCursor(t *testing.T, o maintenance.Rewrap) {
	t.Helper()
	for k := 30; k < 60; k++ {
		if _, ended := c.killed(t, k, o); ended {
			t.Fatal("it ended")
		}
		if c.cursors(t) == 1 {
			return
		}
	}
	t.Fatal("no cursor")
}

// What comes behind the cursor while nobody runs is found by the run that goes on, in whatever lap the
// killed ones were.
func TestRewrapFindsWhatCameBehindItsCursor(t *testing.T) {
	t.Parallel()
	for kills := 1; kills <= 7; kills += 2 {
		t.Run(fmt.Sprint(kills), func(t *testing.T) {
			t.Parallel()
			c := newCourse(t, time.Nanosecond)
			c.fill(t, 40)
			o := maintenance.Rewrap{Key: "default", To: "other"}
			for i := range kills {
				if _, ended := c.killed(t, 24, o); ended {
					break
				}
				c.PutStream(t, fmt.Sprintf("!%d", i), sse.ModeKMS, []byte("late"), false)
			}
			if _, ended := c.killed(t, 1<<30, o); !ended {
				t.Fatal("it has not ended")
			}
			if n := c.left(t, 0); n != 0 {
				t.Errorf("killed %d times: %d are left", kills, n)
			}
		})
	}
}

// Laps that killed runs went through one after the other prove nothing once a write under an old
// version was noted, or a run began late.
func TestRewrapTrustsNoLapOfOthersInDoubt(t *testing.T) {
	t.Parallel()
	for what, doubt := range map[string]func(*course){
		"a late write was noted":       func(c *course) { c.late.Store(time.Now().UnixNano()) },
		"the run begins an hour later": func(c *course) { c.Storage.Advance(time.Hour) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newCourse(t, time.Nanosecond)
			c.fill(t, 40)
			// An object under the old version, as a PUT that takes long leaves it.
			late := c.PutStream(t, "!", sse.ModeKMS, []byte("late"), false)
			record := c.recordOf(t, late.Name)
			c.remove(t, late.Name)
			c.rotate(t)
			o := maintenance.Rewrap{Key: "default"}
			for i := range 12 { // so that no run sees the end of a lap that it began
				if err := c.Storage.CreateBucket(fmt.Sprintf("zz%02d", i), memory.Unversioned); err != nil {
					t.Fatal(err)
				}
			}
			for runs := 0; !c.provenBehind(t, &o, vaulttest.Bucket); runs++ {
				if _, ended := c.killed(t, 17, o); ended || runs == 100 {
					t.Fatalf("ended: %v after %d runs", ended, runs)
				}
			}
			c.PutAsIs(t, late.Name, record, []byte("as it may be"))
			doubt(c)
			if _, ended := c.killed(t, 1<<30, o); !ended {
				t.Fatal("it has not ended")
			}
			if n := c.left(t, 2); n != 0 {
				t.Errorf("%d are left", n)
			}
		})
	}
}

func (c *course) recordOf(t *testing.T, name sse.Name) string {
	t.Helper()
	info, err := c.Storage.Own(storage.Actor{}).Head(t.Context(), &storage.Get{Name: name})
	if err != nil || len(info.Reserved) != 1 {
		t.Fatal(info, err)
	}
	return info.Reserved[0].Value
}

// stored is the cursor, nil if there is none.
func (c *course) stored(t *testing.T, o *maintenance.Rewrap) *progress.Cursor {
	t.Helper()
	sealed, err := system.New(system.Options{Service: c.System, KMS: c.KMS, Key: "system", Deployment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := progress.Open(sealed, &progress.Scope{Prefix: []byte{}, Key: o.Key, To: o.To}).Load(t.Context())
	if err != nil {
		return nil
	}
	return found
}

// provenBehind says that the cursor tells of a clean lap, and is behind a bucket on the next one.
func (c *course) provenBehind(t *testing.T, o *maintenance.Rewrap, bucket string) bool {
	t.Helper()
	found := c.stored(t, o)
	return found != nil && found.Clean > 0 && !found.Changed && found.Place.Bucket > bucket
}

// A cursor is void when the KMS key has a newer version, and nobody else's scope is its.
func TestRewrapIgnoresTheCursorOfAnother(t *testing.T) {
	t.Parallel()
	c := newCourse(t, time.Nanosecond)
	c.fill(t, 40)
	c.rotate(t)
	c.atCursor(t, maintenance.Rewrap{Key: "default"})
	if total, _ := c.killed(t, 1<<30, maintenance.Rewrap{Key: "default", OlderThan: 2}); total.Seen != 40 {
		t.Errorf("another scope: %+v", total)
	}
	c.rotate(t)
	if total, ended := c.killed(t, 1<<30, maintenance.Rewrap{Key: "default"}); !ended || total.Seen != 40 || total.Done != 40 {
		t.Errorf("another version: %v, %+v", ended, total)
	}
	if n := c.left(t, 3); n != 0 {
		t.Errorf("%d are left", n)
	}
}

// A damaged cursor is none.
func TestRewrapIgnoresADamagedCursor(t *testing.T) {
	t.Parallel()
	c := newCourse(t, time.Nanosecond)
	c.fill(t, 40)
	o := maintenance.Rewrap{Key: "default", To: "other"}
	c.atCursor(t, o)
	notes, _, err := c.System.ListNotes(t.Context(), progress.Prefix, "")
	if err != nil || len(notes) != 1 {
		t.Fatal(notes, err)
	}
	if err := c.System.ReplaceNote(t.Context(), notes[0].Name, "bm90IGEgY3Vyc29y", nil); err != nil {
		t.Fatal(err)
	}
	if total, ended := c.killed(t, 1<<30, o); !ended || total.Seen != 40 || c.left(t, 0) != 0 || c.cursors(t) != 0 {
		t.Errorf("%v, %+v, %d cursors", ended, total, c.cursors(t))
	}
}

// A sweep removes cursors that nobody needs any more.
func TestSweepRemovesOldCursors(t *testing.T) {
	t.Parallel()
	c := newCourse(t, time.Nanosecond)
	c.fill(t, 40)
	c.atCursor(t, maintenance.Rewrap{Key: "default", To: "other"})
	for i, want := range []int{1, 0} {
		if _, _, err := c.sweep(t, false); err != nil || c.cursors(t) != want {
			t.Errorf("sweep %d: %d cursors, %v", i, c.cursors(t), err)
		}
		c.Storage.Advance(8 * 24 * time.Hour)
	}
}
