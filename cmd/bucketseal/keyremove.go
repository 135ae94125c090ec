package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

const (
	// askRules bounds the wait for the bucket rules before a question is asked.
	askRules = 5 * time.Second
	// defaultKeyName is the default of default_key and sse_s3.key.
	defaultKeyName = "bucketseal-default"
	// maxNamed bounds how many buckets a question names.
	maxNamed = 10
)

func (a *app) keyRemoveCommand() *cobra.Command {
	var force, accept, asJSON bool
	cmd := &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"remove", "delete"},
		Short:   "Delete KMS keys, and with them everything sealed under them",
		Long: `Asks first, and says in which store the key is, and which settings and bucket rules use it as far as
that can be told: with a server's whole configuration also the rules are looked at.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.withKeys(cmd, false, func(ctx context.Context, keys kms.Service) error {
				return each(names, func(name string) error {
					if _, err := keys.DescribeKey(ctx, name); errors.Is(err, kms.ErrKeyNotFound) || errors.Is(err, kms.ErrInvalidKeyName) {
						return fmt.Errorf("%q: %w", name, err)
					}
					if loss := systemLoss(name); loss != "" && !accept {
						return fmt.Errorf("%q %s; not even --force deletes it, --%s does", name, loss, acceptLossFlag)
					}
					if !force {
						if err := a.confirm(false, a.removalQuestion(ctx, cmd, keys, name)); err != nil {
							return err
						}
					}
					if err := keys.DeleteKey(ctx, name); err != nil {
						return fmt.Errorf("delete %q: %w", name, err)
					}
					return a.printKey(asJSON, "deleted", name)
				})
			})
		},
	}
	keyFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "do not ask")
	cmd.Flags().BoolVar(&accept, acceptLossFlag, false, "also keys that seal the proxy's own data, which is lost then")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
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
func (a *app) removalQuestion(ctx context.Context, cmd *cobra.Command, keys kms.Service, name string) string {
	source, local := keys.(*keySource)
	if !local {
		use := ""
		if name == defaultKeyName {
			use = " It is the key of SSE-S3, and of SSE-KMS without a key id, of every proxy whose configuration names no other."
		}
		return fmt.Sprintf("Delete the key %s at the key server %s?%s Everything sealed under it is lost for ever.", name, a.remoteServer(cmd), use)
	}
	question := fmt.Sprintf("Delete the key %s in %s?", name, source.where)
	if c, err := a.loadConfig(cmd); err == nil {
		if uses := settingsUsing(c, name); len(uses) > 0 {
			question += fmt.Sprintf(" The configuration uses it: %s.", strings.Join(uses, ", "))
		}
		question += a.rulesUsing(ctx, c, source, name)
	}
	return question + " Everything sealed under it is lost for ever."
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

// rulesUsing says which bucket rules name a key, and if that cannot be told.
func (a *app) rulesUsing(ctx context.Context, c *config.Config, keys *keySource, name string) string {
	if c.CheckServer() != nil {
		return " Whether bucket rules use it cannot be told without a server's configuration."
	}
	ctx, cancel := context.WithTimeout(ctx, askRules)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	up, err := newUpstream(c, certs.NewWatcher(quiet))
	if err != nil {
		return fmt.Sprintf(" Whether bucket rules use it cannot be told: %v.", err)
	}
	defer up.Close()
	var buckets []string
	server, err := proxy.New(proxyOptions(c, up, keys, quiet))
	if err == nil {
		buckets, err = server.RulesUsing(ctx, name)
	}
	if err != nil {
		return fmt.Sprintf(" Whether bucket rules use it cannot be told: %v.", err)
	}
	if len(buckets) == 0 {
		return ""
	}
	named := strings.Join(buckets[:min(len(buckets), maxNamed)], ", ")
	if len(buckets) > maxNamed {
		named += ", ..."
	}
	return fmt.Sprintf(" The rules of %d buckets use it: %s.", len(buckets), named)
}
