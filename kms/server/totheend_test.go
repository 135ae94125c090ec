package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/kms/server"
)

// A client that goes away does not cut a deletion off, and neither does the end of the server.
func TestADeletionGoesOnWithoutItsClient(t *testing.T) {
	t.Parallel()
	k := start(t)
	admin := k.asKey(k.admin)
	k.do(admin, "POST", "/v1/key/create/k", "")
	release := k.service.holds()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, k.url+"/v1/key/delete/k", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() {
		resp, err := admin.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		left <- err
	}()
	k.service.held(t, 1)
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stopsAfter(t, k, release)
	if _, err := k.service.Service.DescribeKey(t.Context(), "k"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("the key afterwards: %v", err)
	}
	k.audits.line(t, "/v1/key/delete/k", "deleted key 'k'", "res.code=200")
}

// stopsAfter ends a server, which must wait until release was called.
func stopsAfter(t *testing.T, k *kit, release func()) {
	t.Helper()
	stopped := make(chan error, 1)
	go func() { stopped <- k.stop() }()
	select {
	case err := <-stopped:
		release()
		t.Fatalf("the server ended before the deletion: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	release()
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// One that takes longer than its client is served ends in the log, and before the server.
func TestADeletionGoesOnAfterItsTime(t *testing.T) {
	t.Parallel()
	k := start(t, func(_ *kit, cfg *config.Config, _ *server.Options) {
		cfg.API = map[string]config.Endpoint{"/v1/key/delete/": {Timeout: 50 * time.Millisecond}}
	})
	admin := k.asKey(k.admin)
	k.do(admin, "POST", "/v1/key/create/k", "")
	release := k.service.holds()
	k.expect(k.do(admin, "DELETE", "/v1/key/delete/k", ""), 502, "failed to delete key")
	admin.CloseIdleConnections() // which the end of a server waits for too
	stopsAfter(t, k, release)
	k.errors.line(t, "a request ended after its time", "/v1/key/delete/k")
	if _, err := k.service.Service.DescribeKey(t.Context(), "k"); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Errorf("the key afterwards: %v", err)
	}
}

// undying is a store in which deletions do not come to their end.
type undying struct{ *mem.Store }

func (u undying) Delete(ctx context.Context, name string) error {
	if strings.HasSuffix(name, "@log") {
		return kms.ErrUnavailable
	}
	return u.Store.Delete(ctx, name)
}

// A key that the configuration lists, and that is deleted but not gone, is named.
func TestAListedKeyThatIsHalfDeletedIsNamed(t *testing.T) {
	t.Parallel()
	local, err := kms.NewLocal(kms.LocalOptions{Store: undying{mem.New()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	if err := local.CreateKey(t.Context(), "dead"); err != nil {
		t.Fatal(err)
	}
	if _, err := local.RotateKey(t.Context(), "dead", 0); err != nil {
		t.Fatal(err)
	}
	if err := local.DeleteKey(t.Context(), "dead"); !errors.Is(err, kms.ErrUnavailable) {
		t.Fatalf("it was not cut off: %v", err)
	}
	k := start(t, func(_ *kit, cfg *config.Config, opts *server.Options) {
		cfg.Keys, opts.Service = []string{"fine", "dead"}, local
	})
	k.errors.line(t, "its name is taken", "dead")
	if strings.Contains(k.errors.String(), "fine") {
		t.Errorf("the other key is named too: %s", k.errors.String())
	}
}
