package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func mustRotate(t *testing.T, l *Local, want uint32) {
	t.Helper()
	if n, err := l.RotateKey(t.Context(), "key", 0); err != nil || n != want {
		t.Fatalf("RotateKey = %d, %v; want %d", n, err, want)
	}
}

func mustChange(t *testing.T, l *Local, c VersionChange) {
	t.Helper()
	c.Force = true
	noErr(t, fmt.Sprintf("%+v", c), l.ChangeVersion(t.Context(), "key", c))
}

func mustGenerate(t *testing.T, l *Local) DEK {
	t.Helper()
	dek, err := l.GenerateDEK(t.Context(), "key", nil)
	noErr(t, "GenerateDEK", err)
	return dek
}

func wantOpens(t *testing.T, l *Local, what string, dek DEK, want error) {
	t.Helper()
	got, err := l.DecryptDEK(t.Context(), "key", dek.Ciphertext, nil)
	if !errors.Is(err, want) || err == nil && got != dek.Plaintext {
		t.Errorf("%s: DecryptDEK of version %d: %v, want %v", what, dek.KeyVersion, err, want)
	}
}

// cutStore is a store whose process dies at a given change: before it was stored, or
// after. Nothing answers from then on.
type cutStore struct {
	*fakeStore
	at    int
	after bool
	mu    sync.Mutex
	n     int
}

var errDied = fmt.Errorf("the process died: %w", ErrUnavailable)

func (s *cutStore) cut(do func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	switch {
	case s.n < s.at:
		return do()
	case s.n == s.at && s.after:
		_ = do()
	}
	return errDied
}

func (s *cutStore) Create(ctx context.Context, name string, value []byte) error {
	return s.cut(func() error { return s.fakeStore.Create(ctx, name, value) })
}

func (s *cutStore) Delete(ctx context.Context, name string) error {
	return s.cut(func() error { return s.fakeStore.Delete(ctx, name) })
}

// cutChange is a change that is cut off somewhere.
type cutChange struct {
	rotated bool // the key has two versions before
	do      func(context.Context, *Local) error
	after   error // of a DEK of version 1, once it is done; nil before
	gone    bool  // afterwards there is no key
}

// A change that is cut off anywhere leaves a key that is as before or as after, and can
// be done again.
func TestChangesThatAreCutOffLeaveWholeKeys(t *testing.T) {
	t.Parallel()
	change := func(c VersionChange) func(context.Context, *Local) error {
		return func(ctx context.Context, l *Local) error { c.Force = true; return l.ChangeVersion(ctx, "key", c) }
	}
	rotate := func(ctx context.Context, l *Local) error { _, err := l.RotateKey(ctx, "key", 1); return err }
	rotateAgain := func(ctx context.Context, l *Local) error { _, err := l.RotateKey(ctx, "key", 2); return err }
	remove := func(ctx context.Context, l *Local) error { return l.DeleteKey(ctx, "key") }
	for name, c := range map[string]cutChange{
		"rotate":           {false, rotate, nil, false},
		"rotate again":     {true, rotateAgain, nil, false},
		"retire":           {true, change(VersionChange{Action: Retire, Version: 1}), ErrVersionRetired, false},
		"doom":             {true, change(VersionChange{Action: Destroy, Version: 1, After: time.Hour}), ErrVersionRetired, false},
		"destroy":          {true, change(VersionChange{Action: Destroy, Version: 1}), ErrVersionDestroyed, false},
		"delete":           {false, remove, ErrKeyNotFound, true},
		"delete a rotated": {true, remove, ErrKeyNotFound, true},
	} {
		for at := 1; ; at++ {
			before := c.cutAt(t, fmt.Sprintf("%s, cut before change %d", name, at), at, false)
			after := c.cutAt(t, fmt.Sprintf("%s, cut after change %d", name, at), at, true)
			if before && after {
				break
			}
			if at > 20 {
				t.Fatalf("%s never ends", name)
			}
		}
	}
}

