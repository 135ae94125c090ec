package s3api

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/sts"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

// testIdentities knows the configured "root", who administers keys, and "app".
func testIdentities(t testing.TB, rules ...identity.Rule) *identity.Store {
	t.Helper()
	store, err := identity.New(identity.Options{
		Objects: struct{ identity.Objects }{}, Ready: func(context.Context) error { return nil },
		Settings: identity.Settings{
			Credentials: map[string]string{"root": "root-secret", "app": "app-secret"},
			Access:      identity.Access{Unrestricted: rules == nil, Rules: rules, KeyAdmins: []string{"root"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// newAPI is an API over an engine, in front of a MinIO that cannot be reached.
func newAPI(t testing.TB, engine *vault.Vault) *API {
	t.Helper()
	up, err := upstream.New(upstream.Options{Endpoint: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	identities := testIdentities(t)
	verifier, err := sigv4.New(sigv4.Options{Credentials: identities})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	in := intake.New(intake.Options{
		Verifier: verifier, Identities: identities, Forwarder: up.Forwarder(), MaxHeader: 1 << 20, UploadMemory: 64 << 20, Own: Own, Logger: quiet,
	})
	tokens, err := sts.New(in, up.Forwarder())
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{
		Intake: in, Vault: engine, STS: tokens,
		Admit: func(context.Context, storage.Need) error { return nil }, Ours: func() error { return nil },
		SystemBucket: "bucketseal-system", SmallObject: 1 << 20, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
