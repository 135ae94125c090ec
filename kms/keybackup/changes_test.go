package keybackup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keybackup"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

// rotated returns a store with a key of two versions, and its service.
func rotated(t *testing.T, s kms.Store) *kms.Local {
	t.Helper()
	local, err := kms.NewLocal(kms.LocalOptions{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := local.RotateKey(t.Context(), "k", 0); err != nil {
			t.Fatal(err)
		}
	}
	return local
}

func destroy(t *testing.T, local *kms.Local, version uint32) {
	t.Helper()
	if err := local.ChangeVersion(context.WithoutCancel(t.Context()), "k", kms.VersionChange{Action: kms.Destroy, Version: version, Force: true}); err != nil {
		t.Fatal(err)
	}
}

// A backup from before a version was destroyed does not put its secret back, and still opens in a
// store of its own.
func TestWhatWasDestroyedIsNotRestored(t *testing.T) {
	t.Parallel()
	s := mem.New()
	local := rotated(t, s)
	b := take(t, s)
	destroy(t, local, 1)
	destroy(t, local, 2)
	left, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		done, err := b.Restore(t.Context(), s)
		if err != nil || done.Written != 0 || done.Destroyed != 2 || done.Present != len(b.Entries)-2 {
			t.Errorf("%+v, %v", done, err)
		}
	}
	if now, err := s.List(t.Context(), ""); err != nil || !slices.Equal(now, left) {
		t.Errorf("the store had %q, and has %q, %v", left, now, err)
	}
	if done, err := b.Restore(t.Context(), mem.New()); err != nil || done.Written != len(b.Entries) || done.Destroyed != 0 {
		t.Errorf("into an empty store: %+v, %v", done, err)
	}
}

// changing is a store that somebody changes while it is read.
type changing struct {
	*mem.Store
	mu     sync.Mutex
	reads  int
	change func(read int)
}

func (c *changing) Get(ctx context.Context, name string) ([]byte, error) {
	value, err := c.Store.Get(ctx, name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if c.change != nil {
		c.change(c.reads)
	}
	return value, err
}

// A backup of a store that is changed while it is read is of what was there before, or of what is
// there now, and nothing in between.
func TestABackupIsOfOneState(t *testing.T) {
	t.Parallel()
	for read := 1; read <= 6; read++ {
		s := mem.New()
		local := rotated(t, s)
		once := false
		b, err := keybackup.Take(t.Context(), &changing{Store: s, change: func(n int) {
			if n == read && !once {
				once = true
				destroy(t, local, 2)
			}
		}}, about())
		if err != nil {
			t.Fatal(err)
		}
		wantVersions(t, b, fmt.Sprintf("changed after read %d", read))
	}
}

// wantVersions restores a backup, whose key "k" must have its three versions.
func wantVersions(t *testing.T, b *keybackup.Backup, what string) {
	t.Helper()
	to := mem.New()
	if _, err := b.Restore(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	restored, err := kms.NewLocal(kms.LocalOptions{Store: to})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if versions, err := restored.KeyVersions(t.Context(), "k"); err != nil || len(versions) != 3 {
		t.Errorf("%s: %+v, %v", what, versions, err)
	}
}

// behind is a store whose listing leaves out what was made of late, and still has what is gone.
type behind struct {
	*mem.Store
	hidden func(name string) bool
	gone   []string
}

func (b behind) List(ctx context.Context, prefix string) ([]string, error) {
	names, err := b.Store.List(ctx, prefix)
	names = append(slices.DeleteFunc(names, b.hidden), b.gone...)
	slices.Sort(names)
	return names, err
}

// A backup has all versions of a key that a listing names, and the keys that the settings name,
// whatever else the listing leaves out or still has.
func TestABackupDoesNotRelyOnAListing(t *testing.T) {
	t.Parallel()
	s := mem.New()
	local := rotated(t, s)
	if err := local.CreateKey(t.Context(), "another"); err != nil {
		t.Fatal(err)
	}
	for what, hidden := range map[string]func(string) bool{
		"only the record": func(name string) bool { return strings.HasPrefix(name, "k@") },
		"no secret":       func(name string) bool { return strings.Contains(name, ".v") },
		"no root":         func(name string) bool { return strings.HasSuffix(name, "@log") },
		"no record":       func(name string) bool { return name == "k" },
		"not the key":     func(name string) bool { return strings.HasPrefix(name, "k") },
	} {
		b := take(t, behind{s, hidden, []string{"removed"}})
		wantVersions(t, b, what+" is listed")
	}
}

// A key that does not open fails the backup: it would show only when the key is needed.
func TestAKeyThatDoesNotOpenIsNoBackup(t *testing.T) {
	t.Parallel()
	s := mem.New()
	rotated(t, s)
	names, err := s.List(t.Context(), "k@")
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, ".v2") })
	if err := s.Delete(t.Context(), names[at]); err != nil {
		t.Fatal(err)
	}
	if _, err := keybackup.Take(t.Context(), s, about()); !errors.Is(err, kms.ErrCorruptKey) || !strings.Contains(err.Error(), `"k"`) {
		t.Errorf("a backup without version 2: %v", err)
	}
}

