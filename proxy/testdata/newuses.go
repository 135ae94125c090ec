package vault

import (
	"context"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// What somebody might add to the engine: each of these speaks to the storage under the
// proxy's own credential, or reads what lies there under it. The last one does not.

func (v *Vault) looksAlone(ctx context.Context, name sse.Name) (*storage.Info, error) {
	return v.alone().Head(ctx, &storage.Get{Name: name})
}

func (v *Vault) looksForCaller(ctx context.Context, c *Caller, name sse.Name) (*storage.Info, error) {
	at := v.own
	return at(c).Head(ctx, &storage.Get{Name: name})
}

func (v *Vault) takesStorage(ctx context.Context, name sse.Name) (*storage.Info, error) {
	everything := v.o.Storage
	return everything.Own(storage.Actor{}).Head(ctx, &storage.Get{Name: name})
}

func (v *Vault) readsLedger(ctx context.Context, name sse.Name, id string) (*manifest.Upload, error) {
	options := v.o
	return options.Ledger.Get(ctx, name, id)
}

func readsGivenLedger(ctx context.Context, noted *manifest.Ledger, name sse.Name, id string) (*manifest.Upload, error) {
	return noted.Get(ctx, name, id)
}

func (v *Vault) readsThePolicy(ctx context.Context, bucket string) ([]byte, error) {
	read := v.o.Policy
	return read(ctx, bucket)
}

var lookFromAVariable = func(ctx context.Context, v *Vault, name sse.Name) (*storage.Info, error) {
	return v.alone().Head(ctx, &storage.Get{Name: name})
}

func (v *Vault) asksAsTheCaller(ctx context.Context, c *Caller, name sse.Name) (*storage.Info, error) {
	return v.as(c).Head(ctx, &storage.Get{Name: name})
}
