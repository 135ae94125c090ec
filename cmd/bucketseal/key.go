package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/kms"
)

func (a *app) keyCommand() *cobra.Command {
	return group("key", "Manage and use KMS keys",
		a.keyCreateCommand(),
		a.keyImportCommand(),
		a.keyListCommand(),
		a.keyInfoCommand(),
		a.keyRemoveCommand(),
		a.keyAcceptCommand(),
		a.keyDEKCommand(),
		a.keyEncryptCommand(),
		a.keyDecryptCommand(),
	)
}

func (a *app) keyCreateCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create KMS keys",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withKeys(cmd, true, func(ctx context.Context, keys kms.Service) error {
				return each(names, func(name string) error {
					if err := keys.CreateKey(ctx, name); err != nil {
						return fmt.Errorf("create %q: %w", name, err)
					}
					return a.printKey(asJSON, "created", name)
				})
			})
		},
	}
	keyFlags(cmd)
	newStoreFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// each calls f for every name and joins the errors: one that fails does not keep
// the others from being done.
func each(names []string, f func(name string) error) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, f(name))
	}
	return errors.Join(errs...)
}

// printKey reports what was done with a key.
func (a *app) printKey(asJSON bool, done, name string) error {
	if asJSON {
		return a.printJSON(struct {
			Name   string `json:"name"`
			Status string `json:"status"`
		}{name, done})
	}
	_, err := fmt.Fprintf(a.stdout, "%s %s\n", done, name)
	return err
}

func (a *app) keyListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls [PREFIX]",
		Aliases: []string{"list"},
		Short:   "List KMS keys",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefix := strings.TrimSuffix(strings.Join(args, ""), "*")
			return a.withKeys(cmd, false, func(ctx context.Context, keys kms.Service) error {
				names, err := keys.ListKeys(ctx, prefix)
				if err != nil {
					return err
				}
				return a.printNames(asJSON, names)
			})
		},
	}
	keyFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printNames prints one name a line, or one JSON array.
func (a *app) printNames(asJSON bool, names []string) error {
	if asJSON {
		if names == nil {
			names = []string{}
		}
		return a.printJSON(names)
	}
	out := bufio.NewWriter(a.stdout)
	for _, name := range names {
		fmt.Fprintln(out, name)
	}
	return out.Flush()
}

// keyInfo is a key as commands show it.
type keyInfo struct {
	Name      string    `json:"name"`
	Algorithm string    `json:"algorithm"`
	Version   uint32    `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by,omitempty"`
}

func (a *app) keyInfoCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info NAME...",
		Short: "Show what is known of KMS keys",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withKeys(cmd, false, func(ctx context.Context, keys kms.Service) error {
				return each(names, func(name string) error {
					info, err := keys.DescribeKey(ctx, name)
					if err != nil {
						return fmt.Errorf("%q: %w", name, err)
					}
					return a.printKeyInfo(asJSON, info)
				})
			})
		},
	}
	keyFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) printKeyInfo(asJSON bool, k kms.KeyInfo) error {
	info := keyInfo{k.Name, k.Algorithm.String(), k.Version, k.CreatedAt, k.CreatedBy}
	if asJSON {
		return a.printJSON(info)
	}
	fmt.Fprintf(a.stdout, "name:       %s\nalgorithm:  %s\nversion:    %d\n", info.Name, info.Algorithm, info.Version)
	if !info.CreatedAt.IsZero() {
		fmt.Fprintf(a.stdout, "created:    %s\n", info.CreatedAt.UTC().Format(time.RFC3339))
	}
	if info.CreatedBy != "" {
		fmt.Fprintf(a.stdout, "created by: %s\n", info.CreatedBy)
	}
	return nil
}

var errNotConfirmed = errors.New("not confirmed; nothing was done")

// confirm asks on a terminal. Without one there is nobody to ask: the answer is
// read from the standard input, and must be there.
func (a *app) confirm(force bool, question string) error {
	if force || a.kes && !isTerminal(a.stdin) { // scripts for KES are not asked
		return nil
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, err := readLine(a.stdin)
	if err != nil || !strings.EqualFold(answer, "y") && !strings.EqualFold(answer, "yes") {
		if !isTerminal(a.stdin) {
			fmt.Fprintln(a.stderr)
			return fmt.Errorf("%w; answer y, or use --force", errNotConfirmed)
		}
		return errNotConfirmed
	}
	return nil
}
