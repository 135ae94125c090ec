package server_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
)

// accounts is a required audit log in memory.
type accounts struct {
	mu     sync.Mutex
	events []audit.Event
	full   bool
}

func (a *accounts) Record(_ context.Context, e *audit.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full {
		return audit.ErrUnavailable
	}
	a.events = append(a.events, *e)
	return nil
}

func (a *accounts) Start(e *audit.Event) func() error {
	err := a.Record(context.Background(), e)
	return func() error { return err }
}

func (a *accounts) Note(e *audit.Event) { _ = a.Record(context.Background(), e) }
func (a *accounts) Required() bool      { return true }

// about are the lines about an operation and a key.
func (a *accounts) about(operation, key string) (found []audit.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Operation == operation && e.KMSKey == key {
			found = append(found, e)
		}
	}
	return found
}

func TestEveryRequestHasItsLine(t *testing.T) {
	t.Parallel()
	log := &accounts{}
	k := start(t, func(_ *kit, _ *config.Config, o *server.Options) { o.Audit = log })
	k.do(k.asKey(k.admin), "PUT", "/v1/key/create/audited", "")
	k.do(k.asKey(k.user), "DELETE", "/v1/key/delete/audited", "")
	k.do(k.asKey(k.admin), "PUT", "/v1/key/generate/audited", `{"context":"c2VjcmV0LW5hbWU="}`)
	end := time.Now().Add(5 * time.Second) // the last line follows the answer
	for len(log.about("kes:key/generate", "audited")) < 2 && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	for _, tt := range []struct {
		operation string
		kinds     []audit.Kind
		outcome   string
		who       string
	}{
		{"kes:key/create", []audit.Kind{audit.Intent, audit.Request}, audit.OK, k.admin.Identity().String()},
		{"kes:key/delete", []audit.Kind{audit.Request}, audit.Refused, k.user.Identity().String()},
		{"kes:key/generate", []audit.Kind{audit.Intent, audit.Request}, audit.OK, k.admin.Identity().String()},
	} {
		lines := log.about(tt.operation, "audited")
		if len(lines) != len(tt.kinds) {
			t.Errorf("%s: %+v", tt.operation, lines)
			continue
		}
		for i, e := range lines {
			if e.Kind != tt.kinds[i] || e.AccessKey != tt.who || e.Address != "127.0.0.1" || strings.Contains(e.Object, "secret-name") {
				t.Errorf("%s: %+v", tt.operation, e)
			}
		}
		if e := lines[len(lines)-1]; e.Outcome != tt.outcome || tt.outcome == audit.Refused && e.Reason == "" {
			t.Errorf("%s: %+v", tt.operation, e)
		}
	}

	log.mu.Lock()
	log.full = true
	log.mu.Unlock()
	if a := k.do(k.asKey(k.admin), "DELETE", "/v1/key/delete/audited", ""); a.StatusCode != 503 {
		t.Errorf("the log is full: %d %s", a.StatusCode, a.body)
	}
	log.mu.Lock()
	log.full = false
	log.mu.Unlock()
	if a := k.do(k.asKey(k.admin), "PUT", "/v1/key/generate/audited", ""); a.StatusCode != 200 {
		t.Errorf("the key was deleted, and nobody wrote it down: %d %s", a.StatusCode, a.body)
	}
}
