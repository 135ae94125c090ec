package vault_test

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// shelf is an installation whose objects a test puts there by hand: what lies where is
// what docs/format.md says, whoever wrote it.
type shelf struct {
	*vaulttest.Installation
	*vaulttest.Engine
	ring *keyring.Ring
}

func newShelf(t testing.TB, o memory.Options, change func(*vaulttest.Installation)) *shelf {
	t.Helper()
	s := &shelf{Installation: vaulttest.New(t, o)}
	if change != nil {
		change(s.Installation)
	}
	before := s.Change
	s.Change = func(o *vault.Options) {
		if before != nil {
			before(o)
		}
		s.ring = o.Keys
	}
	s.Engine = s.Installation.Engine(t)
	return s
}

// shelved is an object with what clients know of it.
type shelved struct {
	name sse.Name
	ref  manifest.Ref
	// stored is the storage's ETag, etag the clients', both in quotes.
	stored, etag string
	data         []byte
}

// customer is the key of every SSE-C object.
func (s *shelf) customer() *sse.Secret { return &sse.Secret{1: 7} }

func (s *shelf) seal(t testing.TB, name sse.Name, mode sse.Mode, private *sse.Private, shape func(*sse.Record)) (sse.ObjectKey, string) {
	t.Helper()
	request := &sse.Request{Mode: mode}
	if mode == sse.ModeC {
		request.CustomerKey = *s.customer()
	}
	key, err := s.ring.Make(t.Context(), keyring.Operator(), name, request)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Zero()
	shape(&key.Record)
	object := sse.NewObjectKey()
	text, err := key.Seal(&object, private)
	if err != nil {
		t.Fatal(err)
	}
	return object, text
}

