package keyuse_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/audit/keyuse"
	"github.com/bucketseal/bucketseal/audit/sink"
	"github.com/bucketseal/bucketseal/audit/trail"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func newKeys(t *testing.T, names ...string) *kms.Local {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	for _, name := range names {
		if err := service.CreateKey(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	return service
}

// recorded keeps events.
type recorded struct {
	audit.Nothing
	mu     sync.Mutex
	events []audit.Event
}

func (r *recorded) Note(e *audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, *e)
}

func TestEveryUseOfAKeyIsWrittenDown(t *testing.T) {
	t.Parallel()
	r := &recorded{}
	keys := &keyuse.Service{Service: newKeys(t), Recorder: r}
	trace := &audit.Trace{RequestID: "R1"}
	trace.About("alice", "b", "o")
	ctx := audit.WithTrace(t.Context(), trace)
	_ = keys.CreateKey(ctx, "k")
	dek, err := keys.GenerateDEK(ctx, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.RotateKey(t.Context(), "k", 1); err != nil {
		t.Fatal(err)
	}
	_, _ = keys.DecryptDEK(ctx, "k", dek.Ciphertext, nil)
	_, _ = keys.DecryptDEK(ctx, "k", dek.Ciphertext, []byte(`{"a":"b"}`))
	second, _ := keys.GenerateDEK(ctx, "k", nil)
	_, _ = keys.GenerateDEK(ctx, "none", nil)
	_, _ = keys.HMAC(ctx, "k", []byte("m"))
	sealed, _ := keys.Encrypt(ctx, "k", []byte("x"), nil)
	_, _ = keys.Decrypt(ctx, "k", sealed, nil)
	_ = keys.ImportKey(ctx, "i", [32]byte{}, kms.AES256)
	_ = keys.ChangeVersion(ctx, "k", kms.VersionChange{Version: 9})
	_ = keys.DeleteKey(ctx, "k")
	want := []string{
		"kms:CreateKey k ok", "kms:GenerateDEK k ok", "kms:RotateKey k ok", "kms:DecryptDEK k ok", "kms:DecryptDEK k failed", "kms:GenerateDEK k ok",
		"kms:GenerateDEK none failed", "kms:HMAC k ok", "kms:Encrypt k ok", "kms:Decrypt k ok", "kms:ImportKey i ok", "kms:ChangeVersion k failed", "kms:DeleteKey k ok",
	}
	if len(r.events) != len(want) {
		t.Fatalf("%d lines: %+v", len(r.events), r.events)
	}
	for i, e := range r.events {
		if got := e.Operation + " " + e.KMSKey + " " + e.Outcome; got != want[i] || e.Kind != audit.KeyUse || (e.RequestID == "R1") == (e.Operation == "kms:RotateKey") {
			t.Errorf("line %d: %q, %+v", i, got, e)
		}
	}
	if e := r.events[3]; e.KMSVersion != 1 || e.AccessKey != "alice" || e.Bucket != "b" || e.Object != "o" {
		t.Errorf("opened with version 1: %+v", e)
	}
	if e := r.events[5]; e.KMSVersion != 2 || second.KeyVersion != 2 {
		t.Errorf("made with version 2: %+v", e)
	}
}

func TestALogKeepsItsKey(t *testing.T) {
	t.Parallel()
	keys := newKeys(t, "system")
	path := filepath.Join(t.TempDir(), "audit.log")
	var publics []string
	run := func(service kms.Service) {
		file, err := sink.OpenFile(sink.FileOptions{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		log, err := audit.New(audit.Options{Sinks: []audit.Sink{file}, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		keyuse.Sign(ctx, log, service, "system", "default", file.Tail().Sealed, slog.New(slog.DiscardHandler))
		_ = log.Record(ctx, &audit.Event{Kind: audit.Act, Operation: "test"})
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run(keys)
	run(keys)
	open := func(sealed []byte, name string) (*audit.Key, error) {
		key, err := keyuse.Open(t.Context(), keys, name, "default", sealed)
		if err == nil {
			publics = append(publics, string(key.Public()))
		}
		return key, err
	}
	r, err := trail.Verify([]string{path}, trail.Options{Open: open})
	if err != nil || len(r.Findings) > 0 || !r.Authentic || len(publics) != 1 {
		t.Errorf("%v, %+v, %d keys", err, r, len(publics))
	}
	// Another key service, another deployment, another purpose.
	sealed, _ := keyuse.Make(t.Context(), keys, "system", "default")
	if _, err := keyuse.Open(t.Context(), newKeys(t, "system"), "system", "default", sealed.Sealed); !errors.Is(err, trail.ErrWrongKey) {
		t.Errorf("another key service: %v", err)
	}
	if _, err := keyuse.Open(t.Context(), keys, "system", "other", sealed.Sealed); !errors.Is(err, trail.ErrWrongKey) {
		t.Errorf("another deployment: %v", err)
	}
	dek, _ := keys.GenerateDEK(t.Context(), "system", nil)
	if _, err := keyuse.Open(t.Context(), keys, "system", "default", dek.Ciphertext); !errors.Is(err, trail.ErrWrongKey) {
		t.Errorf("a DEK of an object: %v", err)
	}
	// A log that goes on under other keys says so, and is then authentic to nobody alone.
	run(newKeys(t, "system"))
	if r, err := trail.Verify([]string{path}, trail.Options{Open: open}); err != nil || len(r.Findings) == 0 || !strings.Contains(r.Findings[0].Text, "none of this key service") {
		t.Errorf("%v %+v", err, r)
	}
}
