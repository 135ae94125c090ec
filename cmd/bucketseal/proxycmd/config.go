package proxycmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// ConfigCommand is `bucketseal config`.
func ConfigCommand(a *cli.App) *cobra.Command {
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether `bucketseal server` would accept a configuration",
		Long: `Reads FILE (or what $BUCKETSEAL_CONFIG names, or the environment alone) as the server
would, and reports everything that is wrong, with its place. Nothing is started or created.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return checkConfig(a, strings.Join(args, "")) },
	}
	return cli.Group("config", "Check, show and compare configurations", check, configPrintCommand(a), configDiffCommand(a), configSchemaCommand(a))
}

func checkConfig(a *cli.App, file string) error {
	c, err := config.Load(config.Sources{File: file, Environ: a.Environ})
	if err != nil {
		return err
	}
	err = errors.Join(c.CheckServer(), build.CheckKMS(a, c))
	for _, w := range c.Warnings {
		fmt.Fprintln(a.Stderr, "warning:", w)
	}
	if err != nil {
		return err
	}
	name := c.File
	if name == "" {
		name = "the environment"
	}
	fmt.Fprintf(a.Stdout, "%s: valid\n", name)
	return nil
}