// cutAt cuts the change off and says whether it came to its end before.
func (c cutChange) cutAt(t *testing.T, what string, at int, after bool) (finished bool) {
	t.Helper()
	store := newFakeStore()
	first := newTestLocal(t, LocalOptions{Store: store})
	noErr(t, "CreateKey", first.CreateKey(t.Context(), "key"))
	old := mustGenerate(t, first)
	newest := old
	if c.rotated {
		mustRotate(t, first, 2)
		newest = mustGenerate(t, first)
	}
	dying := newTestLocal(t, LocalOptions{Store: &cutStore{fakeStore: store, at: at, after: after}})
	if err := c.do(t.Context(), dying); err == nil {
		finished = true
	} else {
		wantErr(t, what, err, ErrUnavailable)
	}
	other := newTestLocal(t, LocalOptions{Store: store})
	_, err := other.DecryptDEK(t.Context(), "key", old.Ciphertext, nil)
	if err != nil && !errors.Is(err, c.after) || finished && !errors.Is(err, c.after) {
		t.Errorf("%s: version 1: %v", what, err)
	}
	ended := err != nil
	_, err = other.DecryptDEK(t.Context(), "key", newest.Ciphertext, nil)
	if c.rotated && !c.gone && err != nil {
		t.Errorf("%s: version 2: %v", what, err)
	}
	if !c.gone {
		if err := c.do(t.Context(), other); err != nil {
			t.Errorf("%s: once more: %v", what, err)
		}
		wantOpens(t, newTestLocal(t, LocalOptions{Store: store}), what+", done again", old, c.after)
		return finished
	}
	if ended != errors.Is(err, ErrKeyNotFound) {
		t.Errorf("%s: the key opens half: version 1 ended %t, version %d: %v", what, ended, newest.KeyVersion, err)
	}
	if ended && other.CreateKey(t.Context(), "key") == nil { // its name was free already
		wantOpens(t, other, what+", made anew", old, ErrDecrypt)
		return finished
	}
	if err := other.DeleteKey(t.Context(), "key"); err != nil {
		t.Errorf("%s: once more: %v", what, err)
	}
	if n := len(store.values); n != 0 {
		t.Errorf("%s: %d entries are left", what, n)
	}
	return finished
}

// Rivals over one store, with caches of their own, agree on every version.
func TestRivalRotationsOfManyServersAgree(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	const servers, each = 8, 4
	var all []*Local
	for range servers {
		all = append(all, newTestLocal(t, LocalOptions{Store: store}))
	}
	noErr(t, "CreateKey", all[0].CreateKey(t.Context(), "key"))
	var mu sync.Mutex
	var deks []DEK
	var wait sync.WaitGroup
	for _, l := range all {
		for range each {
			wait.Go(func() {
				n, err := l.RotateKey(t.Context(), "key", 0)
				if err != nil {
					t.Errorf("RotateKey: %v", err)
					return
				}
				dek, err := l.GenerateDEK(t.Context(), "key", nil)
				if err != nil || dek.KeyVersion < n {
					t.Errorf("GenerateDEK after rotating to %d: version %d, %v", n, dek.KeyVersion, err)
				}
				mu.Lock()
				deks = append(deks, dek)
				mu.Unlock()
			})
		}
	}
	wait.Wait()
	for i, l := range all {
		for _, dek := range deks {
			wantOpens(t, l, fmt.Sprintf("server %d", i), dek, nil)
		}
	}
	versions, err := all[0].KeyVersions(t.Context(), "key")
	noErr(t, "KeyVersions", err)
	if len(versions) < 2 || len(versions) > 1+servers*each {
		t.Errorf("%d versions", len(versions))
	}
}

