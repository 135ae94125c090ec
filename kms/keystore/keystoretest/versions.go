package keystoretest

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// service opens a key service over a store, as one of several servers would.
func service(t *testing.T, s kms.Store) *kms.Local {
	t.Helper()
	l, err := kms.NewLocal(kms.LocalOptions{Store: s, CreatedBy: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func noErr(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func states(t *testing.T, l *kms.Local, name string) []kms.VersionState {
	t.Helper()
	versions, err := l.KeyVersions(t.Context(), name)
	noErr(t, "KeyVersions", err)
	var all []kms.VersionState
	for i, v := range versions {
		if v.Version != uint32(i+1) {
			t.Fatalf("version %d is at place %d", v.Version, i)
		}
		all = append(all, v.State)
	}
	return all
}

// testEntryNames holds a store to the names of entries beside keys.
func testEntryNames(t *testing.T, s kms.Store) {
	long := strings.Repeat("K", kms.MaxKeyNameSize)
	names := []string{
		"key", "key@log", "key@0123456789abcdef.1", "key@0123456789abcdef.v2", "Key@log",
		long, long + "@log", long + "@0123456789abcdef.v4294967295",
	}
	for _, name := range names {
		create(t, s, name, "value of "+name)
	}
	for _, name := range names {
		wantValue(t, s, name, "value of "+name)
		wantErr(t, "Create over "+name, s.Create(t.Context(), name, []byte("other")), kms.ErrKeyExists)
	}
	slices.Sort(names)
	if got, err := s.List(t.Context(), ""); err != nil || !slices.Equal(got, names) {
		t.Errorf("List = %q, %v; want %q", got, err, names)
	}
	if err := s.Delete(t.Context(), "key@log"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), "key@log")
	wantErr(t, "Get of a deleted entry", err, kms.ErrKeyNotFound)
	wantValue(t, s, "key", "value of key")
}

// testVersions takes a key through its whole life.
func testVersions(t *testing.T, s kms.Store) {
	ctx := t.Context()
	l := service(t, s)
	noErr(t, "CreateKey", l.CreateKey(ctx, "key"))
	noErr(t, "CreateKey", l.CreateKey(ctx, "other"))
	first, err := l.GenerateDEK(ctx, "key", []byte("context"))
	noErr(t, "GenerateDEK", err)
	mac, err := l.HMAC(ctx, "key", []byte("message"))
	noErr(t, "HMAC", err)

	number, err := l.RotateKey(ctx, "key", 0)
	if err != nil || number != 2 {
		t.Fatalf("RotateKey = %d, %v", number, err)
	}
	second, err := l.GenerateDEK(ctx, "key", []byte("context"))
	if err != nil || second.KeyVersion != 2 || kms.CiphertextVersion(second.Ciphertext) != 2 || kms.CiphertextVersion(first.Ciphertext) != 1 {
		t.Fatalf("GenerateDEK after the rotation: version %d, %v", second.KeyVersion, err)
	}
	open := func(what string, dek kms.DEK, want error) {
		t.Helper()
		for who, l := range map[string]*kms.Local{"the server": l, "another server": service(t, s)} {
			got, err := l.DecryptDEK(ctx, "key", dek.Ciphertext, []byte("context"))
			if !errors.Is(err, want) || err == nil && got != dek.Plaintext {
				t.Errorf("%s, %s: %v, want %v", what, who, err, want)
			}
		}
	}
	change := func(action kms.VersionAction, after time.Duration, force bool) error {
		return l.ChangeVersion(ctx, "key", kms.VersionChange{Action: action, Version: 1, After: after, Force: force})
	}
	open("version 1, rotated", first, nil)
	open("version 2", second, nil)
	wantErr(t, "Retire without force", change(kms.Retire, 0, false), kms.ErrUsageUnknown)
	for range 2 { // what a store cannot create a second time would show
		noErr(t, "Retire", change(kms.Retire, 0, true))
		open("version 1, retired", first, kms.ErrVersionRetired)
		noErr(t, "Reinstate", change(kms.Reinstate, 0, false))
		open("version 1, reinstated", first, nil)
	}
	noErr(t, "Destroy later", change(kms.Destroy, time.Hour, true))
	open("version 1, to be destroyed", first, kms.ErrVersionRetired)
	noErr(t, "Destroy", change(kms.Destroy, 0, true))
	open("version 1, destroyed", first, kms.ErrVersionDestroyed)
	open("version 2 after that", second, nil)
	wantErr(t, "Reinstate the destroyed", change(kms.Reinstate, 0, true), kms.ErrVersionDestroyed)
	_, err = s.Get(ctx, "key")
	wantErr(t, "the secret of version 1", err, kms.ErrKeyNotFound)
	wantErr(t, "CreateKey of a key without its first version", l.CreateKey(ctx, "key"), kms.ErrKeyExists)
	if again, err := service(t, s).HMAC(ctx, "key", []byte("message")); err != nil || !slices.Equal(again, mac) {
		t.Errorf("HMAC after all that: %v", err)
	}
	if got := states(t, l, "key"); !slices.Equal(got, []kms.VersionState{kms.VersionDestroyed, kms.VersionActive}) {
		t.Errorf("states: %v", got)
	}
	if names, err := l.ListKeys(ctx, ""); err != nil || !slices.Equal(names, []string{"key", "other"}) {
		t.Errorf("ListKeys = %q, %v", names, err)
	}

	noErr(t, "DeleteKey", l.DeleteKey(ctx, "key"))
	for _, dek := range []kms.DEK{first, second} {
		open("deleted", dek, kms.ErrKeyNotFound)
	}
	if names, err := s.List(ctx, ""); err != nil || !slices.Equal(names, []string{"other"}) {
		t.Errorf("after the deletion the store lists %q, %v", names, err)
	}
}

// testRivalRotations has many servers rotate a key at once, several times.
func testRivalRotations(t *testing.T, s kms.Store) {
	ctx := t.Context()
	const servers, rounds = 6, 3
	var all []*kms.Local
	for range servers {
		all = append(all, service(t, s))
	}
	noErr(t, "CreateKey", all[0].CreateKey(ctx, "key"))
	var deks []kms.DEK
	for round := range uint32(rounds) {
		var wait sync.WaitGroup
		start := make(chan struct{})
		for _, l := range all {
			wait.Go(func() {
				<-start
				if n, err := l.RotateKey(ctx, "key", 0); err != nil || n < round+2 {
					t.Errorf("round %d: RotateKey = %d, %v", round, n, err)
				}
			})
		}
		close(start)
		wait.Wait()
		dek, err := service(t, s).GenerateDEK(ctx, "key", nil)
		noErr(t, "GenerateDEK", err)
		deks = append(deks, dek)
	}
	// All agree, whatever they have cached, and what each version sealed opens.
	for _, l := range all {
		for _, dek := range deks {
			if got, err := l.DecryptDEK(ctx, "key", dek.Ciphertext, nil); err != nil || got != dek.Plaintext {
				t.Errorf("version %d: %v", dek.KeyVersion, err)
			}
		}
	}
	if n := len(states(t, all[0], "key")); n < rounds+1 || n > rounds*servers+1 {
		t.Errorf("%d versions", n)
	}
}
