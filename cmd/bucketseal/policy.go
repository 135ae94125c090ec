package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/kms/client"
)

func (a *app) policyCommand() *cobra.Command {
	return group("policy", "Look at a key server's policies",
		a.listCommand("ls [PREFIX]", "List a key server's policies", (*client.Client).ListPolicies),
		a.policyReadCommand("show NAME", "Show what a policy allows and denies", (*client.Client).ReadPolicy),
		a.policyReadCommand("info NAME", "Show since when a policy exists", (*client.Client).DescribePolicy),
	)
}

// listCommand returns a command that lists names on a key server.
func (a *app) listCommand(use, short string, list func(*client.Client, context.Context, string) ([]string, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Aliases: []string{"list"}, Short: short,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				names, err := list(c, ctx, strings.TrimSuffix(strings.Join(args, ""), "*"))
				if err != nil {
					return err
				}
				return a.printNames(asJSON, names)
			})
		},
	}
	remoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) policyReadCommand(use, short string, read func(*client.Client, context.Context, string) (client.Policy, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd, func(ctx context.Context, c *client.Client) error {
				p, err := read(c, ctx, args[0])
				if err != nil {
					return err
				}
				return a.printPolicy(asJSON, p)
			})
		},
	}
	remoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printPolicy(asJSON bool, p client.Policy) error {
	if asJSON {
		return a.printJSON(struct {
			Name      string   `json:"name"`
			CreatedAt jsonTime `json:"created_at,omitzero"`
			CreatedBy string   `json:"created_by,omitempty"`
			Allow     []string `json:"allow,omitempty"`
			Deny      []string `json:"deny,omitempty"`
			Proxies   bool     `json:"bucketseal,omitempty"`
		}{p.Name, jsonTime(p.CreatedAt), p.CreatedBy, p.Allow, p.Deny, p.Bucketseal})
	}
	fmt.Fprintf(a.stdout, "name:       %s\n", p.Name)
	if p.Bucketseal {
		fmt.Fprintln(a.stdout, "bucketseal: true")
	}
	a.printOrigin(p.CreatedAt, p.CreatedBy)
	a.printRules(p.Allow, p.Deny)
	return nil
}

// jsonTime is a time that JSON leaves out if it is not known.
type jsonTime = time.Time

func (a *app) printOrigin(at time.Time, by string) {
	if !at.IsZero() {
		fmt.Fprintf(a.stdout, "created:    %s\n", at.UTC().Format(time.RFC3339))
	}
	if by != "" {
		fmt.Fprintf(a.stdout, "created by: %s\n", by)
	}
}

func (a *app) printRules(allow, deny []string) {
	for _, rules := range []struct {
		title    string
		patterns []string
	}{{"allow:", allow}, {"deny:", deny}} {
		if len(rules.patterns) == 0 {
			continue
		}
		fmt.Fprintln(a.stdout, rules.title)
		for _, p := range rules.patterns {
			fmt.Fprintf(a.stdout, "  %s\n", p)
		}
	}
}
