package keycmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/usage"
)

// askUsage bounds the wait for what proxies remember of the use of keys.
const askUsage = 10 * time.Second

// errNoProxy says that a command knows no proxy whose objects could lie under a key.
var errNoProxy = errors.New("no configuration of a proxy is given")

// upstreamFlag adds, for a command that has keyFlags, the flag that tells which proxy's
// objects may lie under a key, where no file does.
func upstreamFlag(cmd *cobra.Command) {
	for _, s := range config.Settings() {
		if s.Flag == "upstream" {
			cmd.Flags().String(s.Flag, "", s.Usage+" ($"+s.Env+")")
		}
	}
}

// withProxy calls f with a proxy over the keys of this process, which serves nobody.
// errNoProxy if the configuration is not a proxy's, or the keys are not its own.
func withProxy(ctx context.Context, a *cli.App, cmd *cobra.Command, keys kms.Service, f func(context.Context, *config.Config, *proxy.Server) error) error {
	own, local := keys.(*build.Keys)
	if !local {
		return errNoProxy
	}
	c, err := a.LoadConfig(cmd)
	if err != nil || c.CheckServer() != nil {
		return errNoProxy
	}
	ctx, cancel := context.WithTimeout(ctx, askUsage)
	defer cancel()
	quiet := slog.New(slog.DiscardHandler)
	up, err := build.Upstream(c, certs.NewWatcher(quiet))
	if err != nil {
		return err
	}
	defer up.Close()
	server, err := proxy.New(build.ProxyOptions(c, up, own, quiet))
	if err != nil {
		return err
	}
	return f(ctx, c, server)
}

// remembered returns the last scan, nil if there is none, and the uses that proxies share.
func remembered(ctx context.Context, server *proxy.Server) (*usage.Scan, *usage.Shared, error) {
	scan, err := server.Usage().Last(ctx)
	if errors.Is(err, usage.ErrNoScan) || errors.Is(err, usage.ErrMalformed) {
		scan, err = nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	shared, err := server.Uses().Shared(ctx)
	return scan, shared, err
}

// usedVersion judges a version of a KMS key by what the proxies remember. errNoProxy.
func usedVersion(ctx context.Context, a *cli.App, cmd *cobra.Command, keys kms.Service, name string, version uint32) (v *usage.Verdict, err error) {
	err = withProxy(ctx, a, cmd, keys, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
		scan, shared, err := remembered(ctx, server)
		if err != nil {
			return err
		}
		versions, err := keys.KeyVersions(ctx, name)
		if err == nil {
			v = usage.OfVersionAmong(scan, shared, name, version, versions, time.Now())
		}
		return err
	})
	return v, err
}

// usedKey is usedVersion for a whole key. Where others than this proxy may use the key, or
// a setting or a rule names it, that is what is missing.
func usedKey(ctx context.Context, a *cli.App, cmd *cobra.Command, keys kms.Service, name string) (v *usage.Verdict, err error) {
	err = withProxy(ctx, a, cmd, keys, func(ctx context.Context, c *config.Config, server *proxy.Server) error {
		scan, shared, err := remembered(ctx, server)
		if err != nil {
			return err
		}
		var last usage.Use
		versions, err := keys.KeyVersions(ctx, name)
		if err != nil {
			return err
		}
		for _, one := range versions {
			if one.LastGenerate.After(last.Generate) {
				last.Generate = one.LastGenerate
			}
			if one.LastDecrypt.After(last.Decrypt) {
				last.Decrypt = one.LastDecrypt
			}
		}
		v = usage.OfKey(scan, shared, name, last, time.Now())
		own, _ := keys.(*build.Keys)
		rules, err := server.RulesUsing(ctx, name)
		if err != nil {
			return err
		}
		switch named := namedBy(c, name, rules); {
		case named != "":
			v.Missing, v.Remedy = named, "change that first"
		case own.ServedAt() != "":
			v.Missing, v.Remedy = "others than the proxies may use it, at "+own.ServedAt(), "--force, if none does"
		}
		return nil
	})
	return v, err
}

// namedBy says which settings and rules name a key, "" if none does.
func namedBy(c *config.Config, name string, rules []string) string {
	var all []string
	if uses := settingsUsing(c, name); len(uses) > 0 {
		all = append(all, "the configuration uses it: "+strings.Join(uses, ", "))
	}
	const most = 10
	switch n := len(rules); {
	case n > most:
		all = append(all, fmt.Sprintf("the rules of %d buckets use it, such as %s", n, strings.Join(rules[:most], ", ")))
	case n > 0:
		all = append(all, fmt.Sprintf("the rules of %d buckets use it: %s", n, strings.Join(rules, ", ")))
	}
	return strings.Join(all, "; ")
}

// refusal says why nothing is done without --force; nil if that is not needed. doing is
// what was asked for, of what, as in "retire version 1 of "x"".
func refusal(v *usage.Verdict, err error, doing, loss string) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s: what uses it cannot be told: %w; --force does it all the same", doing, err)
	case v.Lost() > 0:
		rewrap := "bucketseal key rewrap moves objects to another version or key"
		return fmt.Errorf("%s: it is used: %s, counted %s. That %s; %s, and --force does it all the same", doing, v, counted(v.Scan), loss, rewrap)
	case v.Missing != "":
		return fmt.Errorf("%s: it is not known whether it is used: %s. Use: %s; --force does it all the same", doing, v.Missing, v.Remedy)
	}
	return nil
}

// counted says when a scan was made.
func counted(scan *usage.Scan) string {
	return fmt.Sprintf("%s ago, at %s", time.Since(scan.Began).Round(time.Second), scan.Began.UTC().Format(time.RFC3339))
}

// lossKnown says what is known to be lost, before it is.
func lossKnown(v *usage.Verdict, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("what uses it cannot be told: %v", err)
	case v.Missing != "":
		return fmt.Sprintf("known to lie under it: %s; and what is not known: %s", v, v.Missing)
	}
	return fmt.Sprintf("what lies under it: %s, counted %s", v, counted(v.Scan))
}

// addUses adds what proxies have seen to what the key service has. That nothing could be
// had is not an error: nothing of it is proof in any case.
func addUses(ctx context.Context, a *cli.App, cmd *cobra.Command, keys kms.Service, all []keyVersions) {
	_ = withProxy(ctx, a, cmd, keys, func(ctx context.Context, _ *config.Config, server *proxy.Server) error {
		shared, err := server.Uses().Shared(ctx)
		if err != nil {
			return err
		}
		for _, k := range all {
			for i := range k.Versions {
				v := &k.Versions[i]
				use := shared.Last(k.Name, v.Version)
				if use.Generate.After(v.LastGenerate) {
					v.LastGenerate = use.Generate
				}
				if use.Decrypt.After(v.LastDecrypt) {
					v.LastDecrypt = use.Decrypt
				}
			}
		}
		return nil
	})
}
