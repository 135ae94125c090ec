package main

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
		l := newLog(&log, slog.LevelInfo, json)
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
	h := newHTTPLog(newLog(&log, slog.LevelInfo, false))
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
	newLog(&log, slog.LevelInfo, true).Info("x", "took", 1500*time.Millisecond, slog.Group("g", "in", time.Second))
	if line := log.String(); !strings.Contains(line, `"took_seconds":1.5`) || !strings.Contains(line, `"g":{"in_seconds":1}`) {
		t.Error(line)
	}
	log.Reset()
	newLog(&log, slog.LevelInfo, false).Info("x", "took", 1500*time.Millisecond)
	if line := log.String(); !strings.Contains(line, "took=1.5s") {
		t.Error(line)
	}
}

func TestMistypedCommandsGetASuggestion(t *testing.T) {
	t.Parallel()
	fails(t, 2, `did you mean server?`, nil, "", "sever")
	fails(t, 2, `did you mean create?`, nil, "", "key", "creat", "x")
	fails(t, 2, `did you mean of?`, nil, "", "kes", "tool", "identity", "off")
	fails(t, 2, `unknown command "zzz"; see`, nil, "", "zzz")
	for _, args := range [][]string{{"--version"}, {"-v"}, {"kes", "--version"}} {
		if out := ok(t, nil, "", args...); !strings.HasPrefix(out, "bucketseal ") {
			t.Errorf("%v: %q", args, out)
		}
	}
}
