package vault_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

const pkg = sse.PackageSize

// plainBucket is a bucket that plain_read lists.
const plainBucket = "plain"

// reads is an engine over objects that were stored without one.
type reads struct {
	*vaulttest.Installation
	*vaulttest.Engine
	keys *keyring.Ring
}

func newReads(t testing.TB) *reads {
	t.Helper()
	i := vaulttest.New(t, memory.Options{})
	r := &reads{Installation: i}
	i.Change = func(o *vaulttest.Options) { o.PlainRead, r.keys = []string{plainBucket}, o.Keys }
	if err := i.Storage.CreateBucket(plainBucket, memory.Unversioned); err != nil {
		t.Fatal(err)
	}
	r.Engine = i.Engine(t)
	return r
}

var customerKey = sse.Secret{1, 2, 3}

// sealed is an object as it lies in the storage.
type sealed struct {
	record string
	data   []byte
	id     sse.ManifestID
	facts  sse.Facts
	parts  *sse.Parts // nil for one stream
}

// seal encrypts an object: in one stream, or in parts of these sizes and numbers 1, 3, 5 ...
func (r *reads) seal(t testing.TB, name sse.Name, mode sse.Mode, data []byte, sizes ...int) *sealed {
	t.Helper()
	asked := &sse.Request{Mode: mode}
	if mode == sse.ModeC {
		asked.CustomerKey = customerKey
	}
	key, err := r.keys.Make(t.Context(), keyring.Operator(), name, asked)
	if err != nil {
		t.Fatal(err)
	}
	object, sum := sse.NewObjectKey(), md5.Sum(data) //nolint:gosec // see above
	out := &sealed{}
	encrypt := func(number uint32, plain []byte) sse.StreamNonce {
		stream := sse.Stream{Key: object.Part(number), Nonce: sse.NewStreamNonce(), PlainSize: int64(len(plain))}
		enc, err := stream.Encrypt(bytes.NewReader(plain))
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(enc)
		if err != nil {
			t.Fatal(err)
		}
		out.data = append(out.data, all...)
		return stream.Nonce
	}
	private := sse.NewPartsPrivate()
	if sizes == nil {
		private = sse.NewPrivate(int64(len(data)), encrypt(1, data))
		private.Facts = sse.Facts{MD5: sum[:], Checksum: &sse.Checksum{Type: sse.MD5, Value: sum[:]}}
		key.Record.PlainSize = int64(len(data))
	} else {
		list := make([]sse.Part, len(sizes))
		rest := data
		for i, size := range sizes {
			list[i] = sse.Part{Number: uint32(2*i + 1), PlainSize: int64(size), Checksum: vaulttest.Data(4, uint64(i))} //nolint:gosec // few
			list[i].Nonce, rest = encrypt(list[i].Number, rest[:size]), rest[size:]
		}
		if out.parts, err = sse.NewParts(list, sse.CRC32C); err != nil {
			t.Fatal(err)
		}
		out.id = sse.NewManifestID()
		key.Record.Layout, key.Record.Manifest = sse.Uploaded, out.id
		out.facts = sse.Facts{MD5: sum[:], Parts: len(sizes), PlainSize: int64(len(data)), Checksum: &sse.Checksum{Type: sse.CRC32C, Value: vaulttest.Data(4, 99), Composite: true}}
	}
	if out.record, err = key.Seal(&object, private); err != nil {
		t.Fatal(err)
	}
	return out
}

// put stores an object as seal makes it, and returns upstream's ETag without quotes.
func (r *reads) put(t testing.TB, name sse.Name, mode sse.Mode, data []byte, sizes ...int) string {
	t.Helper()
	s := r.seal(t, name, mode, data, sizes...)
	etag := r.store(t, name, s.record, s.data)
	r.describe(t, name, etag, s)
	return etag
}

// store stores what a client's object is at the storage.
func (r *reads) store(t testing.TB, name sse.Name, record string, data []byte) string {
	t.Helper()
	stored, err := r.Storage.Own(storage.Actor{}).Put(t.Context(), &storage.Put{
		Name: name, Record: record, Meta: storage.Metadata{"Content-Type": {"text/x"}},
		Body: storage.Body{Reader: bytes.NewReader(data), Length: int64(len(data))},
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(stored.ETag, `"`)
}

// describe writes an object's manifest, if it needs one.
func (r *reads) describe(t testing.TB, name sse.Name, etag string, s *sealed) {
	t.Helper()
	if s.parts == nil {
		return
	}
	if err := r.Manifests.Put(t.Context(), manifest.Ref{Name: name, ID: s.id, ETag: etag}, s.facts, s.parts); err != nil {
		t.Fatal(err)
	}
}

// open opens an object as somebody who may use every key.
func (r *reads) open(t testing.TB, g vault.Get) (*vault.Reader, error) {
	t.Helper()
	o, err := r.Open(t.Context(), vaulttest.Caller("somebody"), &g)
	if err == nil {
		t.Cleanup(func() { _ = o.Close() })
	}
	return o, err
}

// read reads all that a Get asks for, in the way a handler does.
func (r *reads) read(t testing.TB, g vault.Get) (*vault.Reader, []byte, error) {
	t.Helper()
	o, err := r.open(t, g)
	if err != nil {
		return nil, nil, err
	}
	if o.Record != nil {
		if err := o.Begin(); err != nil {
			return nil, nil, err
		}
		var all bytes.Buffer
		_, err = o.WriteTo(&all)
		return o, all.Bytes(), err
	}
	buffer := make([]byte, 1000)
	n, err := o.First(buffer)
	if err != nil {
		return nil, nil, err
	}
	if want := min(o.Range.Length, int64(len(buffer))); int64(n) < want {
		t.Errorf("the first bytes are %d of %d", n, want)
	}
	if n == 0 {
		return o, nil, nil
	}
	rest, err := io.ReadAll(o)
	return o, append(buffer[:n], rest...), err
}

// wantRead fails unless a Get is answered with these bytes.
func (r *reads) wantRead(t testing.TB, what string, g vault.Get, want []byte) *vault.Reader {
	t.Helper()
	o, got, err := r.read(t, g)
	switch {
	case err != nil:
		t.Fatalf("%s: %v", what, err)
	case !bytes.Equal(got, want):
		t.Fatalf("%s: %d bytes, other than the %d that were wanted", what, len(got), len(want))
	case o.Range.Length != int64(len(want)):
		t.Fatalf("%s: %d bytes are announced, %d come", what, o.Range.Length, len(want))
	}
	return o
}

// wantError fails unless opening or reading ends with this error, before any byte is to be
// answered.
func (r *reads) wantError(t testing.TB, what string, g vault.Get, want error) {
	t.Helper()
	o, err := r.open(t, g)
	if err == nil {
		if err = o.Begin(); err == nil {
			_, err = o.First(make([]byte, 100))
		}
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// of asks for an object with the customer key where it needs one.
func of(name sse.Name, mode sse.Mode) vault.Get {
	g := vault.Get{Read: vault.Read{Name: name}}
	if mode == sse.ModeC {
		key := customerKey
		g.Customer = &key
	}
	return g
}

func between(first, last int64) *plaintext.Range {
	return &plaintext.Range{First: first, Last: last, Suffix: -1}
}

func from(first int64) *plaintext.Range { return between(first, -1) }

func last(n int64) *plaintext.Range { return &plaintext.Range{Suffix: n} }
