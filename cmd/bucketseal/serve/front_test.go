package serve

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// slowFront serves a handler that sends one byte, waits, and sends another.
func slowFront(t *testing.T, shutdown time.Duration) (address string, end func(), release chan struct{}, ended chan error) {
	t.Helper()
	c, err := config.Parse("f.yml", []byte("address: 127.0.0.1:0\nlimits: {shutdown: "+shutdown.String()+"}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	f, err := newFront(ctx, c, sockets{}, certs.NewWatcher(slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
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
	refused := func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}
	for deadline := time.Now().Add(20 * time.Second); !refused(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain until new connections are refused")
		}
	}
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

// net/http drops a request that it reads after the end began.
func TestAConnectionThatWasTakenBeforeTheEndIsServed(t *testing.T) {
	t.Parallel()
	address, end, release, ended := slowFront(t, time.Minute)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	time.Sleep(50 * time.Millisecond) // until it is taken
	end()
	time.Sleep(100 * time.Millisecond)
	close(release)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") || !strings.HasSuffix(string(answer), "ab") {
		t.Errorf("%q, %v", answer, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
