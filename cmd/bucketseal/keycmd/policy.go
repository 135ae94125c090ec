package keycmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/client"
)

// PolicyCommand is `bucketseal policy`.
func PolicyCommand(a *cli.App) *cobra.Command {
	return cli.Group("policy", "Look at a key server's policies",
		namesCommand(a, "ls [PREFIX]", "List a key server's policies", (*client.Client).ListPolicies),
		policyReadCommand(a, "show NAME", "Show what a policy allows and denies", (*client.Client).ReadPolicy),
		policyReadCommand(a, "info NAME", "Show since when a policy exists", (*client.Client).DescribePolicy),
	)
}

// namesCommand returns a command that lists names on a key server.
func namesCommand(a *cli.App, use, short string, list func(*client.Client, context.Context, string) ([]string, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Aliases: []string{"list"}, Short: short,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(a, cmd, func(ctx context.Context, c *client.Client) error {
				names, err := list(c, ctx, strings.TrimSuffix(strings.Join(args, ""), "*"))
				if err != nil {
					return err
				}
				return a.PrintNames(asJSON, names)
			})
		},
	}
	RemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func policyReadCommand(a *cli.App, use, short string, read func(*client.Client, context.Context, string) (client.Policy, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withClient(a, cmd, func(ctx context.Context, c *client.Client) error {
				p, err := read(c, ctx, args[0])
				if err != nil {
					return err
				}
				return printPolicy(a, asJSON, p)
			})
		},
	}
	RemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printPolicy(a *cli.App, asJSON bool, p client.Policy) error {
	if asJSON {
		return a.PrintJSON(struct {
			Name      string   `json:"name"`
			CreatedAt jsonTime `json:"created_at,omitzero"`
			CreatedBy string   `json:"created_by,omitempty"`
			Allow     []string `json:"allow,omitempty"`
			Deny      []string `json:"deny,omitempty"`
			Proxies   bool     `json:"bucketseal,omitempty"`
		}{p.Name, jsonTime(p.CreatedAt), p.CreatedBy, p.Allow, p.Deny, p.Bucketseal})
	}
	fmt.Fprintf(a.Stdout, "name:       %s\n", p.Name)
	if p.Bucketseal {
		fmt.Fprintln(a.Stdout, "bucketseal: true")
	}
	printOrigin(a, p.CreatedAt, p.CreatedBy)
	printRules(a, p.Allow, p.Deny)
	return nil
}

// jsonTime is a time that JSON leaves out if it is not known.
type jsonTime = time.Time

func printOrigin(a *cli.App, at time.Time, by string) {
	if !at.IsZero() {
		fmt.Fprintf(a.Stdout, "created:    %s\n", at.UTC().Format(time.RFC3339))
	}
	if by != "" {
		fmt.Fprintf(a.Stdout, "created by: %s\n", by)
	}
}

func printRules(a *cli.App, allow, deny []string) {
	for _, rules := range []struct {
		title    string
		patterns []string
	}{{"allow:", allow}, {"deny:", deny}} {
		if len(rules.patterns) == 0 {
			continue
		}
		fmt.Fprintln(a.Stdout, rules.title)
		for _, p := range rules.patterns {
			fmt.Fprintf(a.Stdout, "  %s\n", p)
		}
	}
}
