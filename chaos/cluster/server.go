package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// backOff is how long a server that ended by itself stays down, as with any supervisor.
const backOff = time.Second

// Server is one server of the cluster, as a supervisor has it: what ends by itself is started again.
type Server struct {
	// Name is minio-1, proxy-2, kms-1, balancer ...
	Name string
	// Address is where it listens, HOST:PORT.
	Address string
	// Log is the file that has all that it said, in all its lives.
	Log string
	// Drive is the folder that can be full, slow or emptied.
	Drive string
	// Metrics is the URL of a proxy's metrics, Config the file with its settings, and Clock the one that says by
	// how many seconds its clock is wrong.
	Metrics, Config, Clock string

	ready   func(ctx context.Context) error
	command func() *exec.Cmd

	mu     sync.Mutex
	wanted bool
	pid    int
	// group has the process that was started, and those that it hands over to.
	group int
	// ended is closed when the process that pid names has ended.
	ended chan struct{}
	wake  chan struct{}
	exits []string
	// env is added to the environment of the next start.
	env []string
	// binary takes the place of the program at the next start.
	binary string
}

func newServer(name, address, log string) *Server {
	return &Server{Name: name, Address: address, Log: log, wake: make(chan struct{}, 1)}
}

// supervise starts the server whenever it shall run and does not, until ctx ends. Then it is killed.
func (s *Server) supervise(ctx context.Context) {
	// The parent-death signal is tied to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if !wanted {
			select {
			case <-s.wake:
			case <-ctx.Done():
			}
			continue
		}
		if s.live(ctx) {
			select {
			case <-time.After(backOff):
			case <-ctx.Done():
			}
		}
	}
}

// live is one life of the server. It is true if that ended though nobody asked for it.
func (s *Server) live(ctx context.Context) (unasked bool) {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.note(err)
		return true
	}
	defer log.Close()
	s.mu.Lock()
	cmd := s.command()
	cmd.Env = append(cmd.Env, s.env...)
	if s.binary != "" {
		replaceProgram(cmd, s.binary)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.mu.Unlock()
		s.note(err)
		return true
	}
	s.pid, s.group, s.ended = cmd.Process.Pid, cmd.Process.Pid, make(chan struct{})
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { s.signal(syscall.SIGKILL) })
	defer stop()
	err = cmd.Wait()
	for {
		s.mu.Lock()
		if s.pid == cmd.Process.Pid || s.pid == 0 {
			// Who asked for the end waits for ended, and may at once want the server to run again.
			unasked = s.wanted && ctx.Err() == nil
			s.pid = 0
			close(s.ended)
			s.mu.Unlock()
			if unasked {
				s.note(fmt.Errorf("it ended: %v", err)) //nolint:errorlint // nil is an end with status 0
			}
			return unasked
		}
		heir := s.pid
		s.mu.Unlock()
		err = waitFor(heir)
		s.mu.Lock()
		if s.pid == heir {
			s.pid = 0
		}
		s.mu.Unlock()
	}
}

func (s *Server) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exits = append(s.exits, time.Now().UTC().Format(time.RFC3339)+" "+err.Error())
}

// waitFor waits for a process that this one inherited when its parent ended.
func waitFor(pid int) error {
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for %d: %w", pid, err)
		default:
			return fmt.Errorf("the process that took over: exit status %d, signal %v", status.ExitStatus(), status.Signal())
		}
	}
}

// signal sends a signal to the process that serves. SIGKILL is for one that still hands over, too.
func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.pid
	if sig == syscall.SIGKILL {
		to = -s.group
	}
	if s.pid != 0 {
		_ = syscall.Kill(to, sig) // it may have ended this moment
	}
}

// Start has the server run from now on.
func (s *Server) Start() {
	s.mu.Lock()
	s.wanted = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Kill ends the server at once, as a power cut would, and keeps it down until Start.
func (s *Server) Kill() { s.end(syscall.SIGKILL, time.Minute) }

// Terminate asks the server to end and kills it after limit; it stays down until Start.
func (s *Server) Terminate(limit time.Duration) { s.end(syscall.SIGTERM, limit) }

func (s *Server) end(sig syscall.Signal, limit time.Duration) {
	s.mu.Lock()
	s.wanted = false
	pid, ended := s.pid, s.ended
	s.mu.Unlock()
	if pid == 0 {
		return
	}
	s.signal(sig)
	select {
	case <-ended:
	case <-time.After(limit):
		s.signal(syscall.SIGKILL)
		<-ended
	}
}

// Stop halts the process (SIGSTOP), and Continue lets it go on.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Continue ends what Stop began.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// PID is the number of the running process, 0 if there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Exits says when, and how, the server ended though nobody asked for that.
func (s *Server) Exits() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.exits...)
}

// With sets what the environment of the next start has in addition, and what program it is of, if not "".
func (s *Server) With(binary string, env ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.binary, s.env = binary, env
}

var successor = regexp.MustCompile(`the new process serves.* pid=(\d+)`)

// HandOver sends SIGUSR2 and waits until another process has taken over.
func (s *Server) HandOver(ctx context.Context) error {
	before, err := os.Stat(s.Log)
	if err != nil {
		return err
	}
	s.signal(syscall.SIGUSR2)
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: nobody took over: %w", s.Name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
		said, err := since(s.Log, before.Size())
		if err != nil {
			return err
		}
		found := successor.FindSubmatch(said)
		if found == nil {
			continue
		}
		pid, err := strconv.Atoi(string(found[1]))
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.pid != 0 {
			s.pid = pid
		}
		return nil
	}
}

// since is a file's end from an offset on.
func since(path string, offset int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := f.Seek(offset, 0); err != nil {
		return nil, err
	}
	_, err = b.ReadFrom(f)
	return b.Bytes(), err
}

// WaitReady waits until the server says that it is ready.
func (s *Server) WaitReady(ctx context.Context) error {
	err := errors.New("not asked")
	for ctx.Err() == nil {
		asked, cancel := context.WithTimeout(ctx, 3*time.Second)
		err = s.ready(asked)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s is not ready: %w (its log is %s)", s.Name, err, s.Log)
}
