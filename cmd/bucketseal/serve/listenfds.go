package serve

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Names under which a supervisor passes sockets (FileDescriptorName= of a systemd
// socket unit).
const (
	socketS3      = "s3"
	socketMetrics = "metrics"
	socketKeys    = "keys"
)

// firstPassed is the number of the first descriptor that is passed (sd_listen_fds(3)).
const firstPassed = 3

// listen returns the socket that a supervisor has passed under a name, or listens at
// address if there is none. A passed socket counts whatever the address is, and goes
// on taking connections while no process serves it: a restart refuses none. A name may
// be asked for once. Safe for concurrent use.
//
// Descriptors belong to the process, so this reads the process's own environment.
func listen(ctx context.Context, name, address string) (net.Listener, error) {
	fd, err := passedSocket(name, os.Getpid(), os.Getenv)
	if err != nil {
		return nil, err
	}
	if fd == 0 {
		var lc net.ListenConfig
		return lc.Listen(ctx, "tcp", address)
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close() // the listener has a copy, which no other program inherits
	l, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("the passed socket %q: %w", name, err)
	}
	if _, ok := l.(*net.TCPListener); !ok {
		l.Close()
		return nil, fmt.Errorf("the passed socket %q is not TCP; give ListenStream= a port, or an address and a port", name)
	}
	return l, nil
}

// passedSocket returns the number of the descriptor that was passed to this process
// under a name; 0 if there is none. A socket that nothing would serve is an error:
// its clients would wait for ever.
func passedSocket(name string, pid int, getenv func(string) string) (fd int, err error) {
	if getenv("LISTEN_PID") != strconv.Itoa(pid) {
		return 0, nil
	}
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 0 {
		return 0, fmt.Errorf("LISTEN_FDS is %q, which is no number", getenv("LISTEN_FDS"))
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	if n > 0 && len(names) != n {
		return 0, fmt.Errorf("%d sockets are passed with %d names; each socket unit needs FileDescriptorName=", n, len(names))
	}
	known := []string{socketS3, socketMetrics, socketKeys}
	for i, passed := range names[:n] {
		switch {
		case !slices.Contains(known, passed):
			return 0, fmt.Errorf("a socket is passed under the name %q; FileDescriptorName= must be one of %s", passed, strings.Join(known, ", "))
		case slices.Contains(names[:i], passed):
			return 0, fmt.Errorf("two sockets are passed under the name %q; [::]:PORT alone takes IPv4 too", passed)
		case passed == name:
			fd = firstPassed + i
		}
	}
	return fd, nil
}
