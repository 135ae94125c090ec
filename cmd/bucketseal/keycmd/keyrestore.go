package keycmd

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/keybackup"
)

// keyRestoreCommand is `bucketseal key restore`.
func keyRestoreCommand(a *cli.App) *cobra.Command {
	var o build.BackupSource
	var into, keystore, digest string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put the KMS keys of a backup into a key store",
		Long: `Put the KMS keys of a backup into a key store, of whatever kind. The whole file is checked first.
No key is ever replaced: one that the store has already is left as it is, and if it is another key of
the same name, nothing is written at all. Run it again after a crash or a full disk: it goes on.

The key store is the one of --config, of --into, or with --keystore that of a key server. --init
makes one where there is none.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if into != "" {
				if err := cmd.Flags().Set("config", into); err != nil {
					return err
				}
			}
			b, err := o.Open(a, args[0])
			if err != nil {
				return err
			}
			defer b.Zero()
			return restoreKeys(cmd, a, b, keystore, digest, asJSON)
		},
	}
	cli.ConfigFlags(cmd, "data-dir")
	o.Flags(cmd)
	newStoreFlag(cmd)
	keystoreFlag(cmd, &keystore)
	cmd.Flags().StringVar(&into, "into", "", "configuration of the proxy whose key store is to have the keys, as --config")
	cmd.Flags().StringVar(&digest, "digest", "", "the digest that \"key backup\" printed: refuse a file that has another one")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagFilename("into", "yml", "yaml")
	cmd.MarkFlagsMutuallyExclusive("into", "config", "keystore")
	return cmd
}

func restoreKeys(cmd *cobra.Command, a *cli.App, b *keybackup.Backup, keystore, digest string, asJSON bool) error {
	has, err := b.Digest()
	if err != nil {
		return err
	}
	if digest != "" && digest != has {
		return fmt.Errorf("the backup's digest is %s: it is another one than was asked for; nothing was written", has)
	}
	c, err := a.LoadConfig(cmd)
	if err != nil {
		return err
	}
	init, _ := cmd.Flags().GetBool(initFlag)
	store, where, err := openStoreFor(cmd.Context(), a, c, keystore, init)
	if !init && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w; --%s makes a key store: look at the path twice", err, initFlag)
	}
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	done, err := b.Restore(cmd.Context(), store)
	if err != nil {
		return fmt.Errorf("keys in %s: %w", where, err)
	}
	if asJSON {
		return a.PrintJSON(struct {
			Written   int    `json:"written"`
			Present   int    `json:"present"`
			Destroyed int    `json:"destroyed"`
			Digest    string `json:"digest"`
		}{done.Written, done.Present, done.Destroyed, has})
	}
	if done.Destroyed > 0 {
		fmt.Fprintf(a.Stderr, "%d versions of keys are destroyed in this store, and stay so\n", done.Destroyed)
	}
	fmt.Fprintf(a.Stdout, "%d keys restored and read back, %d there already, digest %s\n", done.Written, done.Present, has)
	return nil
}
