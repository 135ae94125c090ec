package vault_test

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"crypto/rand"
	"encoding/hex"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// smallWrite is up to which size in bytes the engines of a writeKit read bodies whole.
const smallWrite = 100_000

// writeKit is an installation with an engine that encrypts, and one that stores what it
// copies as it is, so that it can be looked at.
type writeKit struct {
	testing.TB
	at       *vaulttest.Installation
	e, plain *vaulttest.Engine
	c        *caller.Caller
}

func newWriteKit(t testing.TB) *writeKit {
	t.Helper()
	k := &writeKit{TB: t, at: vaulttest.New(t, memory.Options{}), c: vaulttest.Caller("writer")}
	k.at.Change = func(o *vaulttest.Options) { o.SmallObject, o.PlainRead = smallWrite, []string{vaulttest.Bucket} }
	k.e = k.at.Engine(t)
	k.at.Change = func(o *vaulttest.Options) {
		o.SmallObject, o.PlainRead, o.AutoEncryption = smallWrite, []string{vaulttest.Bucket}, sse.ModeNone
	}
	k.plain = k.at.Engine(t)
	return k
}

// md5ETag is the ETag of data that SSE-S3 shows.
func md5ETag(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see above
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

// someBytes are size random bytes.
func someBytes(t testing.TB, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	return data
}

var (
	oneKey   = sse.Secret{1, 2, 3}
	otherKey = sse.Secret{3, 2, 1}
)

// asked is how an object of a mode is asked for.
func asked(mode sse.Mode) encryption.Asked {
	a := encryption.Asked{Request: sse.Request{Mode: mode}}
	if mode == sse.ModeC {
		a.CustomerKey, a.CustomerKeyMD5 = oneKey, "md5"
	}
	return a
}

// reading names an object of a mode as the source of a copy.
func reading(key string, mode sse.Mode) vault.Read {
	r := vault.Read{Name: vaulttest.Name(key)}
	if mode == sse.ModeC {
		customer := oneKey
		r.Customer = &customer
	}
	return r
}

// put stores data by the engine that encrypts, unless the mode is none, as changes want it.
func (k *writeKit) put(key string, data []byte, mode sse.Mode, changes ...func(*vault.Put)) (*vault.Stored, error) {
	p := &vault.Put{Write: vault.Write{Name: vaulttest.Name(key), Asked: asked(mode)}, Size: int64(len(data))}
	p.Body = func(d plaintext.Digests) (plaintext.Body, error) {
		body := vaulttest.NewBody(data, append(d.Compute, d.Default)...)
		body.WithoutMD5 = !d.MD5
		return body, nil
	}
	for _, change := range changes {
		change(p)
	}
	e := k.e
	if mode == sse.ModeNone {
		e = k.plain
	}
	return e.Put(k.Context(), k.c, p)
}

// mustPut is put that succeeds.
func (k *writeKit) mustPut(key string, data []byte, mode sse.Mode, changes ...func(*vault.Put)) *vault.Stored {
	k.Helper()
	stored, err := k.put(key, data, mode, changes...)
	if err != nil {
		k.Fatalf("put %s: %v", key, err)
	}
	return stored
}

// copy copies an object by the engine that encrypts, unless the mode is none.
func (k *writeKit) copy(from vault.Read, to string, mode sse.Mode, changes ...func(*vault.Copy)) (*vault.Copied, error) {
	what := &vault.Copy{Write: vault.Write{Name: vaulttest.Name(to), Asked: asked(mode)}, Source: from}
	for _, change := range changes {
		change(what)
	}
	e := k.e
	if mode == sse.ModeNone {
		e = k.plain
	}
	return e.Copy(k.Context(), k.c, what)
}

// read returns an object's plaintext.
func (k *writeKit) read(key string, mode sse.Mode) ([]byte, error) {
	k.Helper()
	if mode == sse.ModeNone {
		return k.raw(key), nil
	}
	return k.e.Plaintext(k.Context(), k.c, reading(key, mode))
}

// wantData fails unless an object has these data.
func (k *writeKit) wantData(key string, mode sse.Mode, want []byte) {
	k.Helper()
	got, err := k.read(key, mode)
	if err != nil || !bytes.Equal(got, want) {
		k.Errorf("%s: %d bytes, want %d: %v", key, len(got), len(want), err)
	}
}

// raw returns what lies at the storage, nil for nothing.
func (k *writeKit) raw(key string) []byte {
	stored, err := k.at.Storage.Raw(vaulttest.Name(key), "")
	if err != nil {
		return nil
	}
	return append([]byte{}, stored.Data...)
}

func (k *writeKit) wantNothing(key, why string) {
	k.Helper()
	if k.raw(key) != nil {
		k.Errorf("%s: something is stored", why)
	}
}

// failing makes calls of one kind about a bucket's objects fail at a step.
func (k *writeKit) failing(bucket string, op memory.Op, step memory.Step, err error) {
	k.at.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Name.Bucket == bucket && c.Op == op && c.Step == step {
			return err
		}
		return nil
	})
}

// forbidding lets nobody do what is listed.
func (k *writeKit) forbidding(ops ...memory.Op) {
	k.at.Storage.SetRights(func(c *memory.Call) error {
		for _, op := range ops {
			if c.Op == op && !c.Own {
				return memory.Forbidden()
			}
		}
		return nil
	})
}
