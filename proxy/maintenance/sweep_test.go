package maintenance_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// shelf is an installation whose objects a test puts there by hand.
type shelf struct{ *vaulttest.Shelf }

func newShelf(t testing.TB, o memory.Options, change func(*vaulttest.Installation)) *shelf {
	t.Helper()
	return &shelf{vaulttest.NewShelf(t, o, change)}
}

// swept are the names of what one sweep removed, and of what it skipped.
type swept struct{ removed, skipped []string }

func (s *shelf) sweep(t testing.TB, dryRun bool) (swept, int, error) {
	t.Helper()
	var out swept
	waiting, err := s.Sweep(t.Context(), maintenance.SweepOptions{
		Age: maintenance.SweepAge, DryRun: dryRun,
		Removed: func(what, name string) { out.removed = append(out.removed, what+" "+name) },
		Skipped: func(what, name string, _ error) { out.skipped = append(out.skipped, what+" "+name) },
	})
	return out, waiting, err
}

// begin begins an upload in parts, at the storage and in the ledger.
func (s *shelf) begin(t testing.TB, key string) storage.Upload {
	t.Helper()
	u := storage.Upload{Name: sse.Name{Bucket: vaulttest.Bucket, Key: key}}
	id := sse.NewManifestID()
	_, text := s.Seal(t, u.Name, sse.ModeS3, sse.NewPartsPrivate(), func(r *sse.Record) { r.Layout, r.Manifest = sse.Uploaded, id })
	var err error
	if u.ID, err = s.Storage.Own(storage.Actor{}).CreateUpload(t.Context(), &storage.CreateUpload{Name: u.Name, Record: text}); err != nil {
		t.Fatal(err)
	}
	err = s.Ledger.Create(t.Context(), &manifest.Upload{Bucket: u.Name.Bucket, Key: key, ID: u.ID, Record: text, Manifest: id, Initiated: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (s *shelf) remove(t testing.TB, name sse.Name) {
	t.Helper()
	if _, err := s.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: name}); err != nil {
		t.Fatal(err)
	}
}

// left says whether a manifest is there.
func (s *shelf) left(t testing.TB, o *vaulttest.Shelved) bool {
	t.Helper()
	there, err := s.Manifests.Exists(t.Context(), o.Ref)
	if err != nil {
		t.Fatal(err)
	}
	return there
}

const day = 24 * time.Hour

func TestASweepRemovesWhatNothingNeeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, memory.Options{}, nil)
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
			t.Fatal(err)
		}
		versions := []*vaulttest.Shelved{
			s.PutParts(t, "a/kept", sse.ModeKMS, "one"), s.PutParts(t, "a/kept", sse.ModeS3, "two"), s.PutStream(t, "a/kept", sse.ModeS3, []byte("three"), true),
		}
		s.remove(t, versions[0].Name) // leaves a marker
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Suspended); err != nil {
			t.Fatal(err)
		}
		gone := []*vaulttest.Shelved{s.PutParts(t, "b/gone", sse.ModeS3, "one"), s.PutStream(t, "c/over", sse.ModeS3, []byte("old"), true)}
		kept := append(versions, s.PutStream(t, "c/over", sse.ModeS3, []byte("new"), true))
		s.remove(t, gone[0].Name)
		live, ended := s.begin(t, "d/live"), s.begin(t, "d/ended")
		if err := s.Storage.Own(storage.Actor{}).Abort(t.Context(), &ended); err != nil {
			t.Fatal(err)
		}
		sweep := func(dryRun bool, removed, waiting int) {
			t.Helper()
			got, n, err := s.sweep(t, dryRun)
			if err != nil || len(got.removed) != removed || n != waiting || len(got.skipped) > 0 {
				t.Fatalf("%+v, %d wait, %v", got, n, err)
			}
		}
		sweep(false, 0, 0) // all is young
		time.Sleep(day + time.Minute)
		sweep(false, 0, 3) // one look is no proof
		time.Sleep(time.Hour)
		sweep(false, 0, 3)
		time.Sleep(day + time.Minute)
		sweep(true, 3, 0)
		sweep(false, 3, 0)
		for _, o := range gone {
			if s.left(t, o) {
				t.Errorf("the manifest of %q is left", o.Name.Key)
			}
		}
		for i, o := range kept {
			if !s.left(t, o) {
				t.Errorf("the manifest of %q, version %d, is gone", o.Name.Key, i)
			}
		}
		other := s.Installation.Engine(t)
		if _, err := other.Ledger.Get(t.Context(), live.Name, live.ID); err != nil {
			t.Errorf("an upload under way: %v", err)
		}
		if _, err := other.Ledger.Get(t.Context(), ended.Name, ended.ID); !errors.Is(err, manifest.ErrNoSuchUpload) {
			t.Errorf("an upload that ended: %v", err)
		}
	})
}

