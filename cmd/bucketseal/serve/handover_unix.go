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

// start starts the program anew with the sockets, and returns its process id once it is
// ready. It ends a process that is not.
func (h *handOver) start(ctx context.Context) (pid int, err error) {
	if os.Getpid() == 1 {
		return 0, errors.New("this is process 1 of a container, which ends with it: start another container instead")
	}
	program, err := os.Executable()
	if err != nil {
		return 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	files := []uintptr{0, 1, 2}
	defer func() {
		for _, fd := range files[firstSocket:] {
			_ = unix.Close(int(fd))
		}
	}()
	var names, managed []string
	for _, s := range h.sockets() {
		fd, err := duplicate(s.listener)
		if err != nil {
			_ = w.Close()
			return 0, fmt.Errorf("socket %s: %w", s.name, err)
		}
		files, names = append(files, uintptr(fd)), append(names, s.name)
		if _, is := s.listener.(managedSocket); is {
			managed = append(managed, s.name)
		}
	}
	ready, err := unix.FcntlInt(w.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	_ = w.Close()
	if err != nil {
		return 0, err
	}
	files = append(files, uintptr(ready))
	env := slices.DeleteFunc(slices.Clone(h.app.Environ), func(e string) bool {
		// The watchdog is fed by who serves: without a pid, that is the new process.
		return strings.HasPrefix(e, "LISTEN_") || strings.HasPrefix(e, envSuccessor+"=") || strings.HasPrefix(e, envManaged+"=") || strings.HasPrefix(e, "WATCHDOG_PID=")
	})
	env = append(env, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"),
		envSuccessor+"="+strconv.Itoa(len(files)-1), envManaged+"="+strings.Join(managed, ":"))
	if pid, err = syscall.ForkExec(program, os.Args, &syscall.ProcAttr{Env: env, Files: files}); err != nil {
		return 0, fmt.Errorf("%s: %w", program, err)
	}
	_ = unix.Close(ready)
	files = files[:len(files)-1]
	return pid, await(ctx, pid, r)
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
