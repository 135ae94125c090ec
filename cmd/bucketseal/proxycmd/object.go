package proxycmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
)

// ObjectCommand is `bucketseal object`.
func ObjectCommand(a *cli.App) *cobra.Command {
	return cli.Group("object", "Look after stored objects",
		objectEncryptCommand(a), objectVerifyCommand(a), objectDecryptCommand(a), objectSweepCommand(a), objectRescueCommand(a))
}

func objectSweepCommand(a *cli.App) *cobra.Command {
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
				return cli.Usage(fmt.Errorf("--older-than %v: writes that are under way must not lose what they have; at least %v", age, least))
			}
			c, err := a.LoadConfig(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckServer(); err != nil {
				return err
			}
			return sweep(cmd.Context(), a, c, age, dryRun)
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be removed")
	cmd.Flags().DurationVar(&age, "older-than", maintenance.SweepAge, "leave alone what is younger, or was first found later")
	cmd.Flags().BoolVar(&force, "force", false, "allow --older-than below 1h: where nothing writes")
	return cmd
}

func sweep(ctx context.Context, a *cli.App, c *config.Config, age time.Duration, dryRun bool) error {
	server, done, err := build.OpenServer(ctx, a, c)
	if err != nil {
		return err
	}
	defer done()
	removed, skipped := 0, 0
	verb := "removed"
	if dryRun {
		verb = "would remove"
	}
	waiting, err := server.Keeper().Sweep(ctx, maintenance.SweepOptions{
		Age: age, DryRun: dryRun,
		Removed: func(what, name string) {
			removed++
			fmt.Fprintf(a.Stdout, "%s %s %q\n", verb, what, name)
		},
		Skipped: func(what, name string, err error) {
			skipped++
			fmt.Fprintf(a.Stdout, "skipped %s %q: %v\n", what, name, err)
		},
	})
	fmt.Fprintf(a.Stdout, "%s %d, %d wait for a sweep at least %v after they were first found, skipped %d\n", verb, removed, waiting, age, skipped)
	return err
}

// leastAge is the least age of what a sweep may remove.
func leastAge(force bool) time.Duration {
	if force {
		return time.Second
	}
	return time.Hour
}
