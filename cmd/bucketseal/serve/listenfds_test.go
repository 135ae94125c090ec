package serve

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
)

func TestASocketIsTakenForTheAddressThatIsConfigured(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bound, address string
		want           bool
	}{
		{"[::]:8080", ":8080", true},
		{"0.0.0.0:8080", ":8080", true},
		{"[::]:8080", "0.0.0.0:8080", true},
		{"127.0.0.1:8080", "127.0.0.1:8080", true},
		{"127.0.0.1:8080", "localhost:8080", true},
		{"127.0.0.1:41234", "127.0.0.1:0", true},
		{"127.0.0.1:8080", ":8080", false},
		{"[::]:8080", ":8081", false},
		{"127.0.0.1:8080", "127.0.0.2:8080", false},
	} {
		if sameAddress(test.bound, test.address) != test.want {
			t.Errorf("%s for %s: %v", test.bound, test.address, !test.want)
		}
	}
}

// Sockets for another process are not this one's: what is file descriptor 3 here is not one.
func TestSocketsOfAnotherProcessAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{nil, {"LISTEN_FDS=1", "LISTEN_PID=1"}, {"LISTEN_FDS=1"}, {"LISTEN_FDS=x", "LISTEN_PID=1"}} {
		all, err := inheritedSockets(cli.New(strings.NewReader(""), io.Discard, io.Discard, environ))
		if err != nil || len(all) > 0 {
			t.Errorf("%v: %v, %v", environ, all, err)
		}
	}
}

// A socket unit for something that is not configured would have its clients wait for ever.
func TestASocketThatNothingServesIsNamed(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	all := sockets{
		socketConsole: {listenerOn(t, "127.0.0.1:0"), true}, socketMetrics: {listenerOn(t, "127.0.0.1:0"), false}, // the process before had it
	}
	all.leave(slog.New(slog.NewTextHandler(&text, nil)))
	if got := text.String(); len(all) > 0 || strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "socket=console") || !strings.Contains(got, "setting=console.address") {
		t.Errorf("%d left, and %s", len(all), got)
	}
}

// Where the console listens is checked also when not the configuration says where.
func TestAConsoleSocketWithoutTLSIsForThisMachine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		address string
		allowed bool // by TLS, or by the configuration
		fine    bool
	}{
		{"127.0.0.1:0", false, true},
		{"0.0.0.0:0", false, false},
		{"0.0.0.0:0", true, true},
	} {
		if err := guardSecrets(listenerOn(t, test.address).Addr(), test.allowed); (err == nil) != test.fine {
			t.Errorf("%s, allowed %v: %v", test.address, test.allowed, err)
		}
	}
}

func listenerOn(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func TestALogChangesLevelAndFormatWithWhatLoggersHaveAdded(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	l := logs.NewLive(&text, slog.LevelInfo, false)
	log := l.Logger().With("a", 1).WithGroup("g")
	log.Debug("hidden")
	log.Info("one", "b", 2)
	l.Set(slog.LevelDebug, true)
	log.Debug("two", "b", 2)
	if got := text.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "msg=one a=1 g.b=2") || !strings.Contains(got, `"msg":"two","a":1,"g":{"b":2}`) {
		t.Errorf("%s", got)
	}
}