// Of rivals of whom each wants what follows version 1, one makes it.
func TestRotationAfterAVersionIsDoneOnce(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	first := newTestLocal(t, LocalOptions{Store: store})
	noErr(t, "CreateKey", first.CreateKey(t.Context(), "key"))
	var wait sync.WaitGroup
	for range 20 {
		l := newTestLocal(t, LocalOptions{Store: store})
		wait.Go(func() {
			if n, err := l.RotateKey(t.Context(), "key", 1); err != nil || n != 2 {
				t.Errorf("RotateKey = %d, %v", n, err)
			}
		})
	}
	wait.Wait()
	if n, err := first.RotateKey(t.Context(), "key", 1); err != nil || n != 2 {
		t.Errorf("RotateKey later = %d, %v", n, err)
	}
}

// What another server does is known after seconds, though keys are cached for minutes,
// and a DEK of a version that is not known yet opens at once.
func TestWhatAnotherServerDoesIsSeenInSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newFakeStore()
		here, err := NewLocal(LocalOptions{Store: store, Cache: CacheOptions{Any: time.Hour, Unused: time.Hour}})
		noErr(t, "NewLocal", err)
		defer here.Close()
		there, err := NewLocal(LocalOptions{Store: store})
		noErr(t, "NewLocal", err)
		defer there.Close()
		noErr(t, "CreateKey", here.CreateKey(t.Context(), "key"))
		old := mustGenerate(t, here)
		mustRotate(t, there, 2)
		wantOpens(t, here, "a version made a moment ago", mustGenerate(t, there), nil)

		mustRotate(t, there, 3)
		for range 3 { // in use: the look is in the background
			time.Sleep(2 * time.Second)
			mustGenerate(t, here)
			synctest.Wait()
		}
		if dek := mustGenerate(t, here); dek.KeyVersion != 3 {
			t.Errorf("after six seconds new DEKs are of version %d", dek.KeyVersion)
		}
		mustChange(t, there, VersionChange{Action: Retire, Version: 1})
		time.Sleep(30 * time.Minute) // not in use: the first request waits for the look
		wantOpens(t, here, "retired by another", old, ErrVersionRetired)
		store.fail(ErrUnavailable)
		time.Sleep(time.Minute)
		wantOpens(t, here, "retired, in an outage", old, ErrVersionRetired)
		if dek := mustGenerate(t, here); dek.KeyVersion != 3 {
			t.Errorf("in an outage: version %d", dek.KeyVersion)
		}
	})
}

func TestVersionsThatWereDamagedOpenNothing(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(s *fakeStore, secret, event, root string){
		"the secret is gone": func(s *fakeStore, secret, _, _ string) { delete(s.values, secret) },
		"another secret": func(s *fakeStore, secret, _, _ string) {
			s.values[secret] = newKeyVersion(2, time.Now(), "").marshalEntry()
		},
		"of another number": func(s *fakeStore, secret, _, _ string) {
			s.values[secret] = newKeyVersion(3, time.Now(), "").marshalEntry()
		},
		"no secret":             func(s *fakeStore, secret, _, _ string) { s.values[secret] = []byte("x") },
		"a record for a secret": func(s *fakeStore, secret, _, _ string) { s.values[secret] = s.values["key"] },
		"an event that is none": func(s *fakeStore, _, event, _ string) { s.values[event] = []byte("{}") },
		"an event cut":          func(s *fakeStore, _, event, _ string) { s.values[event] = s.values[event][:20] },
		"an event with more":    func(s *fakeStore, _, event, _ string) { s.values[event] = append(s.values[event], "{}"...) },
		"an unknown member": func(s *fakeStore, _, event, _ string) {
			s.values[event] = []byte(`{"event":"retire","version":1,"what":1}`)
		},
		"an event of the newest": func(s *fakeStore, _, event, _ string) { s.values[event] = []byte(`{"event":"retire","version":1}`) },
		"a root that is none":    func(s *fakeStore, _, _, root string) { s.values[root] = []byte(`{"log":"../x"}`) },
		"the root of another key": func(s *fakeStore, _, _, root string) {
			s.values[root] = bytes.Replace(s.values[root], []byte(`"first":"`), []byte(`"first":"00`), 1)
		},
		"another record":           func(s *fakeStore, _, _, _ string) { s.values["key"] = NewKey(time.Now(), "").MarshalRecord() },
		"a record with versions":   func(s *fakeStore, _, _, _ string) { s.values["key"] = []byte(readVectors(t).recordWithVersions(t)) },
		"a record that disappears": func(s *fakeStore, _, _, _ string) { delete(s.values, "key") },
	} {
		store := newFakeStore()
		l := newTestLocal(t, LocalOptions{Store: store})
		noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
		old := mustGenerate(t, l)
		mustRotate(t, l, 2)
		var secret, event, root string
		for entry := range store.values {
			switch {
			case strings.Contains(entry, ".v"):
				secret = entry
			case strings.HasSuffix(entry, ".1"):
				event = entry
			case entry == rootEntry("key"):
				root = entry
			}
		}
		store.set(func() { damage(store, secret, event, root) })
		other := newTestLocal(t, LocalOptions{Store: store})
		_, err := other.DecryptDEK(t.Context(), "key", old.Ciphertext, nil)
		if !errors.Is(err, ErrCorruptKey) && !errors.Is(err, ErrKeyNotFound) {
			t.Errorf("%s: DecryptDEK: %v", name, err)
		}
		if dek, err := other.GenerateDEK(t.Context(), "key", nil); err == nil {
			t.Errorf("%s: GenerateDEK of version %d", name, dek.KeyVersion)
		}
		if err := other.CreateKey(t.Context(), "key"); err == nil {
			t.Errorf("%s: the name is free", name)
		}
	}
}

