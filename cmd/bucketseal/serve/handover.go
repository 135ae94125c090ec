package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
)

// envSuccessor is the file descriptor on which a process that was started to take over says
// that it is ready.
const envSuccessor = "BUCKETSEAL_HANDOVER_FD"

// envManaged has the names of those sockets that are a service manager's, with colons between
// them: they count wherever they are, for the process that takes over too.
const envManaged = "BUCKETSEAL_HANDOVER_MANAGED"

const (
	// successorLimit is how long a new process may take until it is ready.
	successorLimit = 2 * time.Minute
	// handOverGrace is how long the old process answers on connections that it has, each
	// answer being the last one of its connection. What is idle all that time is closed.
	handOverGrace = 5 * time.Second
)

// errHandedOver ends a server whose sockets another process serves.
var errHandedOver = errors.New("another process serves now")

// isSuccessor says whether this process was started to take over from another.
func isSuccessor(a *cli.App) bool { return a.Getenv(envSuccessor) != "" }

// takeOver waits until the server is ready, and tells the process before, which serves
// until then. It does nothing where there is none.
func takeOver(ctx context.Context, a *cli.App, server interface{ Ready(context.Context) error }, log *slog.Logger) error {
	if !isSuccessor(a) {
		return nil
	}
	fd, err := strconv.Atoi(a.Getenv(envSuccessor))
	if err != nil || fd < firstSocket {
		return fmt.Errorf("%s: %q is no file descriptor", envSuccessor, a.Getenv(envSuccessor))
	}
	ready := os.NewFile(uintptr(fd), "handover")
	defer func() { _ = ready.Close() }()
	limit, cancel := context.WithTimeout(ctx, successorLimit)
	defer cancel()
	for {
		if err = server.Ready(limit); err == nil {
			break
		}
		select {
		case <-limit.Done():
			return fmt.Errorf("not ready in time; the process before goes on: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if _, err := ready.Write([]byte{'r'}); err != nil {
		return fmt.Errorf("the process before has ended, or waits no more: %w", err)
	}
	log.Info("took over: the process before ends")
	return nil
}

// handOver is what is handed over.
type handOver struct {
	app     *cli.App
	sockets func() []handed
	audit   *build.Audit      // nil for none
	keys    *kmsconfig.Config // nil if that of the keys is not known
	rest    func()            // the sockets are served by the other process from now on
	ended   func()            // the grace is over
	grace   func() time.Duration
	log     *slog.Logger

	over bool // another process serves already
}

// handed is a socket with its name.
type handed struct {
	name     string
	listener net.Listener
}

// try starts the program anew and hands the sockets over, once that is ready. A program
// that fails changes nothing. Once one has taken over, there is nothing left to hand over.
func (h *handOver) try(ctx context.Context) {
	if h.over {
		h.log.Info("asked to hand over once more: another process serves already, and this one ends")
		return
	}
	h.log.Info("asked to hand over: starting the program anew")
	began := time.Now()
	pid, err := h.begin(ctx)
	if err != nil {
		h.log.Error("the new process does not take over; this one goes on serving", "error", err)
		return
	}
	h.over = true
	h.rest()
	tellManager(h.app, pid)
	grace := max(h.grace(), handOverGrace)
	h.log.Info("the new process serves; this one answers what it has, and ends", "pid", pid, "after", time.Since(began).Round(time.Millisecond), "grace", grace)
	time.AfterFunc(grace, h.ended)
}

// begin starts the other process. The audit log's file is left to it first, since each file has
// one process that writes; if that does not come, this one takes it back. What can fail without
// that process comes before.
func (h *handOver) begin(ctx context.Context) (pid int, err error) {
	if inMemory(h.keys) {
		return 0, errors.New("the keys are in the memory of this process, and would be lost")
	}
	if h.audit != nil && h.audit.Webhook != nil {
		return 0, errors.New("the queue of audit.webhook is one process's: restart the server instead")
	}
	next, err := h.prepare()
	if err != nil {
		return 0, err
	}
	defer next.close()
	if h.audit == nil {
		return next.start(ctx)
	}
	if err := h.audit.Yield(); err != nil {
		return 0, fmt.Errorf("leave the audit log to it: %w", err)
	}
	if pid, err = next.start(ctx); err != nil {
		h.audit.Resume()
	}
	return pid, err
}

// tellManager tells a service manager that waits for such things (systemd's Type=notify)
// which process the service is from now on.
func tellManager(a *cli.App, pid int) {
	address := a.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second)) // a manager that reads nothing
	_, _ = fmt.Fprintf(conn, "MAINPID=%d\n", pid)
}
