package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

var (
	allModes   = []sse.Mode{sse.ModeNone, sse.ModeS3, sse.ModeKMS, sse.ModeC}
	writeSizes = []int{0, 1, sse.PackageSize - 1, sse.PackageSize, sse.PackageSize + 1, smallWrite, smallWrite + 1, 2*sse.PackageSize + 1, 300_001}
)

func TestWhatIsPutComesBack(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, mode := range allModes {
		for _, size := range writeSizes {
			key, data := fmt.Sprintf("%v/%d", mode, size), someBytes(t, size)
			stored := k.mustPut(key, data, mode)
			switch {
			case mode == sse.ModeNone && (stored.Record != nil || !bytes.Equal(k.raw(key), data)):
				t.Errorf("%s: not stored as it is", key)
			case mode != sse.ModeNone && (stored.Record.Mode != mode || int64(len(k.raw(key))) != sse.EncSize(int64(size))):
				t.Errorf("%s: stored as %v in %d bytes", key, stored.Record.Mode, len(k.raw(key)))
			case mode != sse.ModeNone && size > 16 && bytes.Contains(k.raw(key), data[:16]):
				t.Errorf("%s: plaintext lies at the storage", key)
			}
			if isMD5 := stored.ETag == md5ETag(data); isMD5 != (mode == sse.ModeS3 || mode == sse.ModeNone || size == 0) {
				t.Errorf("%s: the ETag is %s", key, stored.ETag)
			}
			k.wantData(key, mode, data)
		}
	}
}

func TestWritesComeWithTheChecksumThatCanBeKept(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, tt := range []struct {
		mode  sse.Mode
		size  int
		asked checksum.Algorithm
		md5   bool // declared
		want  sse.ChecksumType
	}{
		{sse.ModeS3, 10, 0, false, sse.CRC64NVME},
		{sse.ModeKMS, 10, 0, false, sse.CRC64NVME},
		{sse.ModeS3, 10, checksum.SHA256, false, sse.SHA256},
		{sse.ModeS3, 200_000, 0, false, sse.CRC64NVME},           // in the manifest that its MD5 needs
		{sse.ModeS3, 200_000, 0, true, 0},                        // a manifest of its own it is not worth
		{sse.ModeKMS, 200_000, 0, false, 0},                      // the same
		{sse.ModeKMS, 200_000, checksum.CRC32, false, sse.CRC32}, // but one that is asked for is
		{sse.ModeNone, 10, 0, false, 0},
	} {
		data := someBytes(t, tt.size)
		stored := k.mustPut("k", data, tt.mode, func(p *vault.Put) {
			p.Checksum = tt.asked
			if tt.md5 {
				p.Declared = storage.Metadata{"Content-Md5": {"declared"}}
			}
		})
		var got sse.ChecksumType
		if stored.Facts.Checksum != nil {
			got = stored.Facts.Checksum.Type
		}
		if got != tt.want {
			t.Errorf("%v of %d bytes, asked for %v: %v, want %v", tt.mode, tt.size, tt.asked, got, tt.want)
		}
	}
}

func TestAWriteIsOneRequest(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, mode := range allModes {
		for _, size := range []int{0, 4 << 10, smallWrite + 1} {
			j := k.watch()
			k.mustPut("k", someBytes(t, size), mode)
			if ops := j.ops(); !slices.Equal(ops, []string{"Put"}) {
				t.Errorf("%v, %d bytes: %v", mode, size, ops)
			}
		}
	}
}

// The storage is asked first whether it wants what is large, or not read whole before.
func TestLargeBodiesAreAnnounced(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, mode := range allModes {
		for _, size := range []int{4 << 10, smallWrite, smallWrite + 1, 1 << 20} {
			j := k.watch()
			k.mustPut("k", someBytes(t, size), mode)
			put := j.calls[0].Request.(*storage.Put)
			if put.Expect != (size > smallWrite) || put.Unprotected != (mode == sse.ModeNone) || (put.Again != nil) != (mode != sse.ModeNone && size <= smallWrite) {
				t.Errorf("%v, %d bytes: expects %v, unprotected %v, again %v", mode, size, put.Expect, put.Unprotected, put.Again != nil)
			}
		}
	}
}