func (v *vectors) recordWithVersions(t *testing.T) string {
	t.Helper()
	for _, r := range v.Records {
		if r.Version == 2 && !r.Error {
			return r.Record
		}
	}
	t.Fatal("no record of several versions among the vectors")
	return ""
}

func TestLastUseIsSeen(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	l := newTestLocal(t, LocalOptions{Store: newFakeStore(), Now: func() time.Time { return now }})
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	dek := mustGenerate(t, l)
	mustRotate(t, l, 2)
	now = now.Add(time.Hour)
	wantOpens(t, l, "later", dek, nil)
	versions, err := l.KeyVersions(t.Context(), "key")
	noErr(t, "KeyVersions", err)
	minute := func(at time.Time) time.Time { return at.UTC().Truncate(time.Minute) }
	if v := versions[0]; !v.LastGenerate.Equal(minute(now.Add(-time.Hour))) || !v.LastDecrypt.Equal(minute(now)) {
		t.Errorf("version 1 was last seen at %v and %v", v.LastGenerate, v.LastDecrypt)
	}
	if v := versions[1]; !v.LastGenerate.IsZero() || !v.LastDecrypt.IsZero() {
		t.Errorf("version 2 was seen at %v and %v", v.LastGenerate, v.LastDecrypt)
	}
	noErr(t, "DeleteKey", l.DeleteKey(t.Context(), "key"))
	noErr(t, "CreateKey", l.CreateKey(t.Context(), "key"))
	if versions, err = l.KeyVersions(t.Context(), "key"); err != nil || !versions[0].LastGenerate.IsZero() {
		t.Errorf("another key of the name: %+v, %v", versions, err)
	}
}

