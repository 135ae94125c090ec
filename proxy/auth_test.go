package proxy

import (
	"context"
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/sse"
)

// testIdentities knows the configured "root", who administers keys, and "app".
func testIdentities(t *testing.T, rules ...identity.Rule) *identity.Store {
	t.Helper()
	store, err := identity.New(identity.Options{
		Objects: struct{ identity.Objects }{}, Ready: func(context.Context) error { return nil },
		Settings: identity.Settings{
			Credentials: map[string]string{"root": "root-secret", "app": "app-secret"},
			Access:      identity.Access{Rules: rules, KeyAdmins: []string{"root"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestWhoAdministersKeys(t *testing.T) {
	t.Parallel()
	s := &Server{identities: testIdentities(t)}
	for key, want := range map[string]error{"root": nil, "app": kms.ErrNotPermitted} {
		c, err := s.callerWith(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.mayAdministerKeys(c); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := s.mayAdministerKeys(caller{}); !errors.Is(err, kms.ErrNotPermitted) {
		t.Errorf("anonymous: %v", err)
	}
}

func TestRefusedKeysHaveTheModesOwnError(t *testing.T) {
	t.Parallel()
	s := &Server{identities: testIdentities(t, identity.Rule{}), keys: testKeyring(t, "default", "s3", "other")}
	c, err := s.callerWith(t.Context(), "app", "")
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[sse.Mode]string{sse.ModeS3: "AccessDenied", sse.ModeC: "AccessDenied", sse.ModeKMS: "kms:NotAuthorized"} {
		for what, err := range map[string]error{
			"write": s.mayWrite(t.Context(), c, "bucket", &sse.Request{Mode: mode}),
			"open":  s.mayOpen(t.Context(), c, "bucket", &sse.Record{Mode: mode}),
		} {
			if answer := asAPIError(err); err == nil || answer.code != want || answer.status != 403 {
				t.Errorf("%s with %v: %v", what, mode, err)
			}
		}
	}
}
