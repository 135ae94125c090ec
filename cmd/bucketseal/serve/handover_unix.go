//go:build unix

package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// handOverSignals returns where each SIGUSR2 from now on waits to be obeyed.
func handOverSignals() (asked <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR2)
	return c, func() { signal.Stop(c) }
}

// follow hands over whenever that is asked for, until ctx ends.
func (h *handOver) follow(ctx context.Context, asked <-chan os.Signal) {
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
				h.try(ctx)
			}
		}
	}()
}

// successor is the process that shall take over, before it is started. close must be called.
type successor struct {
	program string
	env     []string
	// files are its file descriptors: from firstSocket on the sockets, and at last the end of a
	// pipe on which it says that it is ready.
	files []uintptr
	ready *os.File // the other end
}

// prepare gets all that the program needs that is started anew: copies of the sockets.
func (h *handOver) prepare() (_ *successor, err error) {
	if os.Getpid() == 1 {
		return nil, errors.New("this is process 1 of a container, which ends with it: start another container instead")
	}
	s := &successor{files: []uintptr{0, 1, 2}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.program, err = os.Executable(); err != nil {
		return nil, err
	}
	var names, managed []string
	for _, of := range h.sockets() {
		fd, err := duplicate(of.listener)
		if err != nil {
			return nil, fmt.Errorf("socket %s: %w", of.name, err)
		}
		s.files, names = append(s.files, uintptr(fd)), append(names, of.name)
		if _, is := of.listener.(managedSocket); is {
			managed = append(managed, of.name)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s.ready = r
	ready, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, uintptr(ready))
	env := slices.DeleteFunc(slices.Clone(h.app.Environ), func(e string) bool {
		// The watchdog is fed by who serves: without a pid, that is the new process.
		return strings.HasPrefix(e, "LISTEN_") || strings.HasPrefix(e, envSuccessor+"=") || strings.HasPrefix(e, envManaged+"=") || strings.HasPrefix(e, "WATCHDOG_PID=")
	})
	s.env = append(env, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"),
		envSuccessor+"="+strconv.Itoa(len(s.files)-1), envManaged+"="+strings.Join(managed, ":"))
	return s, nil
}

// start starts the process, and returns its id once it is ready. It ends a process that is not.
func (s *successor) start(ctx context.Context) (pid int, err error) {
	if pid, err = syscall.ForkExec(s.program, os.Args, &syscall.ProcAttr{Env: s.env, Files: s.files}); err != nil {
		return 0, fmt.Errorf("%s: %w", s.program, err)
	}
	s.closeFiles() // the process has its own: the pipe ends with it
	return pid, await(ctx, pid, s.ready)
}

// close closes what this process has for it.
func (s *successor) close() {
	s.closeFiles()
	if s.ready != nil {
		_ = s.ready.Close()
	}
}

func (s *successor) closeFiles() {
	for _, fd := range s.files[firstSocket:] {
		_ = unix.Close(int(fd))
	}
	s.files = s.files[:firstSocket]
}

// await waits until the process says that it is ready.
func await(ctx context.Context, pid int, r *os.File) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		state, err := process.Wait()
		if err == nil {
			err = fmt.Errorf("it ended: %s", state)
		}
		ended <- err
	}()
	_ = r.SetReadDeadline(time.Now().Add(successorLimit + 5*time.Second))
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) }) // this process is asked to end
	defer stop()
	if n, err := r.Read(make([]byte, 1)); n == 1 && err == nil {
		return nil
	}
	_ = process.Kill()
	return <-ended
}

// duplicate returns a copy of a listener's file descriptor. Unlike net's File it leaves
// the socket as it is, which does not block.
func duplicate(l any) (fd int, err error) {
	c, ok := l.(syscall.Conn)
	if !ok {
		return 0, fmt.Errorf("a listener of type %T has none", l)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(failed, err)
}
