// Package kescmd takes the command lines of MinIO KES. Its commands are those of keycmd
// with other arguments and flags.
package kescmd

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/keycmd"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/serve"
	"github.com/bucketseal/bucketseal/kms"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
)

// kesName is the command, and the name of a link to this program, under which it
// takes KES's command lines.
const kesName = "kes"

// CalledAs says whether the program was called by a link named kes.
func CalledAs(program string) bool {
	return strings.EqualFold(strings.TrimSuffix(filepath.Base(program), ".exe"), kesName)
}

// Command takes KES's command lines, those of its older releases too. Its
// commands are bucketseal's own, but for those whose arguments differ.
func Command(a *cli.App) *cobra.Command {
	kes := cli.Group(kesName, "Take the command lines of MinIO KES",
		kesServerCommand(a),
		cli.Group("key", "Manage and use keys",
			keycmd.CreateCommand(a), kesImportCommand(a), keycmd.ListCommand(a), keycmd.InfoCommand(a), keycmd.RemoveCommand(a),
			kesDEKCommand(a), kesEncryptCommand(a), kesDecryptCommand(a)),
		kesListCommand(a),
		kesIdentityCommand(a, "identity"),
		keycmd.PolicyCommand(a),
		cli.Group("tool", "Commands of older releases", kesIdentityCommand(a, "identity")),
		keycmd.StatusCommand(a), keycmd.MetricCommand(a), keycmd.LogCommand(a),
		kesMigrateCommand(a),
	)
	kes.Long = `Takes the command lines of MinIO KES, so that its guides and scripts go on working. A link to
this program with the name kes does the same:

    ln -s "$(command -v bucketseal)" /usr/local/bin/kes

Commands speak to the key server that MINIO_KES_SERVER or KES_SERVER names, https://127.0.0.1:7373
without it. Who they are say MINIO_KES_API_KEY or KES_API_KEY, or MINIO_KES_CERT_FILE and
MINIO_KES_KEY_FILE, or KES_CLIENT_CERT and KES_CLIENT_KEY.`
	cli.VersionFlag(kes)
	likeKES(a, kes)
	return kes
}

// likeKES prepares every command below cmd: those that speak to a key server
// never mean the proxy's own keys, and take the flags of KES that mean nothing.
func likeKES(a *cli.App, cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		likeKES(a, sub)
	}
	if cmd.RunE == nil || cmd.HasSubCommands() {
		return
	}
	flags := cmd.Flags()
	if flags.Lookup("insecure") != nil {
		flags.StringP("api-key", "a", "", "API key of the client; better in $MINIO_KES_API_KEY, where other users cannot read it")
		flags.StringP("enclave", "e", "", "")
		hide(flags, "enclave", "config", "data-dir")
	}
	if flags.Lookup("json") != nil && flags.Lookup("color") == nil {
		flags.String("color", "auto", "")
		hide(flags, "color")
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.KES = true
		return run(cmd, args)
	}
}

func hide(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		if flag := flags.Lookup(name); flag != nil {
			flag.Hidden = true
		}
	}
}

// kesServer are the flags of `kes server` that have a say in the configuration.
type kesServer struct {
	file, address, key, cert, root, auth string
	mlock                                bool
}

func kesServerCommand(a *cli.App) *cobra.Command {
	var s kesServer
	cmd := &cobra.Command{
		Use:   "server --config kes.yml",
		Short: "Run a key server",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if s.auth != "" && s.auth != "on" && s.auth != "off" {
				return cli.Usage(fmt.Errorf("--auth %q: write on or off", s.auth))
			}
			load := func() (*kmsconfig.Config, error) {
				c, err := keycmd.LoadKES(a, s.file, s.address)
				if err == nil {
					err = s.override(c)
				}
				return c, err
			}
			c, err := load()
			if err != nil {
				return err
			}
			return serve.KeyServer(cmd.Context(), a, c, s.file, load)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.file, "config", "", "KES configuration file")
	flags.StringVar(&s.address, "addr", "", "listen on IP:PORT instead of the file's address")
	flags.StringVar(&s.key, "key", "", "private key of the server, instead of the file's tls.key")
	flags.StringVar(&s.cert, "cert", "", "certificate of the server, instead of the file's tls.cert")
	flags.StringVar(&s.root, "root", "", "identity of the administrator, instead of the file's admin.identity")
	flags.StringVar(&s.auth, "auth", "", "on: client certificates must be signed by a known authority; off: the file decides")
	flags.BoolVar(&s.mlock, "mlock", false, "keep memory out of swap, which is tried in any case")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagFilename("config", "yml", "yaml")
	return cmd
}

// override puts what the command line says in the place of what the file says.
// The command line cannot turn off what the file demands of clients: KES's guides
// have --auth=off, which KES itself has long ignored.
func (s *kesServer) override(c *kmsconfig.Config) error {
	if s.key != "" {
		c.TLS.Key = s.key
	}
	if s.cert != "" {
		c.TLS.Cert = s.cert
	}
	if s.root != "" {
		admin, err := identity.Parse(s.root)
		if err != nil && s.root != "disabled" {
			return cli.Usage(fmt.Errorf("--root %q: %w; write disabled if nobody is to have all rights", s.root, err))
		}
		c.Admin = admin
	}
	switch {
	case s.auth == "on":
		c.TLS.Auth = true
	case s.auth == "off" && c.TLS.Auth:
		c.Warnings = append(c.Warnings, kmsconfig.Warning{Text: "--auth=off is ignored: the file says tls.auth: on; change it there"})
	}
	return nil
}

