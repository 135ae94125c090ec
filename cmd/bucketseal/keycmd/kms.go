package keycmd

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/serve"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
)

// KMSCommand is `bucketseal kms`.
func KMSCommand(a *cli.App) *cobra.Command {
	return cli.Group("kms", "Run a key server, check its configuration, move its keys",
		kmsServerCommand(a),
		cli.Group("config", "Check key server configurations", kmsConfigCheckCommand(a)),
		MigrateCommand(a),
	)
}

func kmsServerCommand(a *cli.App) *cobra.Command {
	var file, address string
	cmd := &cobra.Command{
		Use:   "server --config kes.yml",
		Short: "Run a key server in KES's place",
		Long: `Serves the API of MinIO KES with KES's configuration file, keys and clients. SIGHUP, and a
change of the file or of the certificates, reads them again without ending a connection; what
cannot be used is logged and changes nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*kmsconfig.Config, error) { return LoadKES(a, file, address) }
			c, err := load()
			if err != nil {
				return err
			}
			return serve.KeyServer(cmd.Context(), a, c, file, load)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "KES configuration file")
	flags.StringVar(&address, "addr", "", "listen on IP:PORT instead of the file's address")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagFilename("config", "yml", "yaml")
	return cmd
}

// LoadKES reads a key server's configuration. A given address takes the place of
// the file's.
func LoadKES(a *cli.App, file, address string) (*kmsconfig.Config, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	c, err := kmsconfig.Parse(file, data, a.LookupEnv)
	if err != nil {
		return nil, err
	}
	if address != "" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, cli.Usage(fmt.Errorf("--addr %q is no address; write IP:PORT", address))
		}
		c.Address = address
	}
	return c, nil
}

func kmsConfigCheckCommand(a *cli.App) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether `bucketseal kms server` would accept a configuration",
		Long:  `Reads a KES configuration and reports everything that is wrong, and every deprecated setting, with its line. No key store is asked.`,
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := LoadKES(a, args[0], "")
			if err != nil {
				return err
			}
			for _, w := range c.Warnings {
				fmt.Fprintf(a.Stderr, "warning: %s:%d: %s\n", args[0], w.Line, w.Text)
			}
			if err := build.CheckStore(c.KeyStore); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			_, err = fmt.Fprintf(a.Stdout, "%s: valid\n", args[0])
			return err
		},
	}
}
