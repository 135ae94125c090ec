package proxy

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"
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
