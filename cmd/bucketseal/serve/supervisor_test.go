package serve

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A supervisor hears in this order that the server serves, lives, reloads and ends.
func TestTheSupervisorHearsOfTheServersLife(t *testing.T) {
	t.Parallel()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	heard, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			_ = heard.SetReadDeadline(time.Now().Add(20 * time.Second))
			n, err := heard.Read(buf)
			if err != nil {
				t.Fatalf("%q was not heard: %v", want, err)
			}
			if text := string(buf[:n]); strings.Contains("\n"+text+"\n", "\n"+want+"\n") {
				return
			} else if text != "WATCHDOG=1" && !strings.HasPrefix(text, "RELOADING=1\nMONOTONIC_USEC=") {
				t.Fatalf("heard %q, want %q", text, want)
			}
		}
	}
	s := &supervisor{socket: address.Name, watchdog: 20 * time.Millisecond, log: slog.New(slog.DiscardHandler)}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	stop := s.serving(ctx, 42*time.Second)
	hears("READY=1")
	hears("WATCHDOG=1")
	hup, reloaded := make(chan os.Signal, 1), make(chan struct{}, 1)
	go s.onHangup(ctx, hup, func() { reloaded <- struct{}{} })
	hup <- syscall.SIGHUP
	hears("READY=1")
	<-reloaded
	end()
	hears("EXTEND_TIMEOUT_USEC=42000000")
	hears("WATCHDOG=1") // while transfers finish, too
	stop()
}

func TestWithoutASupervisorNobodyIsTold(t *testing.T) {
	t.Parallel()
	s := &supervisor{log: slog.New(slog.DiscardHandler)}
	s.serving(t.Context(), time.Second)()
	s.tell("READY=1")
}
