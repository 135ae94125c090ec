package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
)

// Names of sockets that another process hands to this one, as LISTEN_FDNAMES has them.
const (
	socketS3      = "s3"
	socketMetrics = "metrics"
	socketKMS     = "keys"
	socketConsole = "console"
)

// firstSocket is the file descriptor of the first socket that is handed over.
const firstSocket = 3

// sockets are listeners that were handed to this process and not taken yet, by name.
type sockets map[string]passedSocket

// passedSocket is a socket that another process has opened.
type passedSocket struct {
	*net.TCPListener
	// supervised says that a service manager did. Its unit says where, not the configuration.
	supervised bool
}

// managedSocket is a service manager's: whoever takes over from this process has to know.
type managedSocket struct{ *net.TCPListener }

// inheritedSockets returns the listeners that a service manager, or the process before, has
// handed to this one in the way of systemd (sd_listen_fds): LISTEN_FDS says how many there
// are, from file descriptor 3 on, LISTEN_PID for whom they are, LISTEN_FDNAMES how they are
// called: s3, metrics, keys, console. Without names they are these, by their place. Another name is an
// error. There are none where nothing was handed over.
func inheritedSockets(a *cli.App) (sockets, error) {
	all := make(sockets)
	count, err := strconv.Atoi(a.Getenv("LISTEN_FDS"))
	if pid := a.Getenv("LISTEN_PID"); err != nil || count <= 0 || pid != strconv.Itoa(os.Getpid()) && !isSuccessor(a) {
		return all, nil
	}
	known := []string{socketS3, socketMetrics, socketKMS, socketConsole}
	names := strings.Split(a.Getenv("LISTEN_FDNAMES"), ":")
	managed := strings.Split(a.Getenv(envManaged), ":")
	for i := range count {
		name := ""
		switch {
		case i < len(names) && names[i] != "":
			name = names[i]
		case i < len(known):
			name = known[i]
		}
		if !slices.Contains(known, name) { // its clients would wait for ever
			all.close()
			return nil, fmt.Errorf("a socket is handed over under the name %q; FileDescriptorName= must be one of %s", name, strings.Join(known, ", "))
		}
		file := os.NewFile(uintptr(firstSocket+i), name)
		l, err := net.FileListener(file) // a copy, which programs that are started do not get
		_ = file.Close()
		if err != nil {
			all.close()
			return nil, fmt.Errorf("the socket %d (%s) that was handed over: %w", firstSocket+i, name, err)
		}
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			_ = l.Close()
			all.close()
			return nil, fmt.Errorf("the socket %q that was handed over is not TCP; give ListenStream= a port, or an address and a port", name)
		}
		if _, twice := all[name]; twice {
			_ = l.Close()
			all.close()
			return nil, fmt.Errorf("two sockets are handed over under the name %q; [::]:PORT alone takes IPv4 too", name)
		}
		all[name] = passedSocket{tcp, !isSuccessor(a) || slices.Contains(managed, name)}
	}
	return all, nil
}

// listen returns the socket of that name if it was handed over, and else listens at address.
// One of a service manager counts whatever the address is. One of the process before counts
// if it is for this address: the configuration may have moved it.
func (s sockets) listen(ctx context.Context, name, address string) (net.Listener, error) {
	if l, ok := s[name]; ok {
		delete(s, name)
		switch {
		case l.supervised:
			return managedSocket{l.TCPListener}, nil
		case sameAddress(l.Addr().String(), address):
			return l.TCPListener, nil
		}
		_ = l.Close() // the configuration has moved it
	}
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", address)
}

// leave closes what nobody has taken, and warns of it: whoever connects there waits for ever,
// since the service manager still listens.
func (s sockets) leave(log *slog.Logger) {
	settings := map[string]string{socketMetrics: "metrics.address", socketKMS: "kms.address", socketConsole: "console.address"}
	for name, l := range s {
		if l.supervised {
			log.Warn("a socket was handed over and nothing serves it: set its address in the configuration, or disable the unit that holds it",
				"socket", name, "address", l.Addr().String(), "setting", settings[name])
		}
	}
	s.close()
}

// close closes what nobody has taken.
func (s sockets) close() {
	for name, l := range s {
		_ = l.Close()
		delete(s, name)
	}
}

// sameAddress says whether a listener at the address bound is one for address, as it was
// configured.
func sameAddress(bound, address string) bool {
	host, port, err := net.SplitHostPort(bound)
	wantHost, wantPort, err2 := net.SplitHostPort(address)
	if err != nil || err2 != nil || wantPort != "0" && port != wantPort {
		return false
	}
	ip := net.ParseIP(host)
	if wantHost == "" {
		return ip.IsUnspecified()
	}
	if want := net.ParseIP(wantHost); want != nil {
		return want.Equal(ip) || want.IsUnspecified() && ip.IsUnspecified()
	}
	found, err := net.LookupHost(wantHost)
	return err == nil && slices.ContainsFunc(found, func(a string) bool { return net.ParseIP(a).Equal(ip) })
}
