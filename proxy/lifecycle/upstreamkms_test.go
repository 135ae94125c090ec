package lifecycle

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Buckets with rules at MinIO are named, even if MinIO does not answer about them at first.
func TestRuledBucketsAreNamedInTheEnd(t *testing.T) {
	t.Parallel()
	var lists, rules atomic.Int32
	client, service := serviceBefore(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case r.URL.Path == "/" && lists.Add(1) == 1, r.URL.Query().Has("encryption") && rules.Add(1) == 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/":
			_, _ = io.WriteString(w, "<ListAllMyBucketsResult><Buckets><Bucket><Name>free</Name><CreationDate>2026-01-01T00:00:00Z</CreationDate></Bucket>"+
				"<Bucket><Name>ruled</Name><CreationDate>2026-01-01T00:00:00Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>")
		case r.URL.Query().Has("encryption") && strings.HasPrefix(r.URL.Path, "/free"):
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	var log bytes.Buffer
	u := &UpstreamKMS{Service: service, Upstream: client, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	u.Find(t.Context())
	if !strings.Contains(log.String(), "buckets=1 named=ruled") {
		t.Errorf("after %d lists of buckets and %d rules: %s", lists.Load(), rules.Load(), log.String())
	}
}