func TestABodyThatFailsStoresNothing(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	broken := errors.New("the client went away")
	for _, mode := range allModes {
		for _, size := range []int{1, smallWrite, smallWrite + 1, 300_000} {
			for _, at := range []int{0, size / 2, size - 1, size} {
				before := k.mustPut("k", []byte("before"), sse.ModeS3).ETag
				_, err := k.put("k", someBytes(t, size), mode, func(p *vault.Put) {
					whole := p.Body
					p.Body = func(d plaintext.Digests) (plaintext.Body, error) {
						body, err := whole(d)
						body.(*vaulttest.Body).Fail, body.(*vaulttest.Body).FailAt = broken, int64(at)
						return body, err
					}
				})
				if !errors.Is(err, broken) {
					t.Errorf("%v, %d of %d bytes: %v", mode, at, size, err)
				}
				if now := k.mustPut("k", []byte("before"), sse.ModeS3, func(p *vault.Put) { p.Conditions.IfMatch = before }).ETag; now != before {
					t.Errorf("%v, %d of %d bytes: the object is another", mode, at, size)
				}
			}
		}
	}
}

func TestABodyOfAnotherLengthIsRefused(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, size := range []int64{0, 9, 11, -1} {
		_, err := k.put("k", someBytes(t, 10), sse.ModeS3, func(p *vault.Put) { p.Size = size })
		if !errors.Is(err, plaintext.ErrIncompleteBody) {
			t.Errorf("%d bytes are said, 10 come: %v", size, err)
		}
	}
	k.wantNothing("k", "a body of another length")
}

func TestBodiesOfUnknownLengthAreSmall(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	tooBig, seen := errors.New("too big for its form"), int64(0)
	put := func(size int, allowed error) error {
		data := someBytes(t, size)
		_, err := k.put("k", data, sse.ModeS3, func(p *vault.Put) {
			p.Size = -1
			p.Allowed = func(n int64) error { seen = n; return allowed }
			p.Body = func(d plaintext.Digests) (plaintext.Body, error) {
				body := vaulttest.NewBody(data, d.Default)
				body.Unsized = true
				return body, nil
			}
		})
		return err
	}
	if err := put(smallWrite+1, nil); !errors.Is(err, plaintext.ErrMissingLength) {
		t.Errorf("a large one: %v", err)
	}
	if err := put(10, tooBig); !errors.Is(err, tooBig) || seen != 10 {
		t.Errorf("one that is not allowed: %v, %d bytes", err, seen)
	}
	k.wantNothing("k", "bodies that are refused")
	for _, size := range []int{0, 1, smallWrite} {
		if err := put(size, nil); err != nil || len(k.raw("k")) != int(sse.EncSize(int64(size))) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	k.c.Memory = noMemory{}
	if err := put(10, nil); !errors.Is(err, plaintext.ErrBusy) {
		t.Errorf("without memory: %v", err)
	}
}

type noMemory struct{}

func (noMemory) Take(int64) []byte { return nil }

func (noMemory) Give([]byte, bool) {}

// Where there is no memory, small bodies are streamed as large ones are.
func TestWritesNeedNoMemory(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.c.Memory = noMemory{}
	for _, mode := range allModes {
		data := someBytes(t, 4<<10)
		k.mustPut("k", data, mode)
		k.wantData("k", mode, data)
	}
}

func TestAWriteThatFailsBeforeItIsStoredLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, mode := range allModes {
		for _, size := range []int{10, smallWrite + 1} {
			for _, step := range []memory.Step{memory.Arrived, memory.Ready} {
				k := newWriteKit(t)
				k.failing(vaulttest.Bucket, memory.Put, step, storage.ErrUnreachable)
				if _, err := k.put("k", someBytes(t, size), mode); !errors.Is(err, storage.ErrUnreachable) {
					t.Errorf("%v, %d bytes, step %v: %v", mode, size, step, err)
				}
				k.wantNothing("k", "a write that failed")
			}
		}
	}
}

func TestAWriteWhoseAnswerIsLostCanBeRead(t *testing.T) {
	t.Parallel()
	for _, mode := range allModes {
		for _, size := range []int{10, smallWrite + 1} {
			k, data := newWriteKit(t), someBytes(t, size)
			k.failing(vaulttest.Bucket, memory.Put, memory.Done, storage.ErrUnreachable)
			if _, err := k.put("k", data, mode); !errors.Is(err, storage.ErrUnreachable) {
				t.Errorf("%v, %d bytes: acknowledged: %v", mode, size, err)
			}
			k.at.Storage.SetFaults(nil)
			k.wantData("k", mode, data)
		}
	}
}

