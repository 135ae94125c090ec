package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// lateKeys has no key at first, and has all from the nth question on.
type lateKeys struct {
	kms.Service
	asked, until int
}

func (k *lateKeys) DescribeKey(context.Context, string) (kms.KeyInfo, error) {
	if k.asked++; k.asked < k.until {
		return kms.KeyInfo{}, kms.ErrKeyNotFound
	}
	return kms.KeyInfo{}, nil
}

// Keys that were missing, and are there after all, are no other installation's.
func TestKeysThatCameAreNoStrangers(t *testing.T) {
	t.Parallel()
	minio := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"e"`)
		w.Header().Set("Last-Modified", time.Unix(1, 0).UTC().Format(http.TimeFormat))
		_, _ = io.WriteString(w, "rules")
	}))
	t.Cleanup(minio.Close)
	endpoint, err := url.Parse(minio.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := upstream.New(upstream.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	service, err := client.NewService(upstream.Credential{AccessKey: "a", SecretKey: "s"}, "system")
	if err != nil {
		t.Fatal(err)
	}
	keys := &lateKeys{until: 100}
	s := newSetup(keys, service, nil, slog.New(slog.DiscardHandler))
	if err := s.foreign(t.Context()); !errors.Is(err, system.ErrForeign) || s.admit() == nil {
		t.Fatalf("keys are missing: %v, admitted: %v", err, s.admit())
	}
	keys.asked, keys.until = 0, 2 // there when they are asked for again
	if err := s.foreign(t.Context()); err != nil || s.admit() != nil {
		t.Errorf("keys came meanwhile: %v, admitted: %v", err, s.admit())
	}
}
