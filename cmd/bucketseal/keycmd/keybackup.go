package keycmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keybackup"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/doctor"
)

// backupOptions are the flags of `key backup`.
type backupOptions struct {
	recipients, files []string
	passphrase        bool
	output            string
	force, asJSON     bool
	keystore          string
	verify            verifyOptions
}

// keyBackupCommand is `bucketseal key backup`.
func keyBackupCommand(a *cli.App) *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup {--recipient age1... --output FILE | --verify FILE --identity FILE}",
		Short: "Write all KMS keys into one file that is encrypted with age",
		Long: `Write all entries of the key store into one file, encrypted with age (age-encryption.org) to
recipients or with a passphrase. It needs no master key, no AWS and no server to be opened, only the
age identity or the passphrase: with it, everything can be read. Keep it apart from the objects.

Together with a copy of MinIO's raw buckets, the system bucket among them, it is a whole backup:
"bucketseal object decrypt" reads objects from these two alone, "bucketseal key restore" puts the
keys back into a key store. Make another one after keys were created or rotated.

--verify proves that a backup opens the objects that MinIO has, or with --from those of a copy: it
opens the keys of a sample, current and older versions alike, and the manifests that they need, with
the backup alone. It reads no data, and the exit code is 1 if any does not open.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.verify.file != "" {
				return o.verify.run(a, cmd, o.passphrase, o.asJSON)
			}
			return o.run(cmd.Context(), a, cmd)
		},
	}
	cli.ConfigFlags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.recipients, "recipient", "r", nil, "age recipient, age1... (repeatable); each can open the file alone")
	flags.StringArrayVarP(&o.files, "recipients-file", "R", nil, "file with age recipients, one a line (repeatable)")
	flags.BoolVarP(&o.passphrase, "passphrase", "p", false, "encrypt with a passphrase instead, asked for, or the first line of the standard input")
	flags.StringVarP(&o.output, "output", "o", "", "the file to write, \"-\" for the standard output")
	flags.BoolVar(&o.force, "force", false, "replace the file if it exists")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	keystoreFlag(cmd, &o.keystore)
	o.verify.flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("passphrase", "recipient")
	cmd.MarkFlagsMutuallyExclusive("passphrase", "recipients-file")
	return cmd
}

// keystoreFlag names the store of a key server, instead of the one of a proxy.
func keystoreFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "keystore", "", "KES configuration whose key store is meant, on a key server's machine")
	_ = cmd.MarkFlagFilename("keystore", "yml", "yaml")
	cmd.MarkFlagsMutuallyExclusive("keystore", "data-dir")
}

func (o *backupOptions) run(ctx context.Context, a *cli.App, cmd *cobra.Command) error {
	if o.output == "" {
		return cli.Usage(errors.New("--output is missing: the file to write, \"-\" for the standard output"))
	}
	if o.output == "-" && (o.asJSON || cli.IsTerminal(a.Stdout.Writer())) {
		return cli.Usage(errors.New("the backup is binary: give --output FILE"))
	}
	to, err := o.readRecipients(a)
	if err != nil {
		return err
	}
	c, err := a.LoadConfig(cmd)
	if err != nil {
		return err
	}
	store, _, err := openStoreFor(ctx, a, c, o.keystore, false)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	b, err := keybackup.Take(ctx, store, about(c))
	if err != nil {
		return fmt.Errorf("%w; nothing was written", err)
	}
	defer b.Zero()
	return o.write(a, c, b, to)
}

// readRecipients returns to whom the file is encrypted.
func (o *backupOptions) readRecipients(a *cli.App) ([]age.Recipient, error) {
	if o.passphrase {
		text, err := a.ReadPassphrase(true)
		if err != nil {
			return nil, err
		}
		recipient, err := age.NewScryptRecipient(text)
		return []age.Recipient{recipient}, err
	}
	var all []age.Recipient
	for _, text := range o.recipients {
		if strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
			return nil, cli.Usage(errors.New("--recipient is the public part, age1...; this is the identity, which should not be on a command line"))
		}
		some, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, cli.Usage(fmt.Errorf("--recipient %q: %w", text, err))
		}
		all = append(all, some...)
	}
	for _, name := range o.files {
		some, err := readFile(name, age.ParseRecipients)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, cli.Usage(errors.New("nobody could open it: give --recipient age1... (age-keygen makes one) or --passphrase"))
	}
	return all, nil
}

func readFile[T any](name string, parse func(io.Reader) (T, error)) (T, error) {
	var none T
	f, err := os.Open(name)
	if err != nil {
		return none, err
	}
	defer f.Close()
	v, err := parse(f)
	if err != nil {
		return none, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// about says what a proxy of this configuration needs besides keys.
func about(c *config.Config) keybackup.About {
	return keybackup.About{
		Created: time.Now().UTC().Truncate(time.Second), Deployment: c.Deployment, SystemBucket: c.SystemBucket,
		DefaultKey: c.DefaultKey, S3Key: c.SSES3.Key, FormerS3Keys: c.SSES3.FormerKeys,
	}
}

func (o *backupOptions) write(a *cli.App, c *config.Config, b *keybackup.Backup, to []age.Recipient) error {
	var file bytes.Buffer
	if err := b.Write(&file, to...); err != nil {
		return err
	}
	digest, err := b.Digest()
	if err != nil {
		return err
	}
	if o.output == "-" {
		_, err := a.Stdout.Write(file.Bytes())
		if err == nil {
			o.mark(a, c)
		}
		return err
	}
	if err := writeFiles([]newFile{{o.output, 0o600, file.Bytes()}}, o.force); err != nil {
		return err
	}
	o.mark(a, c)
	return printBackup(a, o.asJSON, "written", b, digest)
}

// mark leaves the time in the data directory, so that `bucketseal doctor` knows of the
// backup. Of the stores of KES configurations it leaves none.
func (o *backupOptions) mark(a *cli.App, c *config.Config) {
	if o.keystore != "" || !c.KMS.IsZero() {
		return
	}
	name := filepath.Join(c.DataDir, doctor.BackupMark)
	if err := os.WriteFile(name, []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600); err != nil {
		fmt.Fprintf(a.Stderr, "warning: bucketseal doctor will not know of this backup: %v\n", err)
	}
}

// printBackup says what a backup is of.
func printBackup(a *cli.App, asJSON bool, done string, b *keybackup.Backup, digest string) error {
	if asJSON {
		return a.PrintJSON(struct {
			Status string `json:"status"`
			Keys   int    `json:"keys"`
			Digest string `json:"digest"`
			keybackup.About
		}{done, len(b.Entries), digest, b.About})
	}
	_, err := fmt.Fprintf(a.Stdout, "%s: %d keys of deployment %q, as of %s, digest %s\n", done, len(b.Entries), b.Deployment, b.Created.Format(time.RFC3339), digest)
	return err
}

// openStoreFor opens the key store that is meant.
func openStoreFor(ctx context.Context, a *cli.App, c *config.Config, keystore string, create bool) (store kms.Store, where string, err error) {
	if keystore != "" {
		store, err := openStoreOf(ctx, a, keystore, create)
		return store, keystore, err
	}
	store, where, err = build.OpenKeyStore(ctx, a, c, create, build.Logger(a, c.Log))
	if errors.Is(err, build.ErrRemoteStore) {
		err = fmt.Errorf("%w: run this on that server's machine with --keystore and its configuration", err)
	}
	return store, where, err
}
