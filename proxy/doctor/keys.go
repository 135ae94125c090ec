package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/lifecycle"
)

// slowKeys is how long getting and opening a DEK may take.
const slowKeys = 250 * time.Millisecond

// keysLook uses the keys that every write needs, and says how long that takes.
func keysLook(ctx context.Context, e *examination) {
	if e.o.KeysError != nil {
		e.find("keys.unusable", oneLine(e.o.KeysError))
	}
	if e.o.Overdue != nil && e.o.Overdue() > 0 {
		e.find("keys.overdue", fmt.Sprintf("%d KMS keys", e.o.Overdue()))
	}
	if e.o.Keys == nil {
		return
	}
	names := []string{lifecycle.SystemKey, e.c.SSES3.Key}
	if e.c.DefaultKey != e.c.SSES3.Key {
		names = append(names, e.c.DefaultKey)
	}
	for _, name := range names {
		took, err := useKey(ctx, e.o.Keys, name)
		switch {
		case errors.Is(err, kms.ErrKeyNotFound):
			e.find("keys.missing", fmt.Sprintf("there is no KMS key %q", name))
		case err != nil:
			e.find("keys.unusable", fmt.Sprintf("KMS key %q: %s", name, oneLine(err)))
			return // the others have the same trouble
		case took > slowKeys:
			e.find("keys.slow", fmt.Sprintf("getting and opening a DEK took %v", took.Round(time.Millisecond)))
			return
		}
	}
}

// useKey gets a DEK and opens it again, past every cache.
func useKey(ctx context.Context, keys kms.Service, name string) (took time.Duration, err error) {
	encContext := kms.Context{kms.ContextUse: "probe"}.Canonical()
	began := time.Now()
	dek, err := keys.GenerateDEK(kms.Uncached(ctx), name, encContext)
	if err != nil {
		return 0, err
	}
	clear(dek.Plaintext[:])
	dek.Plaintext, err = keys.DecryptDEK(kms.Uncached(ctx), name, dek.Ciphertext, encContext)
	clear(dek.Plaintext[:])
	return time.Since(began), err
}

// filesLook looks who may read files with keys and secrets.
func filesLook(_ context.Context, e *examination) {
	const others, groupAndOthers = 0o007, 0o077
	c := e.c
	var open []string
	look := func(forbidden fs.FileMode, paths ...string) {
		for _, path := range paths {
			info, err := os.Stat(path)
			if path != "" && err == nil && info.Mode().Perm()&forbidden != 0 {
				open = append(open, fmt.Sprintf("%s (%#o)", path, info.Mode().Perm()))
			}
		}
	}
	if c.KMS.IsZero() && c.DataDir != "" {
		keys := filepath.Join(c.DataDir, "keys")
		look(groupAndOthers, keys, masterKeyFile(e))
		_ = filepath.WalkDir(keys, func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != keys {
				look(groupAndOthers, path)
			}
			return nil
		})
	}
	look(others, c.TLS.Key, c.Upstream.Key, c.Upstream.Credentials.SecretKeyFile)
	if c.TLS.CertsDir != "" {
		look(others, filepath.Join(c.TLS.CertsDir, "private.key"))
	}
	if r := c.KMS.Remote; r != nil {
		look(others, r.APIKeyFile, r.Key, r.KeyPasswordFile)
	}
	for _, one := range c.Credentials {
		look(others, one.SecretKeyFile)
		if one.Upstream != nil {
			look(others, one.Upstream.SecretKeyFile)
		}
	}
	const most = 5
	if len(open) > 0 {
		text := strings.Join(open[:min(len(open), most)], ", ")
		if len(open) > most {
			text += fmt.Sprintf(" and %d more", len(open)-most)
		}
		e.find("files.permissions", "others may read "+text)
	}
}

func masterKeyFile(e *examination) string {
	switch {
	case !e.c.MasterKey.IsZero():
		return ""
	case e.c.MasterKeyFile != "":
		return e.c.MasterKeyFile
	}
	return filepath.Join(e.c.DataDir, "master.key")
}

// BackupMark is the file in the data directory whose date is that of the last key backup.
const BackupMark = "last-backup"

// backupLook looks whether every key of the data directory is in a backup.
func backupLook(_ context.Context, e *examination) {
	if !e.c.KMS.IsZero() || e.c.DataDir == "" {
		return
	}
	var keys int
	var newest time.Time
	_ = filepath.WalkDir(filepath.Join(e.c.DataDir, "keys"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		if info, err := d.Info(); err == nil {
			keys++
			if info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
		return nil
	})
	mark, err := os.Stat(filepath.Join(e.c.DataDir, BackupMark))
	switch {
	case keys == 0:
	case errors.Is(err, fs.ErrNotExist):
		e.find("keys.backup", fmt.Sprintf("no backup was made of the keys in %s (`bucketseal key backup` leaves a mark there)", e.c.DataDir))
	case err == nil && newest.After(mark.ModTime()):
		e.find("keys.backup", fmt.Sprintf("keys in %s have changed since the last backup of %s", e.c.DataDir, mark.ModTime().UTC().Format(time.RFC3339)))
	}
}
