// Package proxycmd has the commands of the proxy: server, config, object, rules,
// credential and health. All but health and config work with a proxy that is built as
// the server builds its own.
package proxycmd

import (
	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/serve"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// ServerCommand is `bucketseal server`.
func ServerCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the S3 encryption proxy",
		Long: `Serves S3 in front of a MinIO. Settings come from a YAML file (--config), from the
environment, and from flags, of which the last wins. Without a file it needs
BUCKETSEAL_ROOT_USER and BUCKETSEAL_ROOT_PASSWORD, which are the clients' credential and the
proxy's own at MinIO, and --data-dir for the keys:

  BUCKETSEAL_ROOT_USER=user BUCKETSEAL_ROOT_PASSWORD=password \
    bucketseal server --address :8080 --upstream http://127.0.0.1:9000 --data-dir /var/lib/bucketseal

SIGTERM lets running transfers finish, after limits.drain; a second one ends at once. SIGHUP, and a
change of the files, read the certificates and the configuration again; most settings are taken up.
SIGUSR2 starts the program anew and hands it the sockets: no request is lost.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.LoadConfig(cmd)
			if err != nil {
				return err
			}
			if err := c.CheckServer(); err != nil {
				return err
			}
			return serve.Proxy(cmd.Context(), a, c, func() (*config.Config, error) { return a.LoadConfig(cmd) })
		},
	}
	cli.ConfigFlags(cmd)
	return cmd
}
