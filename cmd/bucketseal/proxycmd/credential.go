package proxycmd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// CredentialCommand is `bucketseal credential`.
func CredentialCommand(a *cli.App) *cobra.Command {
	return cli.Group("credential", "Manage who may sign requests, while servers run",
		credentialAddCommand(a),
		credentialListCommand(a),
		credentialRemoveCommand(a),
	)
}

func credentialAddCommand(a *cli.App) *cobra.Command {
	var generate bool
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "add ACCESS_KEY",
		Short: "Let an access key sign requests, at every server",
		Long: `Adds a credential, or gives one another secret. It is sealed and kept in the system bucket:
every running server takes it within two seconds. MinIO must know the same pair, or it refuses
what the proxy signs with it.

The secret key is the first line of the standard input, or $` + config.EnvCredentialSecret + `, or a new one
that is printed (--generate). It is never an argument: every user of the machine could read it there.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lasts < 0 {
				return cli.Usage(errors.New("--expires-in is negative"))
			}
			secret, err := newSecret(a, generate)
			if err != nil {
				return err
			}
			if err := config.CheckCredential(args[0], secret); err != nil {
				return err
			}
			var expires time.Time
			if lasts > 0 {
				expires = time.Now().Add(lasts)
			}
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				if generate { // first: a secret that nobody has seen must not be in force
					fmt.Fprintf(a.Stdout, "secret key: %s\n", secret)
					if err := a.Stdout.Sync(); err != nil {
						return fmt.Errorf("nothing was added: the secret key cannot be printed: %w", err)
					}
				}
				if err := server.Identities().Add(ctx, args[0], secret, expires); err != nil {
					return fmt.Errorf("add %q: %w", args[0], err)
				}
				fmt.Fprintf(a.Stdout, "added %s\n", args[0])
				if err := server.KnownUpstream(ctx, args[0], secret); err != nil {
					fmt.Fprintf(a.Stderr, "warning: MinIO does not accept this pair, so requests that are signed with it will fail: %v\n", err)
				}
				return nil
			})
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().BoolVar(&generate, "generate", false, "make a secret key and print it")
	cmd.Flags().DurationVar(&lasts, "expires-in", 0, "end the credential after this time; 0 for never")
	return cmd
}

// newSecret makes, reads or is given a secret key.
func newSecret(a *cli.App, generate bool) (string, error) {
	if generate {
		return rand.Text() + rand.Text()[:14], nil // MinIO takes 8 to 40 characters
	}
	for _, e := range a.Environ {
		if secret, ok := strings.CutPrefix(e, config.EnvCredentialSecret+"="); ok && secret != "" {
			return secret, nil
		}
	}
	if cli.IsTerminal(a.Stdin) {
		fmt.Fprint(a.Stderr, "secret key (shown as you type): ")
	}
	secret, err := cli.ReadLine(a.Stdin)
	if err != nil {
		return "", fmt.Errorf("read the secret key from the standard input: %w", err)
	}
	return secret, nil
}

// shownCredential is one line of the list.
type shownCredential struct {
	AccessKey string        `json:"accessKey"`
	Kind      identity.Kind `json:"kind"`
	Creator   string        `json:"creator,omitempty"`
	Parent    string        `json:"parent,omitempty"`
	Expires   string        `json:"expires,omitempty"`
}

func credentialListCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List who may sign requests",
		Long: `Lists the credentials of the configuration, those that were added, and those of MinIO's users and
service accounts that the proxy learned. Sessions are not listed. Secrets are never shown.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return build.WithServer(a, cmd, func(ctx context.Context, c *config.Config, server *proxy.Server) error {
				learned, err := server.Identities().List(ctx)
				if err != nil {
					return err
				}
				return printCredentials(a, c, learned, asJSON)
			})
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, one object a line")
	return cmd
}

func printCredentials(a *cli.App, c *config.Config, learned []identity.Identity, asJSON bool) error {
	var all []shownCredential
	for _, one := range c.Credentials {
		shown := shownCredential{AccessKey: one.AccessKey, Kind: identity.Configured}
		if one.Upstream != nil {
			shown.Parent = one.Upstream.AccessKey
		}
		all = append(all, shown)
	}
	for _, id := range learned {
		shown := shownCredential{AccessKey: id.AccessKey, Kind: id.Kind, Creator: id.Creator, Parent: id.Parent}
		if !id.Expires.IsZero() {
			shown.Expires = id.Expires.Format(time.RFC3339)
		}
		all = append(all, shown)
	}
	slices.SortStableFunc(all, func(a, b shownCredential) int { return strings.Compare(a.AccessKey, b.AccessKey) })
	if asJSON {
		for _, one := range all {
			if err := a.PrintJSON(one); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACCESS KEY\tKIND\tASKED FOR BY\tACCOUNT OF\tEXPIRES")
	for _, one := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", one.AccessKey, one.Kind, dash(one.Creator), dash(one.Parent), dash(one.Expires))
	}
	return w.Flush()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func credentialRemoveCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rm ACCESS_KEY...",
		Aliases: []string{"remove"},
		Short:   "Let access keys sign no more, at any server",
		Long: `Removes credentials that were added or learned, also a session's. Every running server obeys
within two seconds. Those of the configuration are removed there. MinIO still knows the pair.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				return cli.Each(args, func(accessKey string) error {
					if err := server.Identities().Remove(ctx, accessKey); err != nil {
						return fmt.Errorf("remove %q: %w", accessKey, err)
					}
					_, err := fmt.Fprintf(a.Stdout, "removed %s\n", accessKey)
					return err
				})
			})
		},
	}
	cli.ConfigFlags(cmd)
	return cmd
}
