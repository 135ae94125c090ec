package keycmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/keybackup"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// verifyOptions are the flags of `key backup --verify`.
type verifyOptions struct {
	file       string
	identities []string
	sample     string
	buckets    []string
	from       string
	heads      []string
}

func (o *verifyOptions) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&o.file, "verify", "", "verify this backup instead of writing one")
	flags.StringArrayVarP(&o.identities, "identity", "i", nil, "with --verify: file with age identities (repeatable)")
	flags.StringVar(&o.sample, "sample", "1000", "with --verify: all, a number of objects of each bucket, or a share as 5%")
	flags.StringArrayVar(&o.buckets, "bucket", nil, "with --verify: BUCKET, BUCKET/KEY or BUCKET/PREFIX* to look at, instead of all (repeatable)")
	flags.StringVar(&o.from, "from", "", "with --verify: a copy of the raw buckets, instead of MinIO, as of \"object decrypt\"")
	flags.StringArrayVar(&o.heads, "heads", nil, "with --verify --from: file with the copy's metadata, as of \"object decrypt\" (repeatable)")
	for _, name := range []string{"recipient", "recipients-file", "output", "force", "keystore"} {
		cmd.MarkFlagsMutuallyExclusive("verify", name)
	}
}

func (o *verifyOptions) run(a *cli.App, cmd *cobra.Command, passphrase, asJSON bool) error {
	sample, err := offline.ParseSample(o.sample)
	if err != nil {
		return cli.Usage(err)
	}
	var want []offline.Selection
	for _, text := range o.buckets {
		s, err := offline.ParseSelection(text)
		if err != nil {
			return cli.Usage(err)
		}
		want = append(want, s)
	}
	source := build.BackupSource{Identities: o.identities, Passphrase: passphrase}
	b, err := source.Open(a, o.file)
	if err != nil {
		return err
	}
	defer b.Zero()
	c, err := a.LoadConfig(cmd)
	if err != nil {
		return err
	}
	// What is verified is what a restore elsewhere would have: the backup's own settings.
	build.SettingsOf(b, c)
	from, objects, done, err := o.open(cmd.Context(), c, build.Logger(a, c.Log))
	if err != nil {
		return err
	}
	defer done()
	keys, err := build.BackupKeys(cmd.Context(), b, o.file)
	if err != nil {
		return err
	}
	defer keys.Close()
	reader, err := offline.New(build.OfflineOptions(keys, c, objects))
	if err != nil {
		return err
	}
	failed := 0
	proof := &offline.Proof{
		Reader: reader, From: from, Want: want, SystemBucket: c.SystemBucket, Sample: sample,
		Failed: func(object *offline.Object, err error) {
			const enough = 100
			if failed++; failed <= enough {
				fmt.Fprintf(a.Stderr, "%q version %q: %v\n", object.Name.Bucket+"/"+object.Name.Key, object.Version, err)
			}
		},
	}
	found, err := proof.Run(cmd.Context())
	if err != nil {
		return err
	}
	return printProven(a, asJSON, b, found)
}

// open returns the objects to look at, those of the system bucket, and what ends it.
func (o *verifyOptions) open(ctx context.Context, c *config.Config, log *slog.Logger) (offline.Source, system.Objects, func(), error) {
	if o.from != "" {
		from, err := build.OpenCopy(o.from, o.heads)
		if err != nil {
			return nil, nil, nil, err
		}
		return from, offline.SystemObjects(from, c.SystemBucket), func() { _ = from.Close() }, nil
	}
	if len(o.heads) > 0 {
		return nil, nil, nil, cli.Usage(errors.New("--heads goes with --from"))
	}
	if c.Upstream.Endpoint == nil {
		return nil, nil, nil, cli.Usage(errors.New("what should the backup open? Name MinIO as for the server (--config, --upstream), or a copy with --from"))
	}
	up, err := build.Upstream(c, certs.NewWatcher(log))
	if err != nil {
		return nil, nil, nil, err
	}
	own := storage.Credential{AccessKey: c.Upstream.Credentials.AccessKey, SecretKey: c.Upstream.Credentials.SecretKey.Reveal()}
	service, err := up.NewService(own, c.SystemBucket)
	if err != nil {
		up.Close()
		return nil, nil, nil, err
	}
	live := &offline.Live{Storage: up.Storage(own), Names: func() ([]string, error) {
		dates, err := service.CreationDates(ctx)
		if err != nil {
			return nil, err
		}
		names := make([]string, 0, len(dates))
		for name := range dates {
			names = append(names, name)
		}
		slices.Sort(names)
		return names, nil
	}}
	return live, service, up.Close, nil
}

func printProven(a *cli.App, asJSON bool, b *keybackup.Backup, found offline.Proven) error {
	digest, err := b.Digest()
	if err != nil {
		return err
	}
	if asJSON {
		err = a.PrintJSON(struct {
			Seen     int64  `json:"objects"`
			Opened   int64  `json:"opened"`
			Plain    int64  `json:"without_record"`
			Customer int64  `json:"customer_keys"`
			Failed   int64  `json:"failed"`
			System   bool   `json:"bucket_rules_opened"`
			Keys     int    `json:"keys"`
			Digest   string `json:"digest"`
			keybackup.About
		}{found.Seen, found.Opened, found.Plain, found.Customer, found.Failed, found.System, len(b.Entries), digest, b.About})
	} else {
		_, err = fmt.Fprintf(a.Stdout, "%d keys, digest %s: of %d objects and older versions %d were opened, %d did not open, %d have no record, %d their customers' keys\n",
			len(b.Entries), digest, found.Seen, found.Opened, found.Failed, found.Plain, found.Customer)
	}
	switch {
	case err != nil:
		return err
	case found.Failed > 0:
		return fmt.Errorf("%d objects do not open with this backup", found.Failed)
	case !found.System:
		return errors.New("the system bucket is not there, or has no bucket rules: nothing shows that the backup opens manifests")
	}
	return nil
}
