package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/logs"
	"github.com/bucketseal/bucketseal/kms"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
	"github.com/bucketseal/bucketseal/proxy/certs"
)

// KeyServer runs a key server until ctx ends.
func KeyServer(ctx context.Context, a *cli.App, c *kmsconfig.Config, file string, load func() (*kmsconfig.Config, error)) error {
	log := kmsLogger(a.Stderr, c.Log)
	hup, stop := hangups()
	defer stop()
	asked, stopAsking := handOverSignals() // from the start, as a SIGHUP
	defer stopAsking()
	protectMemory(log, true)
	store, err := build.OpenStore(ctx, a, c.KeyStore, true)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	build.WarnOfStore(store, log)
	keys, err := build.LocalKeys(store, c.KeyStore.Section(), c)
	if err != nil {
		return err
	}
	defer keys.Close()
	audited, stopAudit, err := openKMSAudit(c, keys, log)
	if err != nil {
		return err
	}
	defer stopAudit()
	inherited, err := inheritedSockets(a)
	if err != nil {
		return err
	}
	defer inherited.close()
	if audited != nil {
		keys.Audit = audited
	}
	tracer, endTraces, err := traceRequests(c.Tracing, certs.NewWatcher(log), nil, log)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	defer endTraces()
	if tracer != nil {
		keys.Tracer = tracer
	}
	s, listener, err := newKeyServer(ctx, a, c, keys, inherited, false, []string{file}, load)
	if err != nil {
		return err
	}
	inherited.close()
	b := cli.ReadBuildInfo()
	log.Info("bucketseal key server", "version", b.Version, "commit", b.Commit, "fips", b.FIPS, "address", listener.Addr().String(), "keystore", keys.Where, "config", file)
	if inMemory(c) {
		log.Warn("keys are kept in memory only: when this process ends they are lost, and everything sealed under them")
	}
	tender, err := keys.Tender(log)
	if err != nil {
		return err
	}
	tending, stopTending := context.WithCancel(ctx)
	defer stopTending()
	go tender.Run(tending)
	if err := takeOver(ctx, a, readyKeys{keys}, log); err != nil {
		return err
	}
	defer findSupervisor(log).serving(ctx, keyServerEnd)()
	serving, ended := context.WithCancel(ctx)
	defer ended()
	h := &handOver{
		app: a, log: log, audit: audited, keys: c, rest: listener.rest, ended: ended, grace: func() time.Duration { return handOverGrace },
		sockets: func() []handed { return []handed{{socketKMS, listener.Listener}} },
	}
	h.follow(serving, asked)
	return runKeyServer(serving, s, listener, hup, log)
}

// readyKeys says whether a key service answers.
type readyKeys struct{ kms.Service }

// Ready returns nil if it does.
func (k readyKeys) Ready(ctx context.Context) error {
	_, err := k.Status(ctx)
	return err
}

// inMemory says whether the keys end with the process.
func inMemory(c *kmsconfig.Config) bool {
	if c == nil {
		return false
	}
	_, in := c.KeyStore.(*kmsconfig.Mem)
	return in
}

// newKeyServer listens at c's address and serves keys there, once runKeyServer
// is called. Files named in watch are read again, by load, when they change.
func newKeyServer(ctx context.Context, a *cli.App, c *kmsconfig.Config, keys *build.Keys, inherited sockets, proxied bool, watch []string, load func() (*kmsconfig.Config, error)) (*server.Server, *restListener, error) {
	b := cli.ReadBuildInfo()
	s, err := server.New(ctx, server.Options{
		Config: c, Service: keys, Proxied: proxied, Load: carefulLoad(c, load, kmsLogger(a.Stderr, c.Log)), Watch: watch,
		Connections: keyServerConnections(availableMemory(), openFiles()),
		Version:     b.Version, Commit: b.Commit, ErrorLog: a.Stderr, AuditLog: a.Stdout.Writer(), Audit: keys.Audit, Tracer: keys.Tracer,
	})
	if err != nil {
		return nil, nil, err
	}
	listener, err := inherited.listen(ctx, socketKMS, c.Address)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: address: %w", c.Name, err)
	}
	return s, newRestListener(listener), nil
}

// keyServerConnections are as many as fit, each at its worst, into a quarter of the
// memory (and into the files that may be open), those of strangers into a sixteenth.
func keyServerConnections(memory, files int64) server.Connections {
	return server.Connections{
		Most:      int(max(64, min(memory/4/server.ConnectionMemory, files/4, server.DefaultConnections))),
		Strangers: int(max(32, min(memory/16/server.StrangerMemory, server.DefaultStrangers))),
	}
}

// hangups delivers SIGHUP, which would end the process otherwise, until stop is
// called.
func hangups() (hup <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// runKeyServer serves until ctx ends. What hup gives makes it read the
// configuration again.
func runKeyServer(ctx context.Context, s *server.Server, listener net.Listener, hup <-chan os.Signal, log *slog.Logger) error {
	reloading, stop := context.WithCancel(ctx)
	defer stop()
	go findSupervisor(log).onHangup(reloading, hup, func() {
		if err := s.Reload(reloading); err != nil && !errors.Is(err, context.Canceled) {
			log.Error("the configuration in force stays", "error", err)
		}
	})
	return s.Serve(ctx, listener)
}

func kmsLogger(w io.Writer, l kmsconfig.Log) *slog.Logger { return logs.New(w, l.Error, l.JSON) }
