package main

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

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/kms"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/server"
)

func (a *app) kmsCommand() *cobra.Command {
	return group("kms", "Run a key server, check its configuration, move its keys",
		a.kmsServerCommand(),
		group("config", "Check key server configurations", a.kmsConfigCheckCommand()),
		a.kmsMigrateCommand(),
	)
}

func (a *app) kmsServerCommand() *cobra.Command {
	var file, address string
	cmd := &cobra.Command{
		Use:   "server --config kes.yml",
		Short: "Run a key server in KES's place",
		Long: `Serves the API of MinIO KES with KES's configuration file, keys and clients. SIGHUP, and a
change of the file or of the certificates, reads them again without ending a connection; what
cannot be used is logged and changes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*kmsconfig.Config, error) { return a.loadKES(file, address) }
			c, err := load()
			if err != nil {
				return err
			}
			return a.serveKMS(cmd.Context(), c, file, load)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "KES configuration file")
	flags.StringVar(&address, "addr", "", "listen on IP:PORT instead of the file's address")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagFilename("config", "yml", "yaml")
	return cmd
}

// loadKES reads a key server's configuration. A given address takes the place of
// the file's.
func (a *app) loadKES(file, address string) (*kmsconfig.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := kmsconfig.Parse(file, data, a.lookupEnv)
	if err != nil {
		return nil, err
	}
	if address != "" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, usageError{fmt.Errorf("--addr %q is no address; write IP:PORT", address)}
		}
		c.Address = address
	}
	return c, nil
}

// serveKMS runs a key server until ctx ends.
func (a *app) serveKMS(ctx context.Context, c *kmsconfig.Config, file string, load func() (*kmsconfig.Config, error)) error {
	log := kmsLogger(a.stderr, c.Log)
	hup, stop := hangups()
	defer stop()
	protectMemory(log, true)
	store, err := a.openStore(ctx, c.KeyStore, true)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	warnOfStore(store, log)
	keys, err := localKeys(store, c.KeyStore.Section(), c)
	if err != nil {
		return err
	}
	defer keys.Close()
	s, listener, err := a.newKeyServer(ctx, c, keys, false, []string{file}, load)
	if err != nil {
		return err
	}
	b := readBuildInfo()
	log.Info("bucketseal key server", "version", b.Version, "commit", b.Commit, "address", listener.Addr().String(), "keystore", keys.where, "config", file)
	if _, inMemory := c.KeyStore.(*kmsconfig.Mem); inMemory {
		log.Warn("keys are kept in memory only: when this process ends they are lost, and everything sealed under them")
	}
	return runKeyServer(ctx, s, listener, hup, log)
}

// newKeyServer listens at c's address and serves keys there, once runKeyServer
// is called. Files named in watch are read again, by load, when they change.
func (a *app) newKeyServer(ctx context.Context, c *kmsconfig.Config, keys kms.Service, proxied bool, watch []string, load func() (*kmsconfig.Config, error)) (*server.Server, net.Listener, error) {
	b := readBuildInfo()
	s, err := server.New(ctx, server.Options{
		Config: c, Service: keys, Proxied: proxied, Load: carefulLoad(c, load, kmsLogger(a.stderr, c.Log)), Watch: watch,
		Connections: keyServerConnections(availableMemory(), openFiles()),
		Version:     b.Version, Commit: b.Commit, ErrorLog: a.stderr, AuditLog: a.stdout.w,
	})
	if err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", c.Address)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: address: %w", c.Name, err)
	}
	return s, listener, nil
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
	go func() {
		for {
			select {
			case <-reloading.Done():
				return
			case <-hup:
				if err := s.Reload(reloading); err != nil && !errors.Is(err, context.Canceled) {
					log.Error("the configuration in force stays", "error", err)
				}
			}
		}
	}()
	return s.Serve(ctx, listener)
}

func kmsLogger(w io.Writer, l kmsconfig.Log) *slog.Logger { return newLog(w, l.Error, l.JSON) }

func (a *app) kmsConfigCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether `bucketseal kms server` would accept a configuration",
		Long:  `Reads a KES configuration and reports everything that is wrong, and every deprecated setting, with its line. No key store is asked.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := a.loadKES(args[0], "")
			if err != nil {
				return err
			}
			for _, w := range c.Warnings {
				fmt.Fprintf(a.stderr, "warning: %s:%d: %s\n", args[0], w.Line, w.Text)
			}
			if err := checkStore(c.KeyStore); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			_, err = fmt.Fprintf(a.stdout, "%s: valid\n", args[0])
			return err
		},
	}
}
