// Package keystoretest is the conformance suite of kms.Store: every
// implementation runs it.
package keystoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
)

// Listed is how many keys Run lists: more than any page of any store.
const Listed = 1200

// Run tests a kind of store. open returns a new, empty store each time; Run
// closes it.
func Run(t *testing.T, open func(t *testing.T) kms.Store) {
	t.Helper()
	RunListing(t, Listed, open)
}

// RunListing is Run with fewer keys to list, at least 251, for a store of which pages are known to
// be short and each key takes long.
func RunListing(t *testing.T, listed int, open func(t *testing.T) kms.Store) {
	t.Helper()
	if testing.Short() {
		listed = min(listed, 300)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, kms.Store)
	}{
		{"WhatWasCreatedIsRead", testCreateGet},
		{"AllLegalCharactersMayBeInNames", testNames},
		{"NamesThatDifferInCaseAreTwoKeys", testCase},
		{"MissingKeysAreNotFound", testMissing},
		{"ExistingKeyIsNotOverwritten", testExists},
		{"DeletedKeyIsGoneAndItsNameFree", testDelete},
		{"OfRivalCreatesOneWins", testRivalCreates},
		{"ReadersSeeWholeValuesOnly", testWholeValues},
		{"ListIsSortedAndCompleteAndOnce", func(t *testing.T, s kms.Store) { testList(t, s, listed) }},
		{"LongValuesAreUnchanged", testLongValues},
		{"ValuesAreNotShared", testNotShared},
		{"CanceledContextIsObeyed", testCanceled},
		{"EntriesBesideKeysAreStored", testEntryNames},
		{"VersionsLiveAndEnd", testVersions},
		{"RivalRotationsAgree", testRivalRotations},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, s)
		})
	}
}

func create(t *testing.T, s kms.Store, name, value string) {
	t.Helper()
	if err := s.Create(context.Background(), name, []byte(value)); err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
}

