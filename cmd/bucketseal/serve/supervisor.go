package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// spareTime is what ending may take beside the times that are set, and jobsAtEnd what of it batch
// jobs may take to note how far they are. keyServerEnd is how long a key server may take, whose own
// bound is shorter.
const (
	spareTime    = 20 * time.Second
	jobsAtEnd    = 5 * time.Second
	keyServerEnd = 30 * time.Second
)

// supervisor is told about this process's life, as systemd wants it (sd_notify(3),
// Type=notify). Without one all methods do nothing. Safe for concurrent use.
type supervisor struct {
	socket   string        // "" without a supervisor; "@..." is abstract
	watchdog time.Duration // it ends the process when it hears nothing for so long; 0 never
	log      *slog.Logger
}

// findSupervisor returns the one that started this process, if any.
func findSupervisor(log *slog.Logger) *supervisor {
	s := &supervisor{socket: os.Getenv("NOTIFY_SOCKET"), log: log}
	pid := os.Getenv("WATCHDOG_PID")
	if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		s.watchdog = time.Duration(us) * time.Microsecond
	}
	return s
}

// serving says that the server serves, and goes on saying that it lives until stop is
// called. When ctx ends it says that the server is ending, and for how long that may take.
func (s *supervisor) serving(ctx context.Context, ending time.Duration) (stop func()) {
	if s.socket == "" {
		return func() {}
	}
	s.tell("READY=1\nSTATUS=serving")
	unhook := context.AfterFunc(ctx, func() {
		s.tell(fmt.Sprintf("STOPPING=1\nSTATUS=ending: running transfers may finish\nEXTEND_TIMEOUT_USEC=%d", ending.Microseconds()))
	})
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	if s.watchdog > 0 {
		go s.live(living)
	}
	return func() { unhook(); end() }
}

// live feeds the watchdog, twice as often as it wants it.
func (s *supervisor) live(ctx context.Context) {
	tick := time.NewTicker(s.watchdog / 2)
	defer tick.Stop()
	for {
		s.tell("WATCHDOG=1")
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// onHangup calls reload for each SIGHUP until ctx ends, and says so.
func (s *supervisor) onHangup(ctx context.Context, hup <-chan os.Signal, reload func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			s.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", monotonic().Microseconds()))
			reload()
			s.tell("READY=1")
		}
	}
}

// tell sends assignments, one a line. A supervisor that does not listen keeps nothing
// from going on.
func (s *supervisor) tell(assignments string) {
	if s.socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err == nil {
		defer func() { _ = conn.Close() }()
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, err = conn.Write([]byte(assignments))
	}
	if err != nil {
		s.log.Warn("cannot tell the supervisor (NOTIFY_SOCKET)", "error", err)
	}
}
