package intake_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/s3api"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// newIntake is an intake for S3 in front of a MinIO that cannot be reached. It knows the
// configured "root" and "app".
func newIntake(t *testing.T, log *slog.Logger) *intake.Intake {
	t.Helper()
	identities, err := identity.New(identity.Options{
		Objects: struct{ identity.Objects }{}, Ready: func(context.Context) error { return nil },
		Settings: identity.Settings{
			Credentials: map[string]string{"root": "root-secret", "app": "app-secret"}, Access: identity.Access{Unrestricted: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := sigv4.New(sigv4.Options{Credentials: identities})
	if err != nil {
		t.Fatal(err)
	}
	up, err := upstream.New(upstream.Options{Endpoint: &url.URL{Scheme: "http", Host: "127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	return intake.New(intake.Options{
		Verifier: verifier, Identities: identities, Forwarder: up.Forwarder(), MaxHeader: 1 << 20, Own: s3api.Own, Logger: log,
	})
}

// failing is an API whose requests are of one caller and fail with one error.
type failing struct {
	caller intake.Caller
	err    error
	// described is the error that the client is told of.
	described error
	// unnamed is why the address names nothing.
	unnamed error
}

// Name implements intake.Handler.
func (f *failing) Name(r *intake.Request) error {
	r.Bucket, r.Key = "bucket", "key"
	return f.unnamed
}

// Handle implements intake.Handler.
func (f *failing) Handle(_ *intake.Answer, r *intake.Request) error {
	r.Caller = f.caller
	return f.err
}

// Describe implements intake.Handler.
func (f *failing) Describe(err error) *intake.Error {
	f.described = err
	return s3api.Describe(err)
}

// WriteError implements intake.Handler.
func (f *failing) WriteError(w *intake.Answer, _ *intake.Request, e *intake.Error) {
	w.WriteHeader(e.Status)
}

func TestUpstreamsRefusalOfTheProxysSignatureIsToldApart(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	in := newIntake(t, slog.New(slog.NewTextHandler(&log, nil)))
	signed, err := in.CallerWith(t.Context(), "app", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		caller intake.Caller
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
		"a caller without a name": {intake.Caller{}, &storage.Error{Status: 403, Code: "InvalidAccessKeyId"}, false},
	} {
		log.Reset()
		h := &failing{caller: tt.caller, err: tt.err}
		in.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/b/k", nil), false, h)
		got := h.described
		if errors.Is(got, intake.ErrStaleCredential) != tt.stale || !tt.stale && !errors.Is(got, tt.err) {
			t.Errorf("%s: %v", name, got)
		}
		if answer := s3api.Describe(got); tt.stale && (answer.Status != 403 || answer.Code != "InvalidAccessKeyId") {
			t.Errorf("%s: %v", name, answer)
		}
		if tt.stale != strings.Contains(log.String(), "correct the secret in the configuration") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
	}
}

// A request that comes from a bucketseal is refused whatever it asks for, and the log says what
// that was.
func TestARequestFromABucketsealIsNamedAndRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mark    string
		unnamed error
		want    error
	}{
		"from a bucketseal":                {"1", nil, intake.ErrLoop},
		"from a bucketseal, about nothing": {"1", intake.ErrMalformedPath, intake.ErrLoop},
		"from a client, about nothing":     {"", intake.ErrMalformedPath, intake.ErrMalformedPath},
		"from a client":                    {"", nil, intake.ErrNotOffered},
	} {
		var log strings.Builder
		in := newIntake(t, slog.New(slog.NewTextHandler(&log, nil)))
		r := httptest.NewRequest(http.MethodGet, "/bucket/key", nil)
		if tt.mark != "" {
			r.Header.Set(upstream.HopHeader, tt.mark)
		}
		h := &failing{err: intake.ErrNotOffered, unnamed: tt.unnamed}
		in.Serve(httptest.NewRecorder(), r, false, h)
		if !errors.Is(h.described, tt.want) || !strings.Contains(log.String(), "bucket=bucket key=key") {
			t.Errorf("%s: %v\n%s", name, h.described, log.String())
		}
	}
}