func TestEntriesHaveNamesThatNoKeyHas(t *testing.T) {
	t.Parallel()
	id := newLogID()
	for _, entry := range []string{rootEntry("key"), eventEntry("key", id, 1), eventEntry("key", id, maxEvents), secretEntry("key", id, 2), secretEntry("key", id, 1<<32-1)} {
		if key, ok := KeyOfEntry(entry); !ok || key != "key" || ValidateEntryName(entry) != nil {
			t.Errorf("%q is of %q, %t", entry, key, ok)
		}
		wantErr(t, entry, ValidateKeyName(entry), ErrInvalidKeyName)
		if long := strings.Repeat("k", MaxKeyNameSize) + strings.TrimPrefix(entry, "key"); len(long) > MaxEntryNameSize {
			t.Errorf("%q has %d bytes", long, len(long))
		}
	}
	for _, entry := range []string{"", "@log", "key@", "key@log@log", "key@Log", "key@" + id, "key@" + id + ".", "key@" + id + ".0", "key@" + id + ".v", "key@" + id + ".01", "key@" + id + ".+1", "key@" + id + ".vv1", "key@x.1", "-key@log", "key@" + id + ".v4294967296", "key@" + strings.ToUpper("abcdef0123456789") + ".1"} {
		wantErr(t, entry, ValidateEntryName(entry), ErrInvalidKeyName)
	}
	got := GroupEntries([]string{"a", "a@log", "a@" + id + ".10", "a@" + id + ".2", "a@" + id + ".v2", "b", "odd name"})
	want := []string{"a@" + id + ".v2", "a@" + id + ".2", "a@" + id + ".10", "a@log", "a"}
	if len(got) != 2 || got[0].Name != "a" || !slices.Equal(got[0].Entries, want) || got[1].Name != "b" {
		t.Errorf("GroupEntries = %v", got)
	}
}

// FuzzCiphertextVersion: whatever a ciphertext says of itself, it opens nothing that it was not
// made as, and its version is told without a key.
func FuzzCiphertextVersion(f *testing.F) {
	for _, v := range readVectors(f).Ciphertexts {
		f.Add(v.Ciphertext)
	}
	f.Add(ciphertextHeader(2))
	f.Add(append(ciphertextHeader(0), make([]byte, 100)...))
	key := ImportedKey(testSecret(), AES256, time.Now(), "")
	second := newKeyVersion(2, time.Now(), "")
	key.versions = append(key.versions, second)
	f.Fuzz(func(t *testing.T, c []byte) {
		version := CiphertextVersion(c)
		plaintext, v, err := key.decrypt(c, nil)
		if err == nil && (v.number != version || len(plaintext) > len(c)) {
			t.Errorf("a ciphertext that says version %d opened with %d", version, v.number)
		}
		if err != nil && (!errors.Is(err, ErrDecrypt) || plaintext != nil) {
			t.Errorf("%v, %d bytes", err, len(plaintext))
		}
		if bytes.HasPrefix(c, []byte(ciphertextMagic)) && len(c) >= ciphertextHeaderSize+overhead {
			if n := ciphertextHeader(version); version > 1 && !bytes.HasPrefix(c, n) {
				t.Errorf("version %d of %x", version, c[:12])
			}
		} else if version != 1 {
			t.Errorf("version %d without a header", version)
		}
	})
}

// FuzzKeyLog: no entry of a log makes a key that contradicts itself.
func FuzzKeyLog(f *testing.F) {
	f.Add([]byte(`{"event":"rotate","version":2,"at":"2026-01-01T00:00:00Z","fingerprint":"00112233445566778899aabbccddeeff"}`))
	f.Add([]byte(`{"event":"destroyed","version":1,"at":"2026-01-01T00:00:00Z","kept":{"hmac":"AAAA"}}`))
	f.Add([]byte(`{"event":"deleted"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k := ImportedKey(testSecret(), AES256, time.Now(), "")
		k.versions[0].state = VersionActive
		k.versions = append(k.versions, newKeyVersion(2, time.Now(), ""))
		k.versions[0].state, k.versions[1].state = VersionDecryptOnly, VersionActive
		var e logEvent
		if err := decodeEntry(text, &e); err != nil {
			wantErr(t, "decodeEntry", err, ErrCorruptKey)
			return
		}
		if err := k.apply(e); err != nil {
			wantErr(t, "apply", err, ErrCorruptKey)
			return
		}
		if k.latest().state != VersionActive {
			t.Errorf("the newest version is %v", k.latest().state)
		}
		for i, v := range k.versions {
			if v.number != uint32(i+1) || v.state == 0 || v.state == VersionDestroyed && v.secret != ([DEKSize]byte{}) {
				t.Errorf("version %d is %v at place %d", v.number, v.state, i)
			}
		}
	})
}