// A manifest that fails is tried again while its caller waits.
func TestNothingIsStoredWithoutItsManifest(t *testing.T) {
	t.Parallel()
	for _, step := range []memory.Step{memory.Arrived, memory.Ready, memory.Done} {
		k := newWriteKit(t)
		ctx, cancel := context.WithCancel(t.Context())
		k.at.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
			if c.Name.Bucket == k.at.System.Bucket() && c.Op == memory.Put && c.Step == step {
				cancel()
				return storage.ErrUnreachable
			}
			return nil
		})
		data := someBytes(t, smallWrite+1)
		_, err := k.e.Put(ctx, k.c, &vault.Put{
			Write: vault.Write{Name: vaulttest.Name("k"), Asked: asked(sse.ModeS3)}, Size: int64(len(data)),
			Body: func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody(data), nil },
		})
		if err == nil || ctx.Err() == nil {
			t.Errorf("step %v: acknowledged: %v", step, err)
		}
		k.wantNothing("k", "a write without a manifest")
	}
}

// Of many writers that create one object, or replace one state of it, one succeeds.
func TestOneOfManyRivalsWins(t *testing.T) {
	t.Parallel()
	for _, size := range []int{10, smallWrite + 1} {
		k := newWriteKit(t)
		race := func(c conditions.Write) (won int) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for range 16 {
				wg.Go(func() {
					_, err := k.put("k", someBytes(t, size), sse.ModeS3, func(p *vault.Put) { p.Conditions = c })
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else if !errors.Is(err, storage.ErrPrecondition) && !errors.Is(err, conditions.ErrPrecondition) {
						t.Errorf("a rival fails with %v", err)
					}
				})
			}
			wg.Wait()
			return won
		}
		if won := race(conditions.Write{IfNoneMatch: "*"}); won != 1 {
			t.Errorf("%d of 16 rivals created the object", won)
		}
		etag := k.mustPut("k", []byte("now"), sse.ModeS3).ETag
		if won := race(conditions.Write{IfMatch: etag}); won != 1 {
			t.Errorf("%d of 16 rivals replaced one state of the object", won)
		}
	}
}

func TestConditionsOfWritesAreAboutTheETagThatClientsKnow(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	etag := k.mustPut("k", []byte("now"), sse.ModeS3).ETag
	for _, tt := range []struct {
		key  string
		c    conditions.Write
		want error
	}{
		{"k", conditions.Write{IfMatch: etag}, nil},
		{"k", conditions.Write{IfMatch: `"a", ` + etag}, nil},
		{"k", conditions.Write{IfMatch: "*"}, nil},
		{"k", conditions.Write{IfNoneMatch: `"a"`}, nil},
		{"k", conditions.Write{IfMatch: `"a"`}, conditions.ErrPrecondition},
		{"k", conditions.Write{IfNoneMatch: etag}, conditions.ErrPrecondition},
		{"k", conditions.Write{IfNoneMatch: "*"}, storage.ErrPrecondition},
		{"none", conditions.Write{IfMatch: etag}, conditions.ErrNoSuchKey},
		{"none", conditions.Write{IfMatch: "*"}, storage.ErrNotFound},
	} {
		_, err := k.put(tt.key, []byte("now"), sse.ModeS3, func(p *vault.Put) { p.Conditions = tt.c })
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s, %+v: %v", tt.key, tt.c, err)
		}
	}
	for _, tt := range []struct {
		key, match string
		want       error
	}{{"k", "", nil}, {"k", etag, nil}, {"k", `"a"`, conditions.ErrPrecondition}, {"none", etag, conditions.ErrNoSuchKey}} {
		if err := k.e.MayDelete(t.Context(), k.c, vaulttest.Name(tt.key), "", tt.match); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("delete %s, %s: %v", tt.key, tt.match, err)
		}
	}
}