// What the storage may hide from a listing stays: below a key that exists it lists nothing.
func TestASweepLeavesWhatAStorageMayHide(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, key string
		prepare   func(t *testing.T, s *shelf)
		stays     bool
	}{
		{"nothing above it", "x/y/z", func(*testing.T, *shelf) {}, false},
		{"an object above it", "x/y/z", func(t *testing.T, s *shelf) { s.PutAsIs(t, sse.Name{Bucket: vaulttest.Bucket, Key: "x"}, "", nil) }, true},
		{"an object right above it", "x/y/z", func(t *testing.T, s *shelf) { s.PutAsIs(t, sse.Name{Bucket: vaulttest.Bucket, Key: "x/y"}, "", nil) }, true},
		{"a marker above it", "x/y/z", func(t *testing.T, s *shelf) {
			if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
				t.Fatal(err)
			}
			above := sse.Name{Bucket: vaulttest.Bucket, Key: "x"}
			s.PutAsIs(t, above, "", nil)
			s.remove(t, above)
		}, true},
		{"a name as of a folder", "x__XLDIR__/z", func(*testing.T, *shelf) {}, true},
		{"the bucket is gone", "x/y", func(t *testing.T, s *shelf) {
			if err := s.Storage.DeleteBucket(vaulttest.Bucket); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(t, memory.Options{}, nil)
				o := s.PutStream(t, tt.key, sse.ModeS3, []byte("data"), true)
				s.remove(t, o.Name)
				tt.prepare(t, s)
				for range 3 {
					time.Sleep(day + time.Minute)
					if got, _, err := s.sweep(t, false); err != nil || len(got.skipped) > 0 {
						t.Fatalf("%+v, %v", got, err)
					}
				}
				if s.left(t, o) != tt.stays {
					t.Errorf("left: %v", !tt.stays)
				}
			})
		})
	}
}

// Where the storage cannot tell of one object, the others are swept; where it does not
// answer, the sweep ends, and nothing is removed.
func TestASweepRemovesNothingOnADoubt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		op      memory.Op
		answer  error
		err     error // of the sweep
		skipped int
	}{
		{"a listing that does not parse", memory.List, storage.ErrListing, nil, 1},
		{"a listing that is refused", memory.List, memory.Forbidden(), nil, 1},
		{"a look-up that is refused", memory.Head, memory.Forbidden(), nil, 1},
		{"no listing", memory.List, storage.ErrUnreachable, storage.ErrUnreachable, 0},
		{"no look-up", memory.Head, storage.ErrUnreachable, storage.ErrUnreachable, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newShelf(t, memory.Options{}, nil)
				doubt, sure := s.PutStream(t, "doubt", sse.ModeS3, []byte("data"), true), s.PutStream(t, "sure", sse.ModeS3, []byte("data"), true)
				s.remove(t, doubt.Name)
				s.remove(t, sure.Name)
				s.Watch(vaulttest.Bucket, func(c *memory.Call) error {
					if c.Op == tt.op && c.Name.Key == "doubt" {
						return tt.answer
					}
					return nil
				})
				for range 3 {
					time.Sleep(day + time.Minute)
					if got, _, err := s.sweep(t, false); !errors.Is(err, tt.err) || len(got.skipped) != tt.skipped {
						t.Fatalf("%+v, %v", got, err)
					}
				}
				if !s.left(t, doubt) || s.left(t, sure) != (tt.err != nil) {
					t.Errorf("left: %v, %v", s.left(t, doubt), s.left(t, sure))
				}
			})
		})
	}
}

func TestASweepOfUploadsAsksForEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, memory.Options{}, nil)
		s.begin(t, "doubt")
		answer := error(memory.Forbidden())
		s.Watch(vaulttest.Bucket, func(c *memory.Call) error {
			if c.Op == memory.ListParts {
				return answer
			}
			return nil
		})
		for _, tt := range []struct {
			answer           error
			skipped, waiting int
			err              error
		}{
			{memory.Forbidden(), 1, 0, nil},
			{storage.ErrUnreachable, 0, 0, storage.ErrUnreachable},
			{nil, 0, 0, nil},
			{&storage.Error{Status: 404, Code: "NoSuchBucket"}, 0, 1, nil},
			{&storage.Error{Status: 404, Code: "NoSuchUpload"}, 0, 0, nil}, // for the second time
		} {
			answer = tt.answer
			time.Sleep(day + time.Minute)
			if got, waiting, err := s.sweep(t, false); !errors.Is(err, tt.err) || len(got.skipped) != tt.skipped || waiting != tt.waiting {
				t.Errorf("%v: %+v, %d wait, %v", tt.answer, got, waiting, err)
			}
		}
	})
}

func TestTheBackgroundSweepsWhatElseThereIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		failure error // of what else there is
		says    string
	}{
		{"all well", nil, `level=INFO msg="swept the system bucket" removed=2 waiting=0 skipped=0`},
		{"a failure", errors.New("no answer"), `level=WARN msg="sweep of the system bucket ended early" removed=2 skipped=0 error="no answer"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				var others []maintenance.SweepOptions
				s := newShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
					i.Change = func(o *vaulttest.Options) {
						o.Logger = slog.New(slog.NewTextHandler(&log, nil))
						o.SweepOthers = func(_ context.Context, o *maintenance.SweepOptions, now time.Time) error {
							if !now.Equal(time.Now()) {
								t.Errorf("the storage's time is %v", now)
							}
							o.Removed("session", "one")
							others = append(others, *o)
							return tt.failure
						}
					}
				})
				o := s.PutStream(t, "gone", sse.ModeS3, []byte("data"), true)
				s.remove(t, o.Name)
				ctx, cancel := context.WithCancel(t.Context())
				go s.SweepInBackground(ctx)
				time.Sleep(3 * day)
				cancel()
				synctest.Wait()
				if len(others) < 8 || len(others) > 12 || others[0].Age != maintenance.SweepAge || others[0].DryRun || s.left(t, o) {
					t.Errorf("%d sweeps in three days; left: %v", len(others), s.left(t, o))
				}
				if !strings.Contains(log.String(), tt.says) {
					t.Errorf("the log has no %s:\n%s", tt.says, log.String())
				}
			})
		})
	}
}

// Of many versions, all pages are asked for.
func TestASweepFollowsTheVersionsOfAnObject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf(t, memory.Options{}, nil)
		if err := s.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
			t.Fatal(err)
		}
		first := s.PutStream(t, "k", sse.ModeS3, []byte("data"), true)
		for i := range 1000 {
			s.PutAsIs(t, first.Name, "", fmt.Append(nil, i))
		}
		watch := s.Watch(vaulttest.Bucket, nil)
		time.Sleep(day + time.Minute)
		if got, waiting, err := s.sweep(t, false); err != nil || waiting > 0 || len(got.skipped) > 0 {
			t.Fatalf("%+v, %d wait, %v", got, waiting, err)
		}
		calls := watch.Took()
		if lists := slices.DeleteFunc(calls, func(c string) bool { return c != "own List" }); len(lists) != 2 {
			t.Errorf("%d pages were asked for", len(lists))
		}
	})
}

// Upstream may take longer for a copy than a sweep leaves alone what nothing names.
func TestACopyThatTakesHoursKeepsItsManifest(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newShelf(t, memory.Options{}, nil)
			from, to := s.PutParts(t, "from", sse.ModeS3, "one", "two"), vaulttest.Name("to")
			gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Copy && c.Step == memory.Ready })
			s.Storage.SetFaults(func(ctx context.Context, c *memory.Call) error {
				if lost && c.Op == memory.Copy && c.Step == memory.Done {
					return storage.ErrUnreachable
				}
				return gate.Hook(ctx, c)
			})
			ended := make(chan error, 1)
			go func() {
				_, err := s.Copy(t.Context(), vaulttest.Caller("app"), &vault.Copy{
					Write:  vault.Write{Name: to, Asked: encryption.Asked{Request: sse.Request{Mode: sse.ModeS3}}},
					Source: vault.Read{Name: from.Name},
				})
				ended <- err
			}()
			held := gate.Next()
			var removed []string
			for range 3 {
				time.Sleep(61 * time.Minute)
				_, err := s.Sweep(t.Context(), maintenance.SweepOptions{
					Age: time.Hour, Removed: func(what, _ string) { removed = append(removed, what) }, Skipped: func(string, string, error) {},
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(removed, []string{"manifest"}) {
				t.Fatalf("removed %q, so this tries nothing", removed)
			}
			held.Release(nil)
			if err := <-ended; (err != nil) != lost {
				t.Errorf("answer lost %v: %v", lost, err)
			}
			s.Storage.SetFaults(nil)
			got, err := s.Installation.Engine(t).Plaintext(t.Context(), vaulttest.Caller("app"), vault.Read{Name: to})
			if err != nil || !bytes.Equal(got, from.Data) {
				t.Errorf("answer lost %v: the copy reads as %q, %v", lost, got, err)
			}
		})
	}
}