// dying is a store that takes so many changes, and then no more.
type dying struct {
	*mem.Store
	mu   sync.Mutex
	left int
}

func (d *dying) change() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left--; d.left < 0 {
		return kms.ErrUnavailable
	}
	return nil
}

func (d *dying) Create(ctx context.Context, name string, value []byte) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.Store.Create(ctx, name, value)
}

func (d *dying) Delete(ctx context.Context, name string) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.Store.Delete(ctx, name)
}

// A key whose deletion was cut off anywhere is restored whole, or nothing is written; once the
// deletion is finished it is. Backups from before its last change too. A backup made meanwhile has
// the key, or nothing of it.
func TestRestoringADeletedKey(t *testing.T) {
	t.Parallel()
	for cut := 1; ; cut++ {
		s := mem.New()
		local := rotated(t, s)
		backups := []*keybackup.Backup{take(t, s)}
		destroy(t, local, 2)
		backups = append(backups, take(t, s))
		if err := local.CreateKey(t.Context(), "another"); err != nil {
			t.Fatal(err)
		}
		half, err := kms.NewLocal(kms.LocalOptions{Store: &dying{Store: s, left: cut}})
		if err != nil {
			t.Fatal(err)
		}
		defer half.Close()
		finished := half.DeleteKey(t.Context(), "k") == nil
		_, dead := half.DescribeKey(t.Context(), "k")
		for i, b := range backups {
			what := fmt.Sprintf("cut after %d changes, backup %d", cut, i)
			before, _ := s.List(t.Context(), "")
			_, err := b.Restore(t.Context(), s)
			after, _ := s.List(t.Context(), "")
			switch {
			case err != nil && (finished || dead == nil || !strings.Contains(err.Error(), "delete it once more")):
				t.Errorf("%s: %v", what, err)
			case err != nil && !slices.Equal(before, after):
				t.Errorf("%s: the store had %q, and has %q", what, before, after)
			}
			now := take(t, s)
			if err == nil {
				wantVersions(t, now, what)
				break // it is alive again
			}
			if slices.ContainsFunc(now.Entries, func(e keybackup.Entry) bool { return strings.HasPrefix(e.Name, "k") }) {
				t.Errorf("%s: a backup made meanwhile has entries of it", what)
			}
		}
		if finished {
			return
		}
		if err := local.DeleteKey(t.Context(), "k"); err != nil {
			t.Errorf("cut after %d changes: once more: %v", cut, err)
		}
		for i, b := range backups {
			if _, err := b.Restore(t.Context(), s); err != nil {
				t.Errorf("cut after %d changes, backup %d, afterwards: %v", cut, i, err)
			}
			wantVersions(t, take(t, s), "afterwards")
			if err := local.DeleteKey(t.Context(), "k"); err != nil {
				t.Error(err)
			}
		}
	}
}

// A copy that does not open is none.
func TestAKeyThatDoesNotOpenIsNotSaidToBeRestored(t *testing.T) {
	t.Parallel()
	s := mem.New()
	rotated(t, s)
	b := take(t, s)
	b.Entries = slices.DeleteFunc(b.Entries, func(e keybackup.Entry) bool { return strings.HasSuffix(e.Name, ".v2") })
	if _, err := b.Restore(t.Context(), mem.New()); !errors.Is(err, kms.ErrCorruptKey) || !strings.Contains(err.Error(), `"k"`) {
		t.Errorf("without version 2: %v", err)
	}
}
