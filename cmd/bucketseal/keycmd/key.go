// Package keycmd has the commands of keys and of the key server: key, identity, policy,
// kms, status, metric and log.
//
// Commands of keys work on a key server or on the proxy's own store, whichever flags
// and environment name. The rest ask a key server.
package keycmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
)

// KeyCommand is `bucketseal key`.
func KeyCommand(a *cli.App) *cobra.Command {
	return cli.Group("key", "Manage and use KMS keys",
		CreateCommand(a),
		ImportCommand(a),
		ListCommand(a),
		InfoCommand(a),
		RemoveCommand(a),
		keyRotateCommand(a),
		keyRetireCommand(a),
		keyReinstateCommand(a),
		keyDestroyCommand(a),
		keyAcceptCommand(a),
		keyRewrapCommand(a),
		keyUsageCommand(a),
		keyBackupCommand(a),
		keyRestoreCommand(a),
		keyDEKCommand(a),
		keyEncryptCommand(a),
		keyDecryptCommand(a),
	)
}

// CreateCommand is `bucketseal key create`.
func CreateCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create KMS keys",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return WithKeys(a, cmd, true, func(ctx context.Context, keys kms.Service) error {
				return cli.Each(names, func(name string) error {
					if err := keys.CreateKey(ctx, name); err != nil {
						return fmt.Errorf("create %q: %w", name, err)
					}
					return printKey(a, asJSON, "created", name)
				})
			})
		},
	}
	keyFlags(cmd)
	newStoreFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printKey reports what was done with a key.
func printKey(a *cli.App, asJSON bool, done, name string) error {
	if asJSON {
		return a.PrintJSON(struct {
			Name   string `json:"name"`
			Status string `json:"status"`
		}{name, done})
	}
	_, err := fmt.Fprintf(a.Stdout, "%s %s\n", done, name)
	return err
}

// ListCommand is `bucketseal key ls`.
func ListCommand(a *cli.App) *cobra.Command {
	var asJSON, versions bool
	cmd := &cobra.Command{
		Use:     "ls [PREFIX]",
		Aliases: []string{"list"},
		Short:   "List KMS keys",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := strings.TrimSuffix(strings.Join(args, ""), "*")
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				names, err := keys.ListKeys(ctx, prefix)
				if err != nil {
					return err
				}
				if versions {
					return listVersions(ctx, a, cmd, asJSON, keys, names)
				}
				return a.PrintNames(asJSON, names)
			})
		},
	}
	keyFlags(cmd)
	upstreamFlag(cmd)
	cmd.Flags().BoolVar(&versions, "versions", false, "with their versions, the states of these, and when they were last used")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// keyInfo is a key as commands show it.
type keyInfo struct {
	Name      string    `json:"name"`
	Algorithm string    `json:"algorithm"`
	Version   uint32    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitempty"`
	// Versions is left out for a key server that knows none.
	Versions []kms.VersionInfo `json:"versions,omitempty"`
}

// InfoCommand is `bucketseal key info`.
func InfoCommand(a *cli.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info NAME...",
		Short: "Show what is known of KMS keys",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				return cli.Each(names, func(name string) error {
					info, err := keys.DescribeKey(ctx, name)
					if err != nil {
						return fmt.Errorf("%q: %w", name, err)
					}
					if a.KES { // KES's clients show no versions
						return printKeyInfo(a, asJSON, keys, info, nil)
					}
					versions, err := keys.KeyVersions(ctx, name)
					if err != nil && !errors.Is(err, kms.ErrNotSupported) && !errors.Is(err, kms.ErrNotPermitted) {
						return fmt.Errorf("%q: %w", name, err)
					}
					addUses(ctx, a, cmd, keys, []keyVersions{{name, versions}})
					return printKeyInfo(a, asJSON, keys, info, versions)
				})
			})
		},
	}
	keyFlags(cmd)
	upstreamFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printKeyInfo(a *cli.App, asJSON bool, keys kms.Service, k kms.KeyInfo, versions []kms.VersionInfo) error {
	info := keyInfo{k.Name, k.Algorithm.String(), k.Version, k.CreatedAt, k.CreatedBy, versions}
	if asJSON {
		return a.PrintJSON(info)
	}
	fmt.Fprintf(a.Stdout, "name:       %s\nalgorithm:  %s\nversion:    %d\n", info.Name, info.Algorithm, info.Version)
	if !info.CreatedAt.IsZero() {
		fmt.Fprintf(a.Stdout, "created:    %s\n", info.CreatedAt.UTC().Format(time.RFC3339))
	}
	if info.CreatedBy != "" {
		fmt.Fprintf(a.Stdout, "created by: %s\n", info.CreatedBy)
	}
	if len(versions) == 0 {
		return nil
	}
	fmt.Fprintln(a.Stdout)
	return printVersions(a.Stdout, keys, versions)
}

var errNotConfirmed = errors.New("not confirmed; nothing was done")

// confirm asks on a terminal. Without one there is nobody to ask: the answer is
// read from the standard input, and must be there.
func confirm(a *cli.App, force bool, question string) error {
	if force || a.KES && !cli.IsTerminal(a.Stdin) { // scripts for KES are not asked
		return nil
	}
	fmt.Fprintf(a.Stderr, "%s [y/N] ", question)
	answer, err := cli.ReadLine(a.Stdin)
	if err != nil || !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		if !cli.IsTerminal(a.Stdin) {
			fmt.Fprintln(a.Stderr)
			return fmt.Errorf("%w; answer y, or use --force", errNotConfirmed)
		}
		return errNotConfirmed
	}
	return nil
}