func wantValue(t *testing.T, s kms.Store, name, want string) {
	t.Helper()
	if got, err := s.Get(context.Background(), name); err != nil || string(got) != want {
		t.Errorf("Get(%q) = %.80q, %v; want %.80q", name, got, err, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func testCreateGet(t *testing.T, s kms.Store) {
	for _, name := range []string{"a", "key-1", "_x", "x_", "A9"} {
		create(t, s, name, "value of "+name)
		wantValue(t, s, name, "value of "+name)
	}
	if _, err := s.Status(context.Background()); err != nil {
		t.Errorf("Status: %v", err)
	}
}

func testNames(t *testing.T, s kms.Store) {
	names := []string{
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ-_0123456789", "abcdefghijklmnopqrstuvwxyz_-0123456789",
		strings.Repeat("n", kms.MaxKeyNameSize), strings.Repeat("N", kms.MaxKeyNameSize), strings.Repeat("_", kms.MaxKeyNameSize),
		"0", "__", "a--b", "CON", "nul", "index", "tmp", "LOCK",
	}
	for _, name := range names {
		create(t, s, name, "value of "+name)
	}
	for _, name := range names {
		wantValue(t, s, name, "value of "+name)
	}
	slices.Sort(names)
	if got, err := s.List(context.Background(), ""); err != nil || !slices.Equal(got, names) {
		t.Errorf("List = %q, %v; want %q", got, err, names)
	}
}

func testCase(t *testing.T, s kms.Store) {
	create(t, s, "Key", "upper")
	create(t, s, "key", "lower")
	wantValue(t, s, "Key", "upper")
	wantValue(t, s, "key", "lower")
	if err := s.Delete(context.Background(), "Key"); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "key", "lower")
	if got, err := s.List(context.Background(), "K"); err != nil || len(got) != 0 {
		t.Errorf("List of a prefix in another case = %q, %v", got, err)
	}
}

func testMissing(t *testing.T, s kms.Store) {
	_, err := s.Get(context.Background(), "missing")
	wantErr(t, "Get", err, kms.ErrKeyNotFound)
	wantErr(t, "Delete", s.Delete(context.Background(), "missing"), kms.ErrKeyNotFound)
	if names, err := s.List(context.Background(), ""); err != nil || len(names) != 0 {
		t.Errorf("List of an empty store: %v, %v", names, err)
	}
}

func testExists(t *testing.T, s kms.Store) {
	create(t, s, "key", "first")
	wantErr(t, "second Create", s.Create(context.Background(), "key", []byte("second")), kms.ErrKeyExists)
	wantValue(t, s, "key", "first")
}

func testDelete(t *testing.T, s kms.Store) {
	create(t, s, "key", "v")
	create(t, s, "other", "w")
	if err := s.Delete(context.Background(), "key"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(context.Background(), "key")
	wantErr(t, "Get after Delete", err, kms.ErrKeyNotFound)
	wantErr(t, "second Delete", s.Delete(context.Background(), "key"), kms.ErrKeyNotFound)
	if names, _ := s.List(context.Background(), ""); !slices.Equal(names, []string{"other"}) {
		t.Errorf("List after Delete: %v", names)
	}
	wantValue(t, s, "other", "w")
}

func testRivalCreates(t *testing.T, s kms.Store) {
	const rivals = 16
	var winner atomic.Pointer[string]
	var exists atomic.Int64
	var wait sync.WaitGroup
	for i := range rivals {
		wait.Go(func() {
			value := fmt.Sprintf("rival %d", i)
			switch err := s.Create(context.Background(), "contested", []byte(value)); {
			case err == nil:
				if !winner.CompareAndSwap(nil, &value) {
					t.Error("two rivals won")
				}
			case errors.Is(err, kms.ErrKeyExists):
				exists.Add(1)
			default:
				t.Errorf("rival %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	if winner.Load() == nil || exists.Load() != rivals-1 {
		t.Fatalf("%d of %d rivals found the key", exists.Load(), rivals)
	}
	wantValue(t, s, "contested", *winner.Load())
}

func testWholeValues(t *testing.T, s kms.Store) {
	value := strings.Repeat("0123456789abcdef", 150)
	var wait sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		wait.Go(func() {
			for {
				got, err := s.Get(context.Background(), "key")
				if err == nil && string(got) != value || err != nil && !errors.Is(err, kms.ErrKeyNotFound) {
					t.Errorf("Get = %d bytes, %v", len(got), err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	create(t, s, "key", value)
	close(done)
	wait.Wait()
}

func testList(t *testing.T, s kms.Store, count int) {
	const workers = 16
	want := make([]string, count)
	for i := range want {
		want[i] = fmt.Sprintf("list-%04d", i)
	}
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < count; i += workers {
				if err := s.Create(context.Background(), want[i], []byte("v")); err != nil {
					t.Errorf("Create(%q): %v", want[i], err)
					return
				}
			}
		})
	}
	wait.Wait()
	create(t, s, "elsewhere", "v")
	got, err := s.List(context.Background(), "list-")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List: %d names, want %d sorted, each once (%v)", len(got), len(want), err)
	}
	if got, err := s.List(context.Background(), ""); err != nil || len(got) != count+1 {
		t.Errorf("List of all: %d names, %v", len(got), err)
	}
	if got, err := s.List(context.Background(), "list-024"); err != nil || !slices.Equal(got, want[240:250]) {
		t.Errorf("List of a prefix: %v, %v", got, err)
	}
	if got, err := s.List(context.Background(), "list-0240"); err != nil || !slices.Equal(got, want[240:241]) {
		t.Errorf("List of a whole name: %v, %v", got, err)
	}
	if got, err := s.List(context.Background(), "nothing"); err != nil || len(got) != 0 {
		t.Errorf("List of a prefix without keys: %v, %v", got, err)
	}
}

// testLongValues goes far beyond a key record, which has less than 2.5 KiB. A
// store may refuse longer values, but not alter them.
func testLongValues(t *testing.T, s kms.Store) {
	for _, size := range []int{1, 2560, 16 << 10, 64 << 10} {
		name := fmt.Sprintf("long-%d", size)
		value := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		err := s.Create(context.Background(), name, []byte(value))
		switch {
		case err == nil:
			wantValue(t, s, name, value)
		case size <= 2560:
			t.Errorf("Create of %d bytes: %v", size, err)
		default:
			_, err := s.Get(context.Background(), name)
			wantErr(t, "Get of a value that was refused", err, kms.ErrKeyNotFound)
		}
	}
}

func testNotShared(t *testing.T, s kms.Store) {
	value := []byte("value")
	if err := s.Create(context.Background(), "key", value); err != nil {
		t.Fatal(err)
	}
	clear(value)
	got, err := s.Get(context.Background(), "key")
	if err != nil || !bytes.Equal(got, []byte("value")) {
		t.Fatalf("Get after the caller cleared what it had passed: %q, %v", got, err)
	}
	clear(got)
	wantValue(t, s, "key", "value")
}

func testCanceled(t *testing.T, s kms.Store) {
	create(t, s, "key", "v")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	errs := map[string]error{"Create": s.Create(ctx, "never", []byte("v")), "Delete": s.Delete(ctx, "key")}
	_, errs["Get"] = s.Get(ctx, "key")
	_, errs["List"] = s.List(ctx, "")
	_, errs["Status"] = s.Status(ctx)
	for what, err := range errs {
		if err == nil {
			t.Errorf("%s with a canceled context succeeded", what)
		}
		if errors.Is(err, kms.ErrKeyNotFound) || errors.Is(err, kms.ErrKeyExists) {
			t.Errorf("%s with a canceled context says something about the key: %v", what, err)
		}
	}
	_, err := s.Get(context.Background(), "never")
	wantErr(t, "Get of the key of a canceled Create", err, kms.ErrKeyNotFound)
	wantValue(t, s, "key", "v")
}