// kesListCommand is `kes ls`: keys, or with a flag identities or policies.
func kesListCommand(a *cli.App) *cobra.Command {
	var identities, policies, asJSON bool
	cmd := &cobra.Command{
		Use:   "ls [PATTERN]",
		Short: "List keys, identities or policies",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := keycmd.NewClient(a, cmd)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			list := c.ListKeys
			switch {
			case identities:
				list = c.ListIdentities
			case policies:
				list = c.ListPolicies
			}
			names, err := list(cmd.Context(), strings.TrimSuffix(strings.Join(args, ""), "*"))
			if err != nil {
				return err
			}
			return a.PrintNames(asJSON, names)
		},
	}
	keycmd.RemoteFlags(cmd)
	flags := cmd.Flags()
	flags.BoolVarP(&identities, "identity", "i", false, "list identities")
	flags.BoolVarP(&policies, "policy", "p", false, "list policies")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("identity", "policy")
	return cmd
}

// kesImportCommand takes the key as an argument, as KES does, or as
// bucketseal's own command does.
func kesImportCommand(a *cli.App) *cobra.Command {
	cmd := keycmd.ImportCommand(a)
	cmd.Use, cmd.Long = "import NAME [KEY]", "Stores 32 bytes, in base64, as a key. Better give them on the standard input: arguments can be read by every\nuser of the machine."
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 && args[1] != "-" {
			a.WarnOfArgument("a key")
			a.Stdin = strings.NewReader(args[1])
			args = args[:1]
		}
		return run(cmd, args)
	}
	return cmd
}

func kesDEKCommand(a *cli.App) *cobra.Command {
	return kesCrypto(a, "dek NAME [CONTEXT]", "Generate a data key: print it and its ciphertext", cobra.RangeArgs(1, 2),
		func(ctx context.Context, keys kms.Service, args []string) ([]field, error) {
			encContext, err := kesContext(args[1:])
			if err != nil {
				return nil, err
			}
			dek, err := keys.GenerateDEK(ctx, args[0], encContext)
			return []field{{"plaintext", dek.Plaintext[:]}, {"ciphertext", dek.Ciphertext}}, err
		})
}

func kesEncryptCommand(a *cli.App) *cobra.Command {
	return kesCrypto(a, "encrypt NAME MESSAGE", "Encrypt a message", cobra.ExactArgs(2),
		func(ctx context.Context, keys kms.Service, args []string) ([]field, error) {
			a.WarnOfArgument("a message")
			ciphertext, err := keys.Encrypt(ctx, args[0], []byte(args[1]), nil)
			return []field{{"ciphertext", ciphertext}}, err
		})
}

func kesDecryptCommand(a *cli.App) *cobra.Command {
	return kesCrypto(a, "decrypt NAME CIPHERTEXT [CONTEXT]", "Decrypt a ciphertext", cobra.RangeArgs(2, 3),
		func(ctx context.Context, keys kms.Service, args []string) ([]field, error) {
			ciphertext, err := base64.StdEncoding.DecodeString(args[1])
			if err != nil {
				return nil, cli.Usage(errors.New("the ciphertext is not base64"))
			}
			encContext, err := kesContext(args[2:])
			if err != nil {
				return nil, err
			}
			plaintext, err := keys.Decrypt(ctx, args[0], ciphertext, encContext)
			return []field{{"plaintext", plaintext}}, err
		})
}

// kesContext is the encryption context that args may hold, in base64.
func kesContext(args []string) ([]byte, error) {
	encContext, err := base64.StdEncoding.DecodeString(strings.Join(args, ""))
	if err != nil {
		return nil, cli.Usage(errors.New("the context is not base64"))
	}
	return encContext, nil
}

// field is one line of an answer.
type field struct {
	name  string
	value []byte
}

// kesCrypto returns a command that answers with bytes in base64: for a person on
// a terminal as lines, else as JSON, which scripts for KES expect.
func kesCrypto(a *cli.App, use, short string, args cobra.PositionalArgs, do func(context.Context, kms.Service, []string) ([]field, error)) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			return keycmd.WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				fields, err := do(ctx, keys, args)
				if err != nil {
					return fmt.Errorf("%q: %w", args[0], err)
				}
				if !asJSON && cli.IsTerminal(a.Stdout.Writer()) {
					for _, f := range fields {
						fmt.Fprintf(a.Stdout, "%-11s %s\n", f.name+":", base64.StdEncoding.EncodeToString(f.value))
					}
					return nil
				}
				object := make(map[string][]byte, len(fields))
				for _, f := range fields {
					object[f.name] = f.value
				}
				return a.PrintJSON(object)
			})
		},
	}
	keycmd.RemoteFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, also on a terminal")
	return cmd
}

// kesMigrateCommand takes KES's flags. An existing key that differs is never
// overwritten, --force or not.
func kesMigrateCommand(a *cli.App) *cobra.Command {
	cmd := keycmd.MigrateCommand(a)
	var force, merge, quiet bool
	flags := cmd.Flags()
	flags.BoolVarP(&force, "force", "f", false, "accepted; a key that is another one in the target is not overwritten all the same")
	flags.BoolVar(&merge, "merge", false, "accepted; keys that are in the target stay in any case")
	flags.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if force {
			fmt.Fprintln(a.Stderr, "warning: --force overwrites nothing here; remove a key from the target first if it is to be replaced")
		}
		a.Quiet = quiet
		return run(cmd, args)
	}
	return cmd
}
