package proxycmd

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// maxRules bounds a file of rules, in bytes.
const maxRules = 64 << 20

// RulesCommand is `bucketseal rules`.
func RulesCommand(a *cli.App) *cobra.Command {
	return cli.Group("rules", "Look after the encryption rules of buckets", rulesExportCommand(a), rulesImportCommand(a), rulesResetCommand(a))
}

// ruleFile is what rules export writes.
type ruleFile struct {
	Version int                       `json:"version"`
	Rules   []bucketconfig.BucketRule `json:"rules"`
}

func rulesExportCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the encryption rules of all buckets, as JSON",
		Long: `Prints what "rules import" takes. The rules lie sealed in the system bucket, and a copy of that
needs the same keys: this one needs none. It names buckets and KMS keys and holds no secrets.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				rules, err := server.ExportRules(ctx)
				if err != nil {
					return err
				}
				text, err := json.MarshalIndent(ruleFile{1, rules}, "", "  ")
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.Stdout, "%s\n", text)
				return err
			})
		},
	}
	cli.ConfigFlags(cmd)
	return cmd
}

func rulesImportCommand(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Set the encryption rules of buckets from what \"rules export\" printed",
		Long: `Reads FILE or the standard input, and sets its rules on all running servers. Rules of other buckets
stay as they are. The KMS keys that it names must exist; buckets that do not are named, and
get no rule.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := readRules(a, args)
			if err != nil {
				return err
			}
			return build.WithServer(a, cmd, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
				missing, err := server.Encryption().ImportRules(ctx, rules)
				for _, bucket := range missing {
					fmt.Fprintf(a.Stderr, "no such bucket: %s\n", bucket)
				}
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.Stdout, "%d rules set, %d of buckets that do not exist left out\n", len(rules)-len(missing), len(missing))
				return err
			})
		},
	}
	cli.ConfigFlags(cmd)
	return cmd
}

// readRules reads a file of rules, or the standard input.
func readRules(a *cli.App, args []string) ([]bucketconfig.BucketRule, error) {
	in := a.Stdin
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxRules+1))
	if err != nil {
		return nil, err
	}
	return parseRules(data)
}

// parseRules reads what "rules export" prints.
func parseRules(data []byte) ([]bucketconfig.BucketRule, error) {
	var file ruleFile
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&file)
	if _, more := decoder.Token(); err == nil && more != io.EOF { // a second export in the same file, say, would be left out
		err = errors.New("something follows")
	}
	if err != nil || len(data) > maxRules {
		return nil, fmt.Errorf("this is not what \"bucketseal rules export\" prints: %w", cmp.Or(err, errors.New("it is too long")))
	}
	if file.Version != 1 {
		return nil, fmt.Errorf("rules of version %d are not known", file.Version)
	}
	return file.Rules, nil
}

func rulesResetCommand(a *cli.App) *cobra.Command {
	var accept bool
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Begin anew with no rules, where they are lost for good",
		Long: `For a MinIO that was replaced, or keys that are lost: while the rules of buckets cannot be read, writes
are refused, because they might be encrypted otherwise than a rule says. Without --accept-loss it only
says why they cannot be read and what a reset loses, and exits with 1. It does nothing where a
setting or a right is wrong, or MinIO or the key service does not answer: nothing is lost then.
Stop all servers before, and import the rules again before clients write.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return build.WithServer(a, cmd, func(ctx context.Context, c *config.Config, server *proxy.Server) error {
				loss, err := server.Lost(ctx)
				if err != nil {
					return err
				}
				printLoss(a, loss, c)
				if !accept {
					return fmt.Errorf("nothing was done; --%s resets", cli.AcceptLossFlag)
				}
				if err := server.Reset(ctx, loss); err != nil {
					return err
				}
				_, err = fmt.Fprintln(a.Stdout, "reset: there are no rules now; import those that you have, and start the servers again")
				return err
			})
		},
	}
	cli.ConfigFlags(cmd)
	cmd.Flags().BoolVar(&accept, cli.AcceptLossFlag, false, "do it, and lose what is listed")
	return cmd
}

// printLoss says what a reset loses.
func printLoss(a *cli.App, l *proxy.Loss, c *config.Config) {
	fmt.Fprintf(a.Stdout, "cause:               %s\n", l.Cause)
	fmt.Fprintf(a.Stdout, "bucket rules:        all are lost; a bucket that had one gets auto_encryption: %s\n", c.AutoEncryption)
	switch {
	case l.Gone:
		fmt.Fprintln(a.Stdout, "learned credentials: all are gone with the system bucket")
		fmt.Fprintln(a.Stdout, "manifests:           all are gone with the system bucket: objects that were uploaded in parts, if there are any, need \"bucketseal object rescue\"")
		return
	case l.Credentials != "":
		fmt.Fprintf(a.Stdout, "learned credentials: those that were added are lost (%s)\n", strings.TrimSpace(l.Credentials))
	default:
		fmt.Fprintln(a.Stdout, "learned credentials: stay")
	}
	if l.Foreign {
		fmt.Fprintf(a.Stdout, "sessions, manifests: %d and %d are there, and do not open with these keys; nor do objects that were written with the others\n", l.Sessions, l.Manifests)
		return
	}
	fmt.Fprintf(a.Stdout, "sessions, manifests: %d and %d are there, and stay\n", l.Sessions, l.Manifests)
}
