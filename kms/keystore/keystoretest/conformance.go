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
	"testing"

	"github.com/bucketseal/bucketseal/kms"
)

// Run tests a kind of store. open returns a new, empty store each time.
func Run(t *testing.T, open func(t *testing.T) kms.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, kms.Store){
		"WhatWasCreatedIsRead":            testCreateGet,
		"MissingKeysAreNotFound":          testMissing,
		"ExistingKeyIsNotOverwritten":     testExists,
		"DeletedKeyIsGone":                testDelete,
		"OfRivalCreatesOneWins":           testRivals,
		"ListIsSortedAndCompleteAndOnce":  testList,
		"NamesThatDifferInCaseAreTwoKeys": testCase,
		"LongValuesAreUnchanged":          testLongValue,
		"CanceledContextIsObeyed":         testCanceled,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { _ = s.Close() })
			test(t, s)
		})
	}
}

func create(t *testing.T, s kms.Store, name, value string) {
	t.Helper()
	if err := s.Create(context.Background(), name, []byte(value)); err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
}

func testCreateGet(t *testing.T, s kms.Store) {
	for _, name := range []string{"a", "key-1", "_x", "x_", "A9", strings.Repeat("n", 80)} {
		create(t, s, name, "value of "+name)
		got, err := s.Get(context.Background(), name)
		if err != nil || string(got) != "value of "+name {
			t.Errorf("Get(%q) = %q, %v", name, got, err)
		}
	}
	if _, err := s.Status(context.Background()); err != nil {
		t.Errorf("Status: %v", err)
	}
}

func testMissing(t *testing.T, s kms.Store) {
	if _, err := s.Get(context.Background(), "missing"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("Get: %v, want ErrKeyNotFound", err)
	}
	if err := s.Delete(context.Background(), "missing"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("Delete: %v, want ErrKeyNotFound", err)
	}
	if names, err := s.List(context.Background(), ""); err != nil || len(names) != 0 {
		t.Errorf("List of an empty store: %v, %v", names, err)
	}
}

func testExists(t *testing.T, s kms.Store) {
	create(t, s, "key", "first")
	if err := s.Create(context.Background(), "key", []byte("second")); !errors.Is(err, kms.ErrKeyExists) {
		t.Errorf("second Create: %v, want ErrKeyExists", err)
	}
	if got, _ := s.Get(context.Background(), "key"); string(got) != "first" {
		t.Errorf("the first value became %q", got)
	}
}

func testDelete(t *testing.T, s kms.Store) {
	create(t, s, "key", "v")
	create(t, s, "other", "w")
	if err := s.Delete(context.Background(), "key"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(context.Background(), "key"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("Get after Delete: %v", err)
	}
	if names, _ := s.List(context.Background(), ""); !slices.Equal(names, []string{"other"}) {
		t.Errorf("List after Delete: %v", names)
	}
}

func testRivals(t *testing.T, s kms.Store) {
	const rivals = 16
	var wins, exists int
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range rivals {
		wait.Go(func() {
			err := s.Create(context.Background(), "contested", fmt.Appendf(nil, "rival %d", i))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				wins++
			case errors.Is(err, kms.ErrKeyExists):
				exists++
			default:
				t.Errorf("rival %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	if wins != 1 || wins+exists != rivals {
		t.Errorf("%d of %d rivals won, %d found the key", wins, rivals, exists)
	}
}

func testList(t *testing.T, s kms.Store) {
	const count = 250
	var want []string
	for i := range count {
		name := fmt.Sprintf("list-%03d", i)
		want = append(want, name)
		create(t, s, name, "v")
	}
	create(t, s, "elsewhere", "v")
	got, err := s.List(context.Background(), "list-")
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List: %d names, want %d sorted, each once (%v)", len(got), len(want), err)
	}
	if got, _ := s.List(context.Background(), "list-24"); len(got) != 10 {
		t.Errorf("List of a prefix: %v", got)
	}
	if got, err := s.List(context.Background(), "nothing"); err != nil || len(got) != 0 {
		t.Errorf("List of a prefix without keys: %v, %v", got, err)
	}
}

func testCase(t *testing.T, s kms.Store) {
	create(t, s, "Key", "upper")
	create(t, s, "key", "lower")
	for name, want := range map[string]string{"Key": "upper", "key": "lower"} {
		if got, err := s.Get(context.Background(), name); err != nil || string(got) != want {
			t.Errorf("Get(%q) = %q, %v", name, got, err)
		}
	}
}

func testLongValue(t *testing.T, s kms.Store) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 160) // 2.5 KiB: a key record is a fraction
	create(t, s, "long", string(value))
	if got, err := s.Get(context.Background(), "long"); err != nil || !bytes.Equal(got, value) {
		t.Errorf("Get: %d bytes, %v", len(got), err)
	}
}

func testCanceled(t *testing.T, s kms.Store) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Create(ctx, "never", []byte("v")); err == nil {
		t.Error("Create with a canceled context succeeded")
	}
	if _, err := s.Get(context.Background(), "never"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("the key of a canceled Create: %v", err)
	}
}
