package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/cli"
	"github.com/bucketseal/bucketseal/kms/keybackup"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/offline/copies"
	"github.com/bucketseal/bucketseal/proxy/offline/drive"
	"github.com/bucketseal/bucketseal/proxy/system"
)

// OfflineKeys are the keys of commands that need no server, as flags say them: those of a
// key backup, or of the key service that a configuration names.
type OfflineKeys struct {
	backup string
	source BackupSource
}

// Flags adds the flags, but for those of the configuration.
func (o *OfflineKeys) Flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.backup, "backup", "", "key backup, instead of a key store; the settings are its own, unless --config is given too")
	_ = cmd.MarkFlagFilename("backup", "age")
	o.source.Flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("backup", "data-dir")
}

// Open returns the keys, which the caller closes, and the settings that go with them.
func (o *OfflineKeys) Open(cmd *cobra.Command, a *cli.App) (*Keys, *config.Config, error) {
	c, err := a.LoadConfig(cmd)
	if err != nil {
		return nil, nil, err
	}
	if o.backup == "" {
		if len(o.source.Identities) > 0 || o.source.Passphrase {
			return nil, nil, cli.Usage(errors.New("--identity and --passphrase open a key backup: give --backup FILE"))
		}
		keys, err := OpenKeys(cmd.Context(), a, c, false, Logger(a, c.Log))
		return keys, c, err
	}
	b, err := o.source.Open(a, o.backup)
	if err != nil {
		return nil, nil, err
	}
	defer b.Zero()
	if !cmd.Flags().Changed("config") {
		SettingsOf(b, c)
	}
	keys, err := BackupKeys(cmd.Context(), b, filepath.Base(o.backup))
	return keys, c, err
}

// SettingsOf gives a configuration the settings that a backup holds.
func SettingsOf(b *keybackup.Backup, c *config.Config) {
	c.Deployment, c.SystemBucket = b.Deployment, b.SystemBucket
	c.DefaultKey, c.SSES3.Key, c.SSES3.FormerKeys = b.DefaultKey, b.S3Key, b.FormerS3Keys
}

// CopyOfBuckets is a copy that is to be closed.
type CopyOfBuckets interface {
	offline.Source
	io.Closer
}

// OpenCopy opens a copy of raw buckets, of whatever kind it is. heads are files with the
// metadata of a folder's files.
func OpenCopy(dir string, heads []string) (CopyOfBuckets, error) {
	if drive.IsDrive(dir) {
		if len(heads) > 0 {
			return nil, cli.Usage(fmt.Errorf("%s is a drive of MinIO's, which has its metadata: --heads is for folders of files", dir))
		}
		return drive.Open(dir)
	}
	return copies.Open(dir, heads)
}

// BackupKeys returns a key service over the entries of a backup, in memory.
func BackupKeys(ctx context.Context, b *keybackup.Backup, where string) (*Keys, error) {
	store := mem.New()
	if err := b.Fill(ctx, store); err != nil {
		return nil, err
	}
	return LocalKeys(store, where, nil)
}

// OfflineOptions returns what a reader of copies needs.
func OfflineOptions(keys *Keys, c *config.Config, objects system.Objects) offline.Options {
	return offline.Options{
		KMS: keys, System: objects, SystemKey: lifecycle.SystemKey, Deployment: c.Deployment,
		S3Key: c.SSES3.Key, FormerS3Keys: c.SSES3.FormerKeys,
	}
}
