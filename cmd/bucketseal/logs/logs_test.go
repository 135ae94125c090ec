package logs

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestValuesInTheLogAreCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä\x00", 30_000)
	for _, json := range []bool{false, true} {
		var log bytes.Buffer
		l := New(&log, slog.LevelInfo, json)
		l.Info(long, "key", long, "error", errors.New(long), slog.Group("g", "in", long))
		l.With("caller", long).Info("x", "short", "as it is", "took", time.Second, "none", nil)
		for line := range strings.Lines(log.String()) {
			if len(line) > 16<<10 {
				t.Errorf("json %v: a line of %d bytes", json, len(line))
			}
			if !strings.Contains(line, "... (90000 bytes)") {
				t.Errorf("json %v: nothing says that it was cut: %.200s", json, line)
			}
		}
		if !strings.Contains(log.String(), "as it is") {
			t.Errorf("json %v: %s", json, log.String())
		}
	}
}

func TestWhatTheHTTPServerSaysIsBounded(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := HTTP(New(&log, slog.LevelInfo, false))
	for range 1000 {
		_, _ = h.Write([]byte("http: " + strings.Repeat("a", 30_000)))
	}
	if lines := bytes.Count(log.Bytes(), []byte("\n")); lines != 60 || log.Len() > 60*9<<10 {
		t.Errorf("%d lines of %d bytes", lines, log.Len())
	}
	log.Reset()
	stack := "http: panic serving 127.0.0.1:1: x\n" + strings.Repeat("frame\n", 1000)
	if _, _ = h.Write([]byte(stack)); !strings.Contains(log.String(), strings.Repeat(`frame\n`, 999)) {
		t.Errorf("of a stack this remains: %.300s", log.String())
	}
}

func TestDurationsInJSONHaveAUnit(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	New(&log, slog.LevelInfo, true).Info("x", "took", 1500*time.Millisecond, slog.Group("g", "in", time.Second))
	if line := log.String(); !strings.Contains(line, `"took_seconds":1.5`) || !strings.Contains(line, `"g":{"in_seconds":1}`) {
		t.Error(line)
	}
	log.Reset()
	New(&log, slog.LevelInfo, false).Info("x", "took", 1500*time.Millisecond)
	if line := log.String(); !strings.Contains(line, "took=1.5s") {
		t.Error(line)
	}
}

func TestHandshakeFailuresAreNoErrors(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := HTTP(New(&log, slog.LevelInfo, false))
	_, _ = h.Write([]byte("http: TLS handshake error from 127.0.0.1:1: EOF\n"))
	if log.Len() != 0 {
		t.Errorf("%s", log.String())
	}
	_, _ = h.Write([]byte("http: panic serving 127.0.0.1:1\n"))
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%s", log.String())
	}
}
