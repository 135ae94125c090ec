package integration

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// supervised is a proxy under a supervisor as systemd is one: the supervisor holds the
// socket, and is told how the server is.
type supervised struct {
	address string
	socket  *os.File
	notify  *net.UnixConn
	env     []string
	args    []string
	log     string
}

// start starts the server and waits until it says that it serves.
func (s *supervised) start(t *testing.T) *exec.Cmd {
	t.Helper()
	// The shell is replaced by the server, which so has the number that the shell knows.
	cmd := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, s.args...)...)
	cmd.Env = append([]string{"LISTEN_FDS=1", "LISTEN_FDNAMES=s3", "NOTIFY_SOCKET=" + s.notify.LocalAddr().String(), "WATCHDOG_USEC=200000"}, s.env...)
	cmd.ExtraFiles = []*os.File{s.socket}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	go func() { // see startProcess
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-t.Context().Done()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	s.hears(t, "READY=1")
	return cmd
}

// hears waits for one assignment.
func (s *supervised) hears(t *testing.T, want string) {
	t.Helper()
	buf := make([]byte, 4096)
	for {
		_ = s.notify.SetReadDeadline(time.Now().Add(startLimit))
		n, err := s.notify.Read(buf)
		if err != nil {
			log, _ := os.ReadFile(s.log)
			t.Fatalf("%s was not heard: %v\n%s", want, err, log)
		}
		if strings.Contains("\n"+string(buf[:n]), "\n"+want) {
			return
		}
	}
}

// A supervisor that holds the socket restarts the server, and no client is refused.
// Secrets come as credentials of the service.
func TestARestartUnderASupervisorRefusesNobody(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	bucket := newBucket(t, s.client())
	s.client().put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	s.seal.kill()

	v := superviseSeal(t, s)
	server := v.start(t)

	v.hears(t, "WATCHDOG=1")
	stop := make(chan struct{})
	var failed sync.Map
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			// A connection each, so that each needs the socket.
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := client.Get("http://" + v.address + "/minio/health/live")
				if err != nil {
					failed.Store(err.Error(), true)
					continue
				}
				resp.Body.Close()
			}
		})
	}
	for range 3 {
		_ = server.Process.Signal(syscall.SIGHUP)
		v.hears(t, "RELOADING=1")
		v.hears(t, "READY=1")
		_ = server.Process.Signal(syscall.SIGTERM)
		v.hears(t, "STOPPING=1")
		if err := server.Wait(); err != nil {
			t.Error(err)
		}
		time.Sleep(100 * time.Millisecond) // nobody serves
		server = v.start(t)
	}
	close(stop)
	clients.Wait()
	failed.Range(func(text, _ any) bool { t.Errorf("a client failed: %v", text); return true })
	_ = server.Process.Signal(syscall.SIGTERM)
	_ = server.Wait()

	// A socket that nobody would serve is named, and not left with its clients waiting.
	limit, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	cmd := exec.CommandContext(limit, "/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, v.args...)...)
	cmd.Env = append([]string{"LISTEN_FDS=1", "LISTEN_FDNAMES=bucketseal.socket"}, v.env...)
	cmd.ExtraFiles = []*os.File{v.socket}
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "FileDescriptorName=") {
		t.Errorf("%v: %s", err, out)
	}
}

// A server that hands over leaves the supervisor's socket where it is, whatever address the
// configuration has: the process after it, and the one after that, serve there.
func TestAHandOverUnderASupervisorKeepsItsSocket(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	s.seal.kill()
	v := superviseSeal(t, s)
	pid := v.start(t).Process.Pid
	go func() { // as a supervisor listens
		for {
			if _, err := v.notify.Read(make([]byte, 4096)); errors.Is(err, net.ErrClosed) {
				return
			}
			_ = v.notify.SetReadDeadline(time.Time{})
		}
	}()
	for round := range 2 {
		if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		var successor []string
		for deadline := time.Now().Add(startLimit); len(successor) == 0 || len(successor[0]) == 0; time.Sleep(50 * time.Millisecond) {
			log := string(readFile(t, v.log))
			if all := handedTo.FindAllStringSubmatch(log, -1); len(all) > round {
				successor = all[round][1:]
			} else if time.Now().After(deadline) {
				t.Fatalf("not handed over:\n%s", log)
			}
		}
		pid, _ = strconv.Atoi(successor[0])
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
		resp, err := client.Get("http://" + v.address + "/minio/health/live")
		if err != nil {
			t.Fatalf("hand-over %d: %v", round+1, err)
		}
		_ = resp.Body.Close()
	}
}

// superviseSeal returns how a proxy like s's starts under a supervisor.
func superviseSeal(t *testing.T, s *stack) *supervised {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // the copy stays
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	dir := t.TempDir()
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	credentials := filepath.Join(dir, "credentials")
	if err := os.Mkdir(credentials, 0o700); err != nil {
		t.Fatal(err)
	}
	v := &supervised{address: listener.Addr().String(), socket: socket, notify: notify, log: filepath.Join(dir, "seal.log")}
	if err := os.WriteFile(filepath.Join(credentials, "BUCKETSEAL_ROOT_PASSWORD"), []byte(rootPassword+"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	v.env = baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "CREDENTIALS_DIRECTORY="+credentials)
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	// The passed socket counts, and not this address, at which nobody may listen.
	v.args = append([]string{program, "server", "--address", "192.0.2.1:1", "--upstream", s.seal.upstream, "--data-dir", s.seal.dataDir}, s.seal.args...)
	return v
}
