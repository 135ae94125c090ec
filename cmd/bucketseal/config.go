package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/proxy/config"
)

func (a *app) configCommand() *cobra.Command {
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Say whether `bucketseal server` would accept a configuration",
		Long: `Reads FILE (or what $BUCKETSEAL_CONFIG names, or the environment alone) as the server
would, and reports everything that is wrong, with its place. Nothing is started or created.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.checkConfig(strings.Join(args, "")) },
	}
	return group("config", "Check configurations", check)
}

func (a *app) checkConfig(file string) error {
	c, err := config.Load(config.Sources{File: file, Environ: a.environ})
	if err != nil {
		return err
	}
	err = errors.Join(c.CheckServer(), a.checkKMS(c))
	for _, w := range c.Warnings {
		fmt.Fprintln(a.stderr, "warning:", w)
	}
	if err != nil {
		return err
	}
	name := c.File
	if name == "" {
		name = "the environment"
	}
	fmt.Fprintf(a.stdout, "%s: valid\n", name)
	return nil
}
