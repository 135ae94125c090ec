package keycmd

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

// forgetful is a store that loses part of what it is given.
type forgetful struct{ kms.Store }

func (f forgetful) Create(ctx context.Context, name string, value []byte) error {
	return f.Store.Create(ctx, name, value[:len(value)-1])
}

// withKey returns a key service over a store, with the key "k".
func withKey(t *testing.T, store kms.Store) *kms.Local {
	t.Helper()
	local, err := kms.NewLocal(kms.LocalOptions{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	return local
}

func TestMigrateNoticesWhatTheTargetDoesNotKeep(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	from, to := mem.New(), mem.New()
	withKey(t, from)
	value, err := from.Get(ctx, "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copyKey(ctx, forgetful{to}, "k", value); err == nil || !strings.Contains(err.Error(), "not what was written") {
		t.Errorf("%v", err)
	}
	if _, err := copyKey(ctx, to, "k", value); err == nil || !strings.Contains(err.Error(), "another key of that name") {
		t.Errorf("%v", err)
	}
}

// recordsOnly is a store whose listing does not show yet what rotations made.
type recordsOnly struct{ kms.Store }

func (r recordsOnly) List(ctx context.Context, prefix string) ([]string, error) {
	names, err := r.Store.List(ctx, prefix)
	return slices.DeleteFunc(names, func(name string) bool { return strings.Contains(name, "@") }), err
}

func TestMigrateCopiesVersionsThatAListingDoesNotShow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	from, to := mem.New(), mem.New()
	local := withKey(t, from)
	if _, err := local.RotateKey(ctx, "k", 0); err != nil {
		t.Fatal(err)
	}
	app := cli.New(nil, io.Discard, io.Discard, nil)
	if err := migrate(ctx, app, recordsOnly{from}, to, "*"); err != nil {
		t.Fatal(err)
	}
	copied, err := kms.NewLocal(kms.LocalOptions{Store: to})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	if versions, err := copied.KeyVersions(ctx, "k"); err != nil || len(versions) != 2 {
		t.Errorf("%+v, %v", versions, err)
	}
	if err := migrate(ctx, app, recordsOnly{from}, mem.New(), "absent"); err != nil {
		t.Errorf("a key that is not there: %v", err)
	}
}

// halfDeleted deletes the rotated key "k" of a store, all but its root and its log.
func halfDeleted(t *testing.T, store kms.Store) *kms.Local {
	t.Helper()
	local, err := kms.NewLocal(kms.LocalOptions{Store: undying{store}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.DeleteKey(t.Context(), "k"); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatalf("the deletion was not cut off: %v", err)
	}
	return local
}

// undying is a store in which deletions do not come to their end.
type undying struct{ kms.Store }

func (u undying) Delete(ctx context.Context, name string) error {
	if strings.HasSuffix(name, "@log") {
		return kms.ErrUnavailable
	}
	return u.Store.Delete(ctx, name)
}

// A key that is deleted in the target, and not gone, is not said to be copied; one that is so in
// the source is no key any more.
func TestMigrateSeesDeletedKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	from, to := mem.New(), mem.New()
	local := withKey(t, from)
	if _, err := local.RotateKey(ctx, "k", 0); err != nil {
		t.Fatal(err)
	}
	app := cli.New(nil, io.Discard, io.Discard, nil)
	if err := migrate(ctx, app, from, to, "*"); err != nil {
		t.Fatal(err)
	}
	halfDeleted(t, to)
	before, _ := to.List(ctx, "")
	for range 2 {
		if err := migrate(ctx, app, from, to, "*"); err == nil || !strings.Contains(err.Error(), "delete it once more") {
			t.Errorf("to a store that has deleted it: %v", err)
		}
	}
	if after, _ := to.List(ctx, ""); !slices.Equal(before, after) {
		t.Errorf("the target had %q, and has %q", before, after)
	}
	halfDeleted(t, from)
	if err := migrate(ctx, app, from, mem.New(), "*"); err != nil {
		t.Errorf("from a store that has deleted it: %v", err)
	}
}

// `key rm` of a key whose deletion was cut off finishes that, and of one that there is not it is an
// error.
func TestRemovalIsFinished(t *testing.T) {
	t.Parallel()
	store := mem.New()
	if _, err := withKey(t, store).RotateKey(t.Context(), "k", 0); err != nil {
		t.Fatal(err)
	}
	halfDeleted(t, store)
	local, err := kms.NewLocal(kms.LocalOptions{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	app := cli.New(nil, io.Discard, io.Discard, nil)
	if err := finishRemoval(t.Context(), app, local, "k", true, kms.ErrKeyNotFound); err != nil {
		t.Error(err)
	}
	if left, err := store.List(t.Context(), ""); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
	if err := finishRemoval(t.Context(), app, local, "k", true, kms.ErrKeyNotFound); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("of no key: %v", err)
	}
	if err := local.CreateKey(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if err := finishRemoval(t.Context(), app, local, "k", true, kms.ErrKeyNotFound); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("of a key that was made meanwhile: %v", err)
	}
	if _, err := local.DescribeKey(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

func TestTheProgressBarGrowsToItsEnd(t *testing.T) {
	t.Parallel()
	p := newProgress(nil, 3)
	var lines []string
	for range 3 {
		p.step()
		lines = append(lines, p.line())
	}
	if !strings.HasSuffix(lines[0], "] 1/3 keys") || strings.Contains(lines[2], " ]") || strings.Count(lines[2], "=") != 40 {
		t.Errorf("%q", lines)
	}
}
