// Package vaulttest makes engines over a storage in memory, for tests: as many as a test
// wants over one storage and one key service, as the proxies of an installation are.
package vaulttest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// Bucket exists in every installation, without versions.
const Bucket = "bucket"

// Installation is a storage in memory with a key service that has the keys "s3",
// "default", "other" and "system".
type Installation struct {
	Storage *memory.Storage
	System  *memory.System
	KMS     kms.Service
	// Rights judge callers; nil lets everybody who signed use every key.
	Rights keyring.Rights
	// Change, if not nil, changes the options of each engine.
	Change func(*vault.Options)
	// Policy is the policy of every bucket, nil for none.
	Policy []byte
	// Lease is how long engines know the buckets' rules; New makes it 10 ms.
	Lease time.Duration
}

// New returns an installation whose system bucket is ready.
func New(t testing.TB, o memory.Options) *Installation {
	t.Helper()
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	for _, name := range []string{"s3", "default", "other", "system"} {
		if err := service.CreateKey(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	i := &Installation{Storage: memory.New(o), KMS: service, Lease: 10 * time.Millisecond}
	i.System = i.Storage.System("bucketseal-system")
	if err := i.System.CreateBucket(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := i.Storage.CreateBucket(Bucket, memory.Unversioned); err != nil {
		t.Fatal(err)
	}
	return i
}

// everybody lets everybody who signed use every key.
type everybody struct{}

// MayUse implements keyring.Rights.
func (everybody) MayUse(context.Context, *identity.Identity, string, string, identity.Use) error {
	return nil
}

// Engine is one of the installation's engines with what it was made of.
type Engine struct {
	*vault.Vault
	Rules     *bucketconfig.Rules
	Manifests *manifest.Store
	Ledger    *manifest.Ledger
}

// Engine returns another engine over the installation.
func (i *Installation) Engine(t testing.TB) *Engine {
	t.Helper()
	return i.EngineAt(t, i.Storage.Seen(""))
}

// EngineAt returns another engine, which sees the installation's storage through a view.
func (i *Installation) EngineAt(t testing.TB, view *memory.View) *Engine {
	t.Helper()
	own := view.System(i.System.Bucket())
	store, err := system.New(system.Options{Service: own, KMS: i.KMS, Key: "system", Deployment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	rules, err := bucketconfig.New(bucketconfig.Options{
		Backend: vault.RulesBackend{System: store}, Buckets: own, Home: i.System.Bucket(), Lease: i.Lease, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := rules.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	rights := i.Rights
	if rights == nil {
		rights = everybody{}
	}
	e := &Engine{Rules: rules, Manifests: manifest.New(store), Ledger: manifest.NewLedger(store)}
	o := vault.Options{
		Storage: view, System: store, Manifests: e.Manifests, Ledger: e.Ledger, Rules: rules,
		Keys:           keyring.New(keyring.Options{KMS: i.KMS, Rights: rights, DefaultKey: "default", S3Key: "s3", Reserved: []string{"system"}}),
		Ready:          func(context.Context) error { return nil },
		Policy:         func(context.Context, string) ([]byte, error) { return i.Policy, nil },
		Clock:          i.Storage.Clock,
		AutoEncryption: sse.ModeS3, SmallObject: 1 << 20, Logger: quiet,
	}
	if i.Change != nil {
		i.Change(&o)
	}
	if e.Vault, err = vault.New(o); err != nil {
		t.Fatal(err)
	}
	return e
}

// Caller returns a caller of this name with a signature; "" is one without.
func Caller(name string) *vault.Caller {
	c := &vault.Caller{Name: name, RequestID: "test", Memory: heap{}}
	if name != "" {
		c.Keys = keyring.As(&identity.Identity{AccessKey: name, Kind: identity.Configured})
	}
	return c
}

// heap is memory without a bound.
type heap struct{}

// Take implements vault.Memory.
func (heap) Take(size int64) []byte { return make([]byte, size) }

// Give implements vault.Memory.
func (heap) Give([]byte, bool) {}

// Body is a client's body.
type Body struct {
	r    *bytes.Reader
	data []byte
	want map[checksum.Algorithm]bool
	err  error
	// Fail, if not nil, is the error of the read that would reach byte FailAt.
	Fail   error
	FailAt int64
	// Unsized hides the size.
	Unsized bool
}

// NewBody returns a body of which these checksums are computed.
func NewBody(data []byte, sums ...checksum.Algorithm) *Body {
	b := &Body{r: bytes.NewReader(data), data: data, want: make(map[checksum.Algorithm]bool)}
	for _, a := range sums {
		if a != 0 {
			b.want[a] = true
		}
	}
	return b
}

// Read implements vault.Body.
func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	at := int64(len(b.data)) - int64(b.r.Len())
	if b.Fail != nil && at >= b.FailAt {
		b.err = b.Fail
		return 0, b.err
	}
	if b.Fail != nil && int64(len(p)) > b.FailAt-at {
		p = p[:b.FailAt-at]
	}
	n, err := b.r.Read(p)
	b.err = err
	return n, err
}

// MD5 implements vault.Body.
func (b *Body) MD5() (sum [16]byte, ok bool) {
	return md5.Sum(b.data), b.err == io.EOF //nolint:gosec // see above
}

// DeclaredMD5 implements vault.Body.
func (b *Body) DeclaredMD5() (sum [16]byte, ok bool) { return sum, false }

// Checksums implements vault.Body.
func (b *Body) Checksums() map[checksum.Algorithm][]byte {
	out := make(map[checksum.Algorithm][]byte)
	for a := range b.want {
		if b.err == io.EOF {
			h := a.New()
			_, _ = h.Write(b.data)
			out[a] = h.Sum(nil)
		}
	}
	return out
}

// DeclaredChecksum implements vault.Body.
func (b *Body) DeclaredChecksum() (checksum.Algorithm, []byte, bool) { return 0, nil, false }

// TrailerChecksum implements vault.Body.
func (b *Body) TrailerChecksum() (checksum.Algorithm, bool) { return 0, false }

// Size implements vault.Body.
func (b *Body) Size() int64 {
	if b.Unsized {
		return -1
	}
	return int64(len(b.data))
}

// Err implements vault.Body.
func (b *Body) Err() error { return b.err }