func TestStrangersDoNotGetToTheirBodies(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.c = vaulttest.Caller("")
	j := k.watch()
	for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC, sse.ModeNone} {
		_, err := k.put("k", []byte("data"), mode, func(p *vault.Put) {
			p.Fault = errors.New("what is wrong with the request")
			p.Body = func(plaintext.Digests) (plaintext.Body, error) {
				t.Error("the body is asked for")
				return nil, nil
			}
		})
		if !errors.Is(err, keyring.ErrAccess) {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if ops := j.ops(); len(ops) > 0 {
		t.Errorf("the storage is asked: %v", ops)
	}
	_, err := k.put("k", []byte("data"), sse.ModeKMS, func(p *vault.Put) { p.Asked.KMSKeyID = "other" })
	if !errors.Is(err, encryption.ErrAccessDenied) {
		t.Errorf("a stranger names a key: %v", err)
	}
}

// What the proxy finds out under its own credential is told only to whom the storage lets
// write.
func TestWhoMayNotWriteLearnsNothing(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	k.mustPut("k", []byte("now"), sse.ModeS3)
	k.forbidding(memory.Put)
	fault := errors.New("what is wrong with the headers")
	for name, change := range map[string]func(*vault.Put){
		"a condition":       func(p *vault.Put) { p.Conditions.IfMatch = `"a"` },
		"bad headers":       func(p *vault.Put) { p.Asked.Fault, p.Asked.Hidden = fault, true },
		"a key that is not": func(p *vault.Put) { p.Asked.KMSKeyID = "none" },
	} {
		j := k.watch()
		_, err := k.put("k", []byte("data"), sse.ModeKMS, change)
		if !errors.Is(err, storage.ErrForbidden) || !slices.Equal(j.ops(), []string{"May"}) {
			t.Errorf("%s: %v after %v", name, err, j.ops())
		}
	}
	_, err := k.put("k", []byte("data"), sse.ModeKMS, func(p *vault.Put) { p.Asked.Fault = fault })
	if !errors.Is(err, fault) {
		t.Errorf("a fault that everybody may know: %v", err)
	}
	k.at.Storage.SetRights(nil)
	_, err = k.put("k", []byte("data"), sse.ModeKMS, func(p *vault.Put) { p.Asked.Fault, p.Asked.Hidden = fault, true })
	if !errors.Is(err, fault) {
		t.Errorf("who may write is told %v", err)
	}
}

func TestFaultsAreToldBeforeBodiesAndConditions(t *testing.T) {
	t.Parallel()
	k, fault := newWriteKit(t), errors.New("no length")
	j := k.watch()
	_, err := k.put("k", []byte("data"), sse.ModeS3, func(p *vault.Put) { p.Fault, p.Conditions.IfMatch = fault, `"a"` })
	if !errors.Is(err, fault) || len(j.ops()) > 0 {
		t.Errorf("%v after %v", err, j.ops())
	}
}

func TestSlowManifestsDoNotOutliveTheirCaller(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	gate := memory.NewGate(func(c *memory.Call) bool {
		return c.Name.Bucket == k.at.System.Bucket() && c.Op == memory.Put && c.Step == memory.Arrived
	})
	k.at.Storage.SetFaults(gate.Hook)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller is gone")
	done := make(chan error, 1)
	data := someBytes(t, smallWrite+1)
	go func() {
		_, err := k.e.Put(ctx, k.c, &vault.Put{
			Write: vault.Write{Name: vaulttest.Name("k"), Asked: asked(sse.ModeS3)}, Size: int64(len(data)),
			Body: func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody(data), nil },
		})
		done <- err
	}()
	gate.Next()
	cancel(gone)
	if err := <-done; err == nil {
		t.Error("the write is acknowledged")
	}
	k.wantNothing("k", "a write whose caller is gone")
}

func TestWritesObeyTheBucketsRule(t *testing.T) {
	t.Parallel()
	k := newWriteKit(t)
	for _, tt := range []struct {
		rule  *bucketconfig.Rule
		asked sse.Mode
		mode  sse.Mode
		key   string
		share bool
	}{
		{nil, sse.ModeNone, sse.ModeS3, "s3", false},
		{nil, sse.ModeKMS, sse.ModeKMS, "default", false},
		{&bucketconfig.Rule{Algorithm: bucketconfig.AES256}, sse.ModeNone, sse.ModeS3, "s3", false},
		{&bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: "other"}, sse.ModeNone, sse.ModeKMS, "other", false},
		{&bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: "other", BucketKeyEnabled: true}, sse.ModeNone, sse.ModeKMS, "other", true},
		{&bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: "other"}, sse.ModeS3, sse.ModeS3, "s3", false},
		{&bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: "other"}, sse.ModeC, sse.ModeC, "", false},
	} {
		if tt.rule != nil {
			if err := k.e.Rules.Set(t.Context(), vaulttest.Bucket, *tt.rule); err != nil {
				t.Fatal(err)
			}
		}
		stored, err := k.e.Put(t.Context(), k.c, &vault.Put{
			Write: vault.Write{Name: vaulttest.Name("k"), Asked: asked(tt.asked)}, Size: 4,
			Body: func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody([]byte("data")), nil },
		})
		if err != nil || stored.Record.Mode != tt.mode || stored.Record.KMSKey != tt.key || stored.Record.BucketKey != tt.share {
			t.Errorf("%+v, asked for %v: %+v, %v", tt.rule, tt.asked, stored, err)
		}
	}
}
