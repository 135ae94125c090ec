package proxycmd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/serve"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// configPrintCommand is `bucketseal config print`.
func configPrintCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "print [FILE]",
		Short: "Show the effective configuration, and where each value comes from",
		Long: `Reads FILE (or what $BUCKETSEAL_CONFIG names, or the environment alone) as the server
would, and prints each setting with its value and its source: default, FILE:LINE:COLUMN, or a
variable. Secrets are printed as [redacted].`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := loadFile(a, strings.Join(args, ""))
			if err != nil {
				return err
			}
			values := c.Effective(nil)
			if asJSON {
				return a.PrintJSON(values)
			}
			out := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			for _, v := range values {
				fmt.Fprintf(out, "%s\t%s\t%s\n", v.Path, textOf(v.Values), v.Source)
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func loadFile(a *cli.App, file string) (*config.Config, error) {
	return config.Load(config.Sources{File: file, Environ: a.Environ})
}

// textOf writes a value as people read it.
func textOf(values []string) string {
	switch {
	case values == nil:
		return "(none)"
	case len(values) == 1 && values[0] != "":
		return values[0]
	}
	return "[" + strings.Join(values, ", ") + "]"
}

// configDiffCommand is `bucketseal config diff`.
func configDiffCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	var address string
	cmd := &cobra.Command{
		Use:   "diff [FILE] | OLD NEW",
		Short: "Say what a configuration would change, and what of it needs a restart",
		Long: `With one file (or $BUCKETSEAL_CONFIG), compares what a running server has in force with
it. The server is asked at the file's metrics.address, or at --address. It tells its
configuration, without secrets, to who knows its upstream.credentials. With two files, compares
these. A setting that needs a restart is taken up by SIGUSR2 too, without a lost request.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			changes, err := configChanges(cmd.Context(), a, args, address)
			if err != nil {
				return err
			}
			if asJSON {
				if changes == nil {
					changes = []config.Change{}
				}
				return a.PrintJSON(changes)
			}
			return printChanges(a, changes)
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "metrics.address of the running server, HOST:PORT")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func configChanges(ctx context.Context, a *cli.App, args []string, address string) ([]config.Change, error) {
	fresh, err := loadFile(a, strings.Join(args[max(len(args)-1, 0):], ""))
	if err != nil {
		return nil, err
	}
	if len(args) == 2 {
		old, err := loadFile(a, args[0])
		if err != nil {
			return nil, err
		}
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		return config.Changes(old.Effective(key), fresh.Effective(key)), nil
	}
	if address == "" {
		address = fresh.MetricsAddress
	}
	if address == "" {
		return nil, cli.Usage(errors.New("there is no metrics.address at which a running server could be asked: give --address, or two files"))
	}
	values, err := serve.AskConfig(ctx, address, fresh)
	if err != nil {
		return nil, err
	}
	return config.Changes(values, fresh.Effective(serve.TagKey(fresh))), nil
}

func printChanges(a *cli.App, changes []config.Change) error {
	if len(changes) == 0 {
		_, err := fmt.Fprintln(a.Stdout, "no difference")
		return err
	}
	out := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	for _, c := range changes {
		when := "live"
		if c.Restart {
			when = "restart"
		}
		fmt.Fprintf(out, "%s\t%s\t%s -> %s\n", when, c.Path, textOf(c.Before), textOf(c.After))
	}
	return out.Flush()
}

// configSchemaCommand is `bucketseal config schema`.
func configSchemaCommand(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of configuration files, for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.Stdout.Write(config.Schema())
			return err
		},
	}
}
