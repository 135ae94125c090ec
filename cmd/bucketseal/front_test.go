package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// hangup sends SIGHUP to this process, in which a server runs that expects it.
func hangup(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// slowFront serves a handler that sends one byte, waits, and sends another.
func slowFront(t *testing.T, shutdown time.Duration) (address string, end func(), release chan struct{}, ended chan error) {
	t.Helper()
	c, err := config.Parse("f.yml", []byte("address: 127.0.0.1:0\nlimits: {shutdown: "+shutdown.String()+"}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{stderr: io.Discard}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	f, err := a.newFront(ctx, c, certs.NewWatcher(slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	release, ended = make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- f.serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = w.Write([]byte("a"))
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = w.Write([]byte("b"))
		}))
	}()
	return f.listener.Addr().String(), cancel, release, ended
}

func TestRunningTransfersFinishWhenTheServerEnds(t *testing.T) {
	t.Parallel()
	address, end, release, ended := slowFront(t, time.Minute)
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	end()
	waitFor(t, "new connections are refused", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-ended:
		t.Fatalf("ended with a transfer running: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "ab" {
		t.Errorf("%q, %v", body, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTransfersThatTakeTooLongAreCutOff(t *testing.T) {
	t.Parallel()
	address, end, release, ended := slowFront(t, 100*time.Millisecond)
	defer close(release)
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client takes %q for complete", body)
	}
}

func TestHandshakeFailuresAreNoErrors(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := newHTTPLog(newLog(&log, slog.LevelInfo, false))
	_, _ = h.Write([]byte("http: TLS handshake error from 127.0.0.1:1: EOF\n"))
	if log.Len() != 0 {
		t.Errorf("%s", log.String())
	}
	_, _ = h.Write([]byte("http: panic serving 127.0.0.1:1\n"))
	if !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%s", log.String())
	}
}