func (s *shelf) encrypt(t testing.TB, key sse.PartKey, nonce sse.StreamNonce, data []byte) []byte {
	t.Helper()
	stream := sse.Stream{Key: key, Nonce: nonce, PlainSize: int64(len(data))}
	enc, err := stream.Encrypt(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(enc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stream puts an object of one stream there, whose MD5 is in a manifest if it is late.
func (s *shelf) stream(t testing.TB, key string, mode sse.Mode, data []byte, late bool) *shelved {
	t.Helper()
	o := &shelved{name: sse.Name{Bucket: vaulttest.Bucket, Key: key}, data: data}
	sum := md5.Sum(data) //nolint:gosec // see above
	facts := sse.Facts{}
	if mode == sse.ModeS3 {
		facts.MD5 = sum[:]
	}
	nonce := sse.NewStreamNonce()
	private := sse.NewPrivate(int64(len(data)), nonce)
	object, text := s.seal(t, o.name, mode, private, func(r *sse.Record) {
		r.PlainSize = int64(len(data))
		if late {
			r.Manifest = sse.NewManifestID()
			o.ref = manifest.Ref{Name: o.name, ID: r.Manifest}
			return
		}
		private.Facts = facts
	})
	if late {
		if err := s.Manifests.Put(t.Context(), o.ref, facts, nil); err != nil {
			t.Fatal(err)
		}
	}
	o.stored = s.write(t, o.name, text, s.encrypt(t, object.Part(1), nonce, data))
	if o.etag = o.stored; mode == sse.ModeS3 {
		o.etag = `"` + hex.EncodeToString(sum[:]) + `"`
	}
	return o
}

// write stores an object as it is, with metadata of its client's.
func (s *shelf) write(t testing.TB, name sse.Name, record string, data []byte) (etag string) {
	t.Helper()
	stored, err := s.Storage.Own(storage.Actor{}).Put(t.Context(), &storage.Put{
		Name: name, Record: record, Meta: storage.Metadata{"X-Amz-Meta-Colour": {"blue"}},
		Body: storage.Body{Reader: bytes.NewReader(data), Length: int64(len(data))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored.ETag
}

// parts puts an object of parts there.
func (s *shelf) parts(t testing.TB, key string, mode sse.Mode, data ...string) *shelved {
	t.Helper()
	o := &shelved{name: sse.Name{Bucket: vaulttest.Bucket, Key: key}, data: []byte(strings.Join(data, ""))}
	id := sse.NewManifestID()
	object, text := s.seal(t, o.name, mode, sse.NewPartsPrivate(), func(r *sse.Record) { r.Layout, r.Manifest = sse.Uploaded, id })
	own := s.Storage.Own(storage.Actor{})
	upload, err := own.CreateUpload(t.Context(), &storage.CreateUpload{Name: o.name, Record: text})
	if err != nil {
		t.Fatal(err)
	}
	complete := &storage.Complete{Upload: storage.Upload{Name: o.name, ID: upload}}
	var list []sse.Part
	sums := md5.New() //nolint:gosec // see above
	for i, d := range data {
		part := sse.Part{Number: uint32(2*i + 1), PlainSize: int64(len(d)), Nonce: sse.NewStreamNonce()} //nolint:gosec // few
		enc := s.encrypt(t, object.Part(part.Number), part.Nonce, []byte(d))
		etag, err := own.PutPart(t.Context(), &storage.PutPart{
			Upload: complete.Upload, Number: 2*i + 1, Body: storage.Body{Reader: bytes.NewReader(enc), Length: int64(len(enc))},
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := md5.Sum([]byte(d)) //nolint:gosec // see above
		_, _ = sums.Write(sum[:])
		list = append(list, part)
		complete.Parts = append(complete.Parts, storage.CompletePart{Number: 2*i + 1, ETag: etag})
	}
	layout, err := sse.NewParts(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := own.Complete(t.Context(), complete)
	if err != nil {
		t.Fatal(err)
	}
	facts := sse.Facts{Parts: len(list), PlainSize: layout.PlainSize()}
	if o.stored, o.etag = stored.ETag, stored.ETag; mode == sse.ModeS3 {
		facts.MD5 = sums.Sum(nil)
		o.etag = fmt.Sprintf("\"%x-%d\"", facts.MD5, len(list))
	}
	o.ref = manifest.Ref{Name: o.name, ID: id, ETag: strings.Trim(o.stored, `"`)}
	if err := s.Manifests.Put(t.Context(), o.ref, facts, layout); err != nil {
		t.Fatal(err)
	}
	return o
}

// lose removes an object's manifest, and returns another engine, that has not seen it.
func (s *shelf) lose(t testing.TB, o *shelved) *vaulttest.Engine {
	t.Helper()
	n, err := s.System.DeleteNotes(t.Context(), "late", func(name string) bool { return !strings.Contains(name, hex.EncodeToString(o.ref.ID[:])) })
	if err != nil || n != 1 {
		t.Fatalf("%d manifests removed, %v", n, err)
	}
	return s.Installation.Engine(t)
}

// seen counts the calls that pass, by what is done and by whom. It lets fail decide about
// each; nil lets all pass.
type seen struct {
	mu    sync.Mutex
	calls []string
	fail  func(*memory.Call) error
}

// watchCalls looks at what is asked about a bucket from now on.
func (s *shelf) watchCalls(bucket string, fail func(*memory.Call) error) *seen {
	w := &seen{fail: fail}
	s.Storage.SetFaults(w.hook(bucket))
	return w
}

func (w *seen) hook(bucket string) memory.Faults {
	return func(_ context.Context, c *memory.Call) error {
		if c.Name.Bucket != bucket {
			return nil
		}
		if c.Step == memory.Arrived {
			who := "caller"
			if c.Own {
				who = "own"
			}
			w.mu.Lock()
			w.calls = append(w.calls, who+" "+string(c.Op))
			w.mu.Unlock()
		}
		if w.fail == nil {
			return nil
		}
		return w.fail(c)
	}
}

// took returns the calls since it was last asked, in alphabetical order.
func (w *seen) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	slices.Sort(calls)
	return calls
}

// rights are judged by a function, and counted.
type rights struct {
	asked atomic.Int64
	judge func(key string) error
}

func (r *rights) MayUse(_ context.Context, _ *identity.Identity, _, key string, _ identity.Use) error {
	r.asked.Add(1)
	if r.judge == nil {
		return nil
	}
	return r.judge(key)
}

// signer is a caller with a signature.
func signer() *vault.Caller { return vaulttest.Caller("alice") }
