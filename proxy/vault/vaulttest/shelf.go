package vaulttest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/sse"
)

// Shelf is an installation whose objects a test puts there by hand: what lies where is
// what docs/format.md says, whoever wrote it.
type Shelf struct {
	*Installation
	*Engine
	ring *keyring.Ring
}

// NewShelf returns an installation with one engine. change, if not nil, changes the
// installation before.
func NewShelf(t testing.TB, o memory.Options, change func(*Installation)) *Shelf {
	t.Helper()
	s := &Shelf{Installation: New(t, o)}
	if change != nil {
		change(s.Installation)
	}
	before := s.Change
	s.Change = func(o *Options) {
		if before != nil {
			before(o)
		}
		s.ring = o.Keys
	}
	s.Engine = s.Installation.Engine(t)
	return s
}

// Shelved is an object with what clients know of it.
type Shelved struct {
	Name sse.Name
	Ref  manifest.Ref
	// Stored is the storage's ETag, ETag the clients', both in quotes.
	Stored, ETag string
	Data         []byte
}

// Customer is the key of every SSE-C object.
func (s *Shelf) Customer() *sse.Secret { return &sse.Secret{1: 7} }

// Seal makes the record of an object, as shape changes it, and the object's key.
func (s *Shelf) Seal(t testing.TB, name sse.Name, mode sse.Mode, private *sse.Private, shape func(*sse.Record)) (sse.ObjectKey, string) {
	t.Helper()
	request := &sse.Request{Mode: mode}
	if mode == sse.ModeC {
		request.CustomerKey = *s.Customer()
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

func (s *Shelf) encrypt(t testing.TB, key sse.PartKey, nonce sse.StreamNonce, data []byte) []byte {
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

// PutStream puts an object of one stream there, whose MD5 is in a manifest if it is late.
func (s *Shelf) PutStream(t testing.TB, key string, mode sse.Mode, data []byte, late bool) *Shelved {
	t.Helper()
	o := &Shelved{Name: sse.Name{Bucket: Bucket, Key: key}, Data: data}
	sum := md5.Sum(data) //nolint:gosec // see above
	facts := sse.Facts{}
	if mode == sse.ModeS3 {
		facts.MD5 = sum[:]
	}
	nonce := sse.NewStreamNonce()
	private := sse.NewPrivate(int64(len(data)), nonce)
	object, text := s.Seal(t, o.Name, mode, private, func(r *sse.Record) {
		r.PlainSize = int64(len(data))
		if late {
			r.Manifest = sse.NewManifestID()
			o.Ref = manifest.Ref{Name: o.Name, ID: r.Manifest}
			return
		}
		private.Facts = facts
	})
	if late {
		if err := s.Manifests.Put(t.Context(), o.Ref, facts, nil); err != nil {
			t.Fatal(err)
		}
	}
	o.Stored = s.PutAsIs(t, o.Name, text, s.encrypt(t, object.Part(1), nonce, data))
	if o.ETag = o.Stored; mode == sse.ModeS3 {
		o.ETag = `"` + hex.EncodeToString(sum[:]) + `"`
	}
	return o
}

// PutAsIs stores an object as it is, with metadata of its client's.
func (s *Shelf) PutAsIs(t testing.TB, name sse.Name, record string, data []byte) (etag string) {
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

// PutParts puts an object of parts there.
func (s *Shelf) PutParts(t testing.TB, key string, mode sse.Mode, data ...string) *Shelved {
	t.Helper()
	o := &Shelved{Name: sse.Name{Bucket: Bucket, Key: key}, Data: []byte(strings.Join(data, ""))}
	id := sse.NewManifestID()
	object, text := s.Seal(t, o.Name, mode, sse.NewPartsPrivate(), func(r *sse.Record) { r.Layout, r.Manifest = sse.Uploaded, id })
	own := s.Storage.Own(storage.Actor{})
	upload, err := own.CreateUpload(t.Context(), &storage.CreateUpload{Name: o.Name, Record: text})
	if err != nil {
		t.Fatal(err)
	}
	complete := &storage.Complete{Upload: storage.Upload{Name: o.Name, ID: upload}}
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
	if o.Stored, o.ETag = stored.ETag, stored.ETag; mode == sse.ModeS3 {
		facts.MD5 = sums.Sum(nil)
		o.ETag = fmt.Sprintf("\"%x-%d\"", facts.MD5, len(list))
	}
	o.Ref = manifest.Ref{Name: o.Name, ID: id, ETag: strings.Trim(o.Stored, `"`)}
	if err := s.Manifests.Put(t.Context(), o.Ref, facts, layout); err != nil {
		t.Fatal(err)
	}
	return o
}

// Lose removes an object's manifest, and returns another engine, that has not seen it.
func (s *Shelf) Lose(t testing.TB, o *Shelved) *Engine {
	t.Helper()
	n, err := s.System.DeleteNotes(t.Context(), "late", func(name string) bool { return !strings.Contains(name, hex.EncodeToString(o.Ref.ID[:])) })
	if err != nil || n != 1 {
		t.Fatalf("%d manifests removed, %v", n, err)
	}
	return s.Installation.Engine(t)
}

// WantListed holds a page against the objects.
func WantListed(t testing.TB, page *vault.Page, objects []*Shelved) {
	t.Helper()
	if len(page.Entries) != len(objects) || len(page.Known) != len(objects) {
		t.Fatalf("%d entries, %d known; want %d", len(page.Entries), len(page.Known), len(objects))
	}
	for i, o := range objects {
		e := &page.Entries[i]
		key, err := url.QueryUnescape(e.Key)
		if err != nil || key != o.Name.Key || e.Size != int64(len(o.Data)) || e.ETag != o.ETag {
			t.Errorf("%q is listed as %q of %d bytes with %s; it has %d and %s", o.Name.Key, e.Key, e.Size, e.ETag, len(o.Data), o.ETag)
		}
		if plain := page.Known[i].Mode == sse.ModeNone; plain != strings.HasSuffix(key, "plain") {
			t.Errorf("%q: plain %v", key, plain)
		}
	}
}

// Rights are judged by a function, and counted.
type Rights struct {
	Asked atomic.Int64
	Judge func(key string) error
}

// MayUse implements keyring.Rights.
func (r *Rights) MayUse(_ context.Context, _ *identity.Identity, _, key string, _ identity.Use) error {
	r.Asked.Add(1)
	if r.Judge == nil {
		return nil
	}
	return r.Judge(key)
}
