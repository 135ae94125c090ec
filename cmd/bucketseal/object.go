package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/vault"
)

func (a *app) objectCommand() *cobra.Command {
	return group("object", "Look after stored objects", a.objectSweepCommand(), a.objectRescueCommand())
}

func (a *app) objectSweepCommand() *cobra.Command {
	var dryRun, force bool
	var age time.Duration
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Remove what ended uploads and overwritten objects left in the system bucket",
		Long: `Remove what multipart uploads that ended, objects that were overwritten or deleted, and crashed
writes left in the system bucket: notes of uploads and parts, and manifests. MinIO is asked about
each upload and each object first; nothing is removed that one of them still needs, or that is
found for the first time: what a sweep finds is removed by one that finds it again, a day later by
the clocks of MinIO and of this machine. A running server does the same every few hours.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if least := leastAge(force); age < least {
				return usageError{fmt.Errorf("--older-than %v: writes that are under way must not lose what they have; at least %v", age, least)}
			}
			c, err := a.loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckServer(); err != nil {
				return err
			}
			return a.sweep(cmd.Context(), c, age, dryRun)
		},
	}
	configFlags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	cmd.Flags().DurationVar(&age, "older-than", vault.SweepAge, "leave alone what is younger, or was first found later")
	cmd.Flags().BoolVar(&force, "force", false, "allow --older-than below 1h: where nothing writes")
	return cmd
}

func (a *app) sweep(ctx context.Context, c *config.Config, age time.Duration, dryRun bool) error {
	server, done, err := a.openServer(ctx, c)
	if err != nil {
		return err
	}
	defer done()
	removed, skipped := 0, 0
	verb := "removed"
	if dryRun {
		verb = "would remove"
	}
	waiting, err := server.Vault().Sweep(ctx, vault.SweepOptions{
		Age: age, DryRun: dryRun,
		Removed: func(what, name string) {
			removed++
			fmt.Fprintf(a.stdout, "%s %s %q\n", verb, what, name)
		},
		Skipped: func(what, name string, err error) {
			skipped++
			fmt.Fprintf(a.stdout, "skipped %s %q: %v\n", what, name, err)
		},
	})
	fmt.Fprintf(a.stdout, "%s %d, %d wait for a sweep at least %v after they were first found, skipped %d\n", verb, removed, waiting, age, skipped)
	return err
}

// leastAge is the least age of what a sweep may remove.
func leastAge(force bool) time.Duration {
	if force {
		return time.Second
	}
	return time.Hour
}

// openServer makes the server that a command works with, which serves nobody. done
// closes what it needs.
func (a *app) openServer(ctx context.Context, c *config.Config) (server *proxy.Server, done func(), err error) {
	log := a.newLogger(c.Log)
	keys, err := a.openKeys(ctx, c, false, log)
	if err != nil {
		return nil, nil, err
	}
	up, err := newUpstream(c, certs.NewWatcher(log))
	if err != nil {
		keys.Close()
		return nil, nil, err
	}
	done = func() { up.Close(); keys.Close() }
	if server, err = proxy.New(proxyOptions(c, up, keys, log)); err != nil {
		done()
	}
	return server, done, err
}
