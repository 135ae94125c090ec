package keycmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
)

func keyAcceptCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accept NAME",
		Short: "Let proxies use a KMS key that was replaced",
		Long: `Let proxies use a KMS key that was replaced. Proxies remember which secret stands behind a key's
name, and refuse another one: whoever can delete and import keys could put one there that he knows.
This command makes them take the key as it is now. What was written under the key before cannot be
read with another one. It needs the proxy's configuration, and MinIO.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				before, after, err := server.AcceptKey(ctx, names[0])
				switch {
				case err != nil:
					return fmt.Errorf("accept %q: %w", names[0], err)
				case before == after && before != "":
					fmt.Fprintf(a.Stdout, "accepted %q: it is the key that was pinned, %s\n", names[0], after)
				default:
					fmt.Fprintf(a.Stdout, "accepted %q: fingerprint %s, before %s\n", names[0], orNone(after), orNone(before))
				}
				return nil
			})
		},
	}
	cli.ConfigFlags(cmd)
	return cmd
}

func orNone(fingerprint string) string {
	if fingerprint == "" {
		return "not known"
	}
	return fingerprint
}
