package keycmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// defaultKeyName is the default of default_key and sse_s3.key.
const defaultKeyName = "bucketseal-default"

// RemoveCommand is `bucketseal key rm`.
func RemoveCommand(a *cli.App) *cobra.Command {
	var force, accept, asJSON bool
	cmd := &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove", "delete"},
		Short:   "Delete KMS keys, and with them everything sealed under them",
		Long: `With a proxy's configuration it is refused while objects lie under the key, settings or rules use it, or
the last scan ("key usage --scan") does not cover everything since. If nothing needs it, it is deleted.

Without one it asks first, and says in which store the key is, and which settings use it as far as that can
be told.

A deletion that was cut off has ended the key, and may have left entries of it: the command, given once more,
removes them. It asks first.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return WithKeys(a, cmd, false, func(ctx context.Context, keys kms.Service) error {
				return cli.Each(names, func(name string) error {
					switch _, err := keys.DescribeKey(ctx, name); {
					case errors.Is(err, kms.ErrKeyNotFound):
						if err := finishRemoval(ctx, a, keys, name, force, err); err != nil {
							return err
						}
						return printKey(a, asJSON, "deleted", name)
					case errors.Is(err, kms.ErrInvalidKeyName):
						return fmt.Errorf("%q: %w", name, err)
					}
					if loss := systemLoss(name); loss != "" && !accept {
						return fmt.Errorf("%q %s; not even --force deletes it, --%s does", name, loss, cli.AcceptLossFlag)
					}
					if err := mayRemove(ctx, a, cmd, keys, name, force); err != nil {
						return err
					}
					if err := keys.DeleteKey(ctx, name); err != nil {
						return fmt.Errorf("delete %q: %w", name, err)
					}
					return printKey(a, asJSON, "deleted", name)
				})
			})
		},
	}
	keyFlags(cmd)
	upstreamFlag(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "although something lies under it, or it is not known what does; do not ask")
	cmd.Flags().BoolVar(&accept, cli.AcceptLossFlag, false, "also keys that seal the proxy's own data, which is lost then")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// finishRemoval removes what is left of a key that does not exist any more. The store must say
// so itself: that there is no key may be remembered. It asks, since a key whose record was lost does
// not exist either, and a backup may bring it back.
func finishRemoval(ctx context.Context, a *cli.App, keys kms.Service, name string, force bool, absent error) error {
	if _, err := keys.KeyVersions(ctx, name); !errors.Is(err, kms.ErrKeyNotFound) {
		return fmt.Errorf("%q: %w", name, absent)
	}
	question := fmt.Sprintf("There is no key %s. Remove what a deletion that was cut off may have left of it?", name)
	if err := confirm(a, force, question); err != nil {
		return fmt.Errorf("%q: %w: %w", name, absent, err)
	}
	if err := keys.DeleteKey(ctx, name); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	fmt.Fprintf(a.Stderr, "%s: it was deleted before; what that had left is removed now\n", name)
	return nil
}

// mayRemove says whether a key may be deleted: --force is given, or it is known that nothing
// lies under it, or, where nothing is known of a proxy, the question is answered.
func mayRemove(ctx context.Context, a *cli.App, cmd *cobra.Command, keys kms.Service, name string, force bool) error {
	v, err := usedKey(ctx, a, cmd, keys, name)
	switch {
	case errors.Is(err, errNoProxy) && force:
		return nil
	case errors.Is(err, errNoProxy):
		return confirm(a, false, removalQuestion(a, cmd, keys, name))
	case force:
		fmt.Fprintf(a.Stderr, "%s: %s\n", name, lossKnown(v, err))
		return nil
	}
	return refusal(v, err, fmt.Sprintf("delete %q", name), "is lost for ever")
}

// systemLoss says what is lost with a key of the proxy's own; "" for other keys.
func systemLoss(name string) string {
	switch {
	case name == "bucketseal-system-ready":
		return `says that there are bucket rules: without it they may be forgotten, and what follows is encrypted otherwise than they say; where they cannot be read, see "bucketseal rules reset"`
	case strings.HasPrefix(name, "bucketseal-system"):
		return "seals the bucket rules, the learned credentials, and the manifests without which objects that were uploaded in parts cannot be read"
	}
	return ""
}

// removalQuestion says what the deletion of a key does.
func removalQuestion(a *cli.App, cmd *cobra.Command, keys kms.Service, name string) string {
	source, local := keys.(*build.Keys)
	if !local {
		use := ""
		if name == defaultKeyName {
			use = " It is the key of SSE-S3, and of SSE-KMS without a key id, of every proxy whose configuration names no other."
		}
		return fmt.Sprintf("Delete the key %s at the key server %s?%s How many objects are sealed under it is not known. Everything sealed under it is lost for ever.", name, remoteServer(a, cmd), use)
	}
	question := fmt.Sprintf("Delete the key %s in %s?", name, source.Where)
	if c, err := a.LoadConfig(cmd); err == nil {
		if uses := settingsUsing(c, name); len(uses) > 0 {
			question += fmt.Sprintf(" The configuration uses it: %s.", strings.Join(uses, ", "))
		}
		question += " Whether bucket rules use it cannot be told without a server's configuration."
	}
	return question + " How many objects are sealed under it is not known. Everything sealed under it is lost for ever."
}

// settingsUsing returns the settings that name a key.
func settingsUsing(c *config.Config, name string) (uses []string) {
	if c.DefaultKey == name {
		uses = append(uses, "default_key (SSE-KMS without a key id)")
	}
	if c.SSES3.Key == name {
		uses = append(uses, "sse_s3.key (all of SSE-S3)")
	}
	if slices.Contains(c.SSES3.FormerKeys, name) {
		uses = append(uses, "sse_s3.former_keys (older objects of SSE-S3)")
	}
	return uses
}
