package proxy

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"
)

func TestTheEndWaitsForNothingWhereNothingIsPutTogether(t *testing.T) {
	t.Parallel()
	server := serverBefore(t, func(http.ResponseWriter, *http.Request) {})
	var log bytes.Buffer
	server.log = slog.New(slog.NewTextHandler(&log, nil))
	server.End(t.Context())
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

// Who ends a process waits for the batch jobs as long as they run, and no longer than its patience.
func TestTheEndWaitsForBatchJobs(t *testing.T) {
	t.Parallel()
	server := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	patience, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	server.Wait(patience)
	if patience.Err() == nil {
		t.Error("nobody waited for the jobs")
	}
	stop()
	patience, end = context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	server.Wait(patience)
	if patience.Err() != nil {
		t.Error("the jobs have ended, and are waited for")
	}
}
