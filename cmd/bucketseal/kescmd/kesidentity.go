package kescmd

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/keycmd"
	"github.com/bucketseal/bucketseal/kms/identity"
)

// What `kes identity new` takes where nothing is said.
const (
	kesKeyFile  = "private.key"
	kesCertFile = "public.crt"
	kesExpiry   = 720 * time.Hour
)

// kesIdentityCommand is `kes identity`, and `kes tool identity` of older releases.
func kesIdentityCommand(a *cli.App, use string) *cobra.Command {
	return cli.Group(use, "Make and look at identities", kesIdentityNewCommand(a), kesIdentityOfCommand(a), keycmd.IdentityListCommand(a), keycmd.IdentityInfoCommand(a))
}

// kesIdentityNewCommand makes an API key, or what a certificate is asked for: by a
// name, a host or a file.
func kesIdentityNewCommand(a *cli.App) *cobra.Command {
	cmd := keycmd.IdentityNewCommand(a)
	cmd.Use = "new [SUBJECT]"
	cmd.Long = `Prints a new API key and its identity. With a subject, --ip, --dns, --key or --cert it writes a
private key and a self-signed certificate instead.`
	flags := cmd.Flags()
	var older struct {
		server bool
		time   time.Duration
	}
	flags.DurationVar(&older.time, "time", 0, "")
	flags.BoolVar(&older.server, "server", false, "")
	hide(flags, "time", "server")
	flags.Lookup("expiry").DefValue = kesExpiry.String()
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		files := len(args) > 0 || older.server
		for _, name := range []string{"key", "cert", "ip", "dns", "expiry", "time"} {
			files = files || flags.Changed(name)
		}
		if !files {
			return run(cmd, args)
		}
		set := map[string]string{}
		if !flags.Changed("key") {
			set["key"] = kesKeyFile
		}
		if !flags.Changed("cert") {
			set["cert"] = kesCertFile
		}
		if !flags.Changed("expiry") {
			set["expiry"] = kesExpiry.String()
		}
		if flags.Changed("time") {
			set["expiry"] = older.time.String()
		}
		for name, value := range set {
			if err := flags.Set(name, value); err != nil {
				return cli.Usage(fmt.Errorf("--%s: %w", name, err))
			}
		}
		return run(cmd, args)
	}
	return cmd
}

// kesIdentityOfCommand takes several files, and API keys on the command line.
func kesIdentityOfCommand(a *cli.App) *cobra.Command {
	cmd := keycmd.IdentityOfCommand(a)
	cmd.Use, cmd.Args = "of [FILE|API-KEY]...", cobra.ArbitraryArgs
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return run(cmd, nil)
		}
		return cli.Each(args, func(arg string) error {
			key, err := identity.ParseAPIKey(arg)
			if _, missing := os.Stat(arg); err != nil || missing == nil && !strings.HasPrefix(arg, "kes:") {
				return run(cmd, []string{arg})
			}
			a.WarnOfArgument("an API key")
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				return keycmd.PrintIdentity(a, true, "", key.Identity())
			}
			_, err = fmt.Fprintln(a.Stdout, key.Identity())
			return err
		})
	}
	return cmd
}
