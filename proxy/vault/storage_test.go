package vault_test

import (
	"context"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	objects "github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// lesser is a storage that can do what it says.
type lesser struct {
	storage.Storage
	can storage.Capabilities
}

func (l lesser) Capabilities() storage.Capabilities { return l.can }

func TestStorageThatCannotCarryTheEngineIsRefused(t *testing.T) {
	t.Parallel()
	base := memory.New(memory.Options{Plain: true})
	for lacks, change := range map[string]func(*storage.Capabilities){
		"":                      func(*storage.Capabilities) {},
		"ETags that follow":     func(c *storage.Capabilities) { c.PredictsETags = false },
		"conditions on writes":  func(c *storage.Capabilities) { c.ConditionsInVersions = false },
		"records of 4096 bytes": func(c *storage.Capabilities) { c.RecordBytes = sse.MaxRecordLength - 1 },
	} {
		s := lesser{base, base.Capabilities()}
		change(&s.can)
		_, err := vault.New(vault.Options{
			Storage: s, Keys: new(keyring.Ring), Objects: new(objects.Objects), Manifests: new(manifest.Store),
			Ledger: new(manifest.Ledger), Rekeyed: new(rekey.Book), Encryption: new(encryption.Settings), Ready: func(context.Context) error { return nil },
		})
		if (err == nil) != (lacks == "") || err != nil && !strings.Contains(err.Error(), lacks) {
			t.Errorf("%q: %v", lacks, err)
		}
	}
}
