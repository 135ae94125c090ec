package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/sse"
)

// testIdentities knows the configured "root", who administers keys, and "app".
func testIdentities(t *testing.T, rules ...identity.Rule) *identity.Store {
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
	s := &Server{identities: testIdentities(t, identity.Rule{})}
	keys := keyring.New(keyring.Options{Rights: s.identities, DefaultKey: "default", S3Key: "s3"})
	c, err := s.callerWith(t.Context(), "app", "")
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[sse.Mode]string{sse.ModeS3: "AccessDenied", sse.ModeC: "AccessDenied", sse.ModeKMS: "kms:NotAuthorized"} {
		_, open := keys.MayOpen(t.Context(), c.keys(), "bucket", &sse.Record{Mode: mode})
		for what, err := range map[string]error{
			"write": keys.MayWrite(t.Context(), c.keys(), "bucket", &sse.Request{Mode: mode}), "open": open,
		} {
			if answer := asAPIError(err); err == nil || answer.code != want || answer.status != 403 {
				t.Errorf("%s with %v: %v", what, mode, err)
			}
		}
	}
}

func TestUpstreamsRefusalOfTheProxysSignatureIsToldApart(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	s := &Server{identities: testIdentities(t), log: slog.New(slog.NewTextHandler(&log, nil))}
	signed, err := s.callerWith(t.Context(), "app", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		caller caller
		err    error
		stale  bool
	}{
		"another secret":          {signed, &storage.Error{Status: 403, Code: "SignatureDoesNotMatch"}, true},
		"removed":                 {signed, fmt.Errorf("get: %w", &storage.Error{Status: 403, Code: "InvalidAccessKeyId"}), true},
		"a session that is gone":  {signed, &storage.Error{Status: 403, Code: "InvalidTokenId"}, true},
		"a policy's refusal":      {signed, &storage.Error{Status: 403, Code: "AccessDenied"}, false},
		"of the proxy's own":      {signed, fmt.Errorf("%w (%w)", system.ErrOwnCredential, &storage.Error{Status: 403, Code: "InvalidAccessKeyId"}), false},
		"another status":          {signed, &storage.Error{Status: 400, Code: "SignatureDoesNotMatch"}, false},
		"the client's own":        {signed, sigv4.ErrSignatureDoesNotMatch, false},
		"nothing":                 {signed, nil, false},
		"a caller without a name": {caller{}, &storage.Error{Status: 403, Code: "InvalidAccessKeyId"}, false},
	} {
		log.Reset()
		got := s.asStaleCredential(&request{caller: tt.caller}, tt.err)
		if errors.Is(got, errStaleCredential) != tt.stale || !tt.stale && !errors.Is(got, tt.err) {
			t.Errorf("%s: %v", name, got)
		}
		if answer := asAPIError(got); tt.stale && (answer.status != 403 || answer.code != "InvalidAccessKeyId") {
			t.Errorf("%s: %v", name, answer)
		}
		if tt.stale != strings.Contains(log.String(), "correct the secret in the configuration") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
	}
}
