// Package vaulttest makes engines over a storage in memory, for tests: as many as a test
// wants over one storage and one key service, as the proxies of an installation are.
package vaulttest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// Bucket exists in every installation, without versions.
const Bucket = "bucket"

// Name names an object of Bucket.
func Name(key string) sse.Name { return sse.Name{Bucket: Bucket, Key: key} }

// Data are size bytes that a seed tells.
func Data(size int, seed uint64) []byte {
	data := make([]byte, size)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

// Installation is a storage in memory with a key service that has the keys "s3",
// "default", "other" and "system".
type Installation struct {
	Storage *memory.Storage
	System  *memory.System
	KMS     kms.Service
	// Rights judge callers; nil lets everybody who signed use every key.
	Rights keyring.Rights
	// Change, if not nil, changes the options of each engine.
	Change func(*Options)
	// Before, if not nil, puts another storage before that in which engines have objects.
	Before func(storage.Storage) storage.Storage
	// Policy is the policy of every bucket, nil for none.
	Policy []byte
	// Lease is how long engines know the buckets' rules; New makes it 10 ms.
	Lease time.Duration
}

// Options are what tests change of an engine.
type Options struct {
	// Keys are those of the engine, Wraps what they may be made with.
	Keys  *keyring.Ring
	Wraps *manifest.Wraps
	Book  *rekey.Book
	// The rest is as in the options of the packages that make up an engine.
	Policy         func(ctx context.Context, bucket string) ([]byte, error)
	PlainRead      glob.Patterns
	OpaqueETag     glob.Patterns
	MD5ETag        glob.Patterns
	AutoEncryption sse.Mode
	SmallObject    int64
	ListingCache   int64
	Logger         *slog.Logger
	SweepOthers    maintenance.SweepOthers
	LateWrite      func(context.Context) (time.Time, error)
	SaveEvery      time.Duration
	Settles        time.Duration
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
	*encryption.Settings
	*maintenance.Keeper
	Rules     *bucketconfig.Rules
	Manifests *manifest.Store
	Ledger    *manifest.Ledger
	Wraps     *manifest.Wraps
	Book      *rekey.Book
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
	var where storage.Storage = view
	if i.Before != nil {
		where = i.Before(view)
	}
	store, err := system.New(system.Options{Service: own, KMS: i.KMS, Key: "system", Deployment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	rules, err := bucketconfig.New(bucketconfig.Options{
		Backend: encryption.RulesBackend{System: store}, Buckets: own, Home: i.System.Bucket(), Lease: i.Lease, Logger: quiet,
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
	e := &Engine{Rules: rules, Manifests: manifest.New(store), Ledger: manifest.NewLedger(store), Wraps: manifest.NewWraps(store)}
	e.Book, err = rekey.New(rekey.Options{System: store, Wraps: e.Wraps, Lease: i.Lease, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Keys:           keyring.New(keyring.Options{KMS: i.KMS, Rights: rights, DefaultKey: "default", S3Key: "s3", Reserved: []string{"system"}, Wraps: e.Wraps, Rekeyed: e.Book}),
		Wraps:          e.Wraps,
		Book:           e.Book,
		Policy:         func(context.Context, string) ([]byte, error) { return i.Policy, nil },
		AutoEncryption: sse.ModeS3, SmallObject: 1 << 20, ListingCache: 1 << 20, Logger: quiet,
	}
	if i.Change != nil {
		i.Change(&o)
	}
	ready := func(context.Context) error { return nil }
	objects, err := sealed.New(sealed.Options{Storage: where, Keys: o.Keys, Manifests: e.Manifests, Logger: o.Logger})
	if err != nil {
		t.Fatal(err)
	}
	e.Settings, err = encryption.New(encryption.Options{
		Storage: where, Keys: o.Keys, Rules: rules, Ready: ready, Policy: o.Policy, AutoEncryption: o.AutoEncryption,
		OpaqueETag: o.OpaqueETag, MD5ETag: o.MD5ETag, Logger: o.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Vault, err = vault.New(vault.Options{
		Storage: where, Manifests: e.Manifests, Ledger: e.Ledger, Rekeyed: e.Book, Keys: o.Keys, Objects: objects, Encryption: e.Settings,
		Ready: ready, PlainRead: o.PlainRead, SmallObject: o.SmallObject, ListingCache: o.ListingCache, Logger: o.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Keeper, err = maintenance.New(maintenance.Options{
		Storage: where, Keys: o.Keys, Objects: objects, System: store, Manifests: e.Manifests, Ledger: e.Ledger, Wraps: e.Wraps, Rekeyed: e.Book, KMS: i.KMS,
		Buckets: own.CreationDates, SystemBucket: i.System.Bucket(), Ready: ready, Clock: i.Storage.Clock,
		Layout:      slices.Concat(manifest.Layout(), rekey.Layout(), progress.Layout(), []system.Layout{{Prefix: "rules/", Kind: "bucket-rules"}}),
		SweepOthers: o.SweepOthers, LateWrite: o.LateWrite, SaveEvery: o.SaveEvery, Settles: o.Settles, Logger: o.Logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Plaintext reads an object whole.
func (e *Engine) Plaintext(ctx context.Context, c *caller.Caller, read vault.Read) ([]byte, error) {
	r, err := e.Open(ctx, c, &vault.Get{Read: read})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

// Caller returns a caller of this name with a signature; "" is one without.
func Caller(name string) *caller.Caller {
	c := &caller.Caller{Name: name, RequestID: "test", Memory: heap{}}
	if name != "" {
		c.Keys = keyring.As(&identity.Identity{AccessKey: name, Kind: identity.Configured})
	}
	return c
}

// heap is memory without a bound.
type heap struct{}

// Take implements plaintext.Memory.
func (heap) Take(size int64) []byte { return make([]byte, size) }

// Give implements plaintext.Memory.
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
	// WithoutMD5 has no MD5 computed; DeclaresMD5 has it known before.
	WithoutMD5, DeclaresMD5 bool
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

// Read implements plaintext.Body.
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

// MD5 implements plaintext.Body.
func (b *Body) MD5() (sum [16]byte, ok bool) {
	return md5.Sum(b.data), b.err == io.EOF && !b.WithoutMD5 //nolint:gosec // see above
}

// DeclaredMD5 implements plaintext.Body.
func (b *Body) DeclaredMD5() (sum [16]byte, ok bool) {
	if b.DeclaresMD5 {
		sum = md5.Sum(b.data) //nolint:gosec // see above
	}
	return sum, b.DeclaresMD5
}

// Checksums implements plaintext.Body.
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

// DeclaredChecksum implements plaintext.Body.
func (b *Body) DeclaredChecksum() (checksum.Algorithm, []byte, bool) { return 0, nil, false }

// TrailerChecksum implements plaintext.Body.
func (b *Body) TrailerChecksum() (checksum.Algorithm, bool) { return 0, false }

// Size implements plaintext.Body.
func (b *Body) Size() int64 {
	if b.Unsized {
		return -1
	}
	return int64(len(b.data))
}

// Err implements plaintext.Body.
func (b *Body) Err() error { return b.err }
