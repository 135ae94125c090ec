package takeover_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/takeover"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// house is an installation with a taker and an engine that reads no plain object.
type house struct {
	*testing.T
	*vaulttest.Installation
	engine *vaulttest.Engine
	taker  *takeover.Taker
	own    storage.Backend
	left   []takeover.Left
}

func newHouse(t *testing.T) *house { return newHouseWith(t, nil) }

func newHouseWith(t *testing.T, change func(*vaulttest.Options)) *house {
	t.Helper()
	h := &house{T: t, Installation: vaulttest.New(t, memory.Options{})}
	var keys *keyring.Ring
	h.Change = func(o *vaulttest.Options) {
		keys = o.Keys
		if change != nil {
			change(o)
		}
	}
	h.engine = h.Engine(t)
	h.own = h.Storage.Own(storage.Actor{})
	var err error
	h.taker, err = takeover.New(takeover.Options{
		Storage: h.Storage, Keys: keys, Manifests: h.engine.Manifests, Encryption: h.engine.Settings,
		Ready: func(context.Context) error { return nil }, Buckets: h.Storage.CreationDates, PlainRead: glob.Patterns{"bucket*"},
		SystemBucket: h.System.Bucket(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) versioned(name string) {
	h.Helper()
	if err := h.Storage.CreateBucket(name, memory.Versioned); err != nil {
		h.Fatal(err)
	}
}

func (h *house) put(name sse.Name, data []byte, meta storage.Metadata) *storage.Stored {
	h.Helper()
	stored, err := h.own.Put(h.Context(), &storage.Put{Name: name, Meta: meta, Body: bodyOf(data)})
	if err != nil {
		h.Fatal(err)
	}
	return stored
}

func bodyOf(data []byte) storage.Body {
	return storage.Body{Reader: bytes.NewReader(data), Length: int64(len(data))}
}

func (h *house) order() *takeover.Order {
	return &takeover.Order{
		Buckets: glob.Patterns{"*"}, Workers: 3, Memory: 100_000, Spool: h.TempDir(),
		Left: func(l takeover.Left) { h.left = append(h.left, l) }, Progress: func(takeover.Counts) {},
	}
}

// run runs an order and returns what became of one bucket.
func (h *house) run(order *takeover.Order, bucket string) takeover.Bucket {
	h.Helper()
	h.left = nil
	all, err := h.taker.Run(h.Context(), order)
	if err != nil {
		h.Fatal(err)
	}
	for _, b := range all.Buckets {
		if b.Name == bucket {
			return b
		}
	}
	h.Fatalf("nothing is said of %q", bucket)
	return takeover.Bucket{}
}

// reads fails the test unless clients read these bytes, encrypted, under this ETag.
func (h *house) reads(name sse.Name, version string, data []byte, etag string) *vault.Reader {
	h.Helper()
	read := vault.Read{Name: name, Version: version, Checksum: true}
	got, err := h.engine.Plaintext(h.Context(), vaulttest.Caller("alice"), read)
	if err != nil || !bytes.Equal(got, data) {
		h.Fatalf("%s: %d bytes, %v; want %d", name.Key, len(got), err, len(data))
	}
	r, err := h.engine.Open(h.Context(), vaulttest.Caller("alice"), &vault.Get{Read: read, Head: true})
	if err != nil {
		h.Fatal(err)
	}
	_ = r.Close()
	if r.Record == nil || etag != "" && r.ETag != etag {
		h.Fatalf("%s: record %v, ETag %s, not %s", name.Key, r.Record, r.ETag, etag)
	}
	return r
}

func md5ETag(data []byte) string {
	sum := md5.Sum(data)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func TestPlainObjectsBecomeEncryptedOnesInTheirPlaces(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	crc := func(data []byte) string {
		h := crc32.NewIEEE()
		_, _ = h.Write(data)
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	sizes := []int{0, 1, 65_535, 65_536, 65_537, 131_073, 300_000}
	before := make(map[int]*storage.Info)
	for _, size := range sizes {
		data := vaulttest.Data(size, uint64(size))
		h.put(vaulttest.Name(fmt.Sprint("k/", size)), data, storage.Metadata{
			"X-Amz-Meta-Colour": {"blüe"}, "Content-Type": {"text/x"}, "Cache-Control": {"no-cache"}, "X-Amz-Tagging": {"a=b&c=d%20e"},
			"X-Amz-Storage-Class": {"REDUCED_REDUNDANCY"}, "X-Amz-Checksum-Crc32": {crc(data)},
		})
		info, err := h.own.Head(t.Context(), &storage.Get{Name: vaulttest.Name(fmt.Sprint("k/", size))})
		if err != nil {
			t.Fatal(err)
		}
		before[size] = info
	}
	h.Storage.Advance(time.Hour)
	dry := h.order()
	dry.DryRun = true
	if b := h.run(dry, vaulttest.Bucket); b.Plain != int64(len(sizes)) || b.Done != 0 || b.Clean || b.Bytes != 627_682 {
		t.Fatalf("a dry run says %+v", b)
	}
	b := h.run(h.order(), vaulttest.Bucket)
	if b.Done != int64(len(sizes)) || !b.Clean || b.NewETags != 0 || len(h.left) > 0 || b.Plain != b.Done || b.DoneBytes != b.Bytes {
		t.Fatalf("%+v, left %v", b, h.left)
	}
	for _, size := range sizes {
		data := vaulttest.Data(size, uint64(size))
		name := vaulttest.Name(fmt.Sprint("k/", size))
		r := h.reads(name, "", data, md5ETag(data))
		was := before[size]
		if !r.Modified.Equal(was.Modified) {
			t.Errorf("%d: modified at %v, not %v", size, r.Modified, was.Modified)
		}
		for _, header := range []string{"X-Amz-Meta-Colour", "Content-Type", "Cache-Control", "X-Amz-Storage-Class", "X-Amz-Tagging-Count"} {
			if r.Meta.Get(header) != was.Meta.Get(header) || r.Meta.Get(header) == "" {
				t.Errorf("%d: %s is %q, not %q", size, header, r.Meta.Get(header), was.Meta.Get(header))
			}
		}
		tags, err := h.own.Tags(t.Context(), &storage.Get{Name: name})
		if err != nil || tags["a"] != "b" || tags["c"] != "d e" {
			t.Errorf("%d: tags %v, %v", size, tags, err)
		}
		if r.Facts.Checksum == nil || base64.StdEncoding.EncodeToString(r.Facts.Checksum.Value) != crc(data) {
			t.Errorf("%d: checksum %v", size, r.Facts.Checksum)
		}
		if raw, err := h.Storage.Raw(name, ""); err != nil || size > 16 && bytes.Contains(raw.Data, data[:16]) {
			t.Errorf("%d: plaintext lies at the storage: %v", size, err)
		}
	}
	if again := h.run(h.order(), vaulttest.Bucket); again.Done != 0 || again.Sealed != int64(len(sizes)) || !again.Clean {
		t.Errorf("once more: %+v", again)
	}
}

func TestVersionsKeepTheirOrderAndIds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.versioned("bucket-v")
	name := sse.Name{Bucket: "bucket-v", Key: "k"}
	type one struct {
		id   string
		data []byte
	}
	var all []one
	for i := range 6 {
		data := vaulttest.Data(100+i, uint64(i))
		all = append(all, one{h.put(name, data, nil).Version, data})
		if i != 2 && i != 3 { // versions 2, 3 and 4 may have one millisecond
			h.Storage.Advance(time.Second)
		}
	}
	if _, err := h.own.Delete(t.Context(), &storage.Delete{Name: name}); err != nil {
		t.Fatal(err)
	}
	order := func() (ids []string) {
		page, err := h.own.List(t.Context(), &storage.List{Bucket: "bucket-v", Versions: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			ids = append(ids, e.VersionID+" "+e.IsLatest+" "+e.LastModified)
		}
		return ids
	}
	before := order()
	if b := h.run(h.order(), "bucket-v"); b.Done != 6 || !b.Clean {
		t.Fatalf("%+v, left %v", b, h.left)
	}
	if after := order(); !slices.Equal(before, after) {
		t.Errorf("versions were %q and are %q", before, after)
	}
	for _, v := range all {
		h.reads(name, v.id, v.data, md5ETag(v.data))
	}
}

func TestAnObjectOfPartsKeepsItsETag(t *testing.T) {
	t.Parallel()
	for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS} {
		for _, kind := range []string{"", "COMPOSITE", "FULL_OBJECT"} {
			t.Run(fmt.Sprint(mode, kind), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				if mode == sse.ModeKMS {
					if err := h.engine.Rules.Set(t.Context(), vaulttest.Bucket, bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: "other"}); err != nil {
						t.Fatal(err)
					}
				}
				name := vaulttest.Name("k")
				meta := storage.Metadata{"X-Amz-Meta-A": {"b"}}
				if kind != "" {
					meta["X-Amz-Checksum-Algorithm"], meta["X-Amz-Checksum-Type"] = []string{"CRC32"}, []string{kind}
				}
				id, err := h.own.CreateUpload(t.Context(), &storage.CreateUpload{Name: name, Meta: meta})
				if err != nil {
					t.Fatal(err)
				}
				u := storage.Upload{Name: name, ID: id}
				var whole []byte
				var list []storage.CompletePart
				for i, number := range []int{1, 2, 5} {
					data := vaulttest.Data(70_000+i, uint64(i))
					whole = append(whole, data...)
					sum := crc32.NewIEEE()
					_, _ = sum.Write(data)
					put := &storage.PutPart{Upload: u, Number: number, Body: bodyOf(data)}
					part := storage.CompletePart{Number: number}
					if kind != "" {
						part.Algorithm, part.Checksum = "CRC32", base64.StdEncoding.EncodeToString(sum.Sum(nil))
						put.Meta = storage.Metadata{"X-Amz-Checksum-Crc32": {part.Checksum}}
					}
					if part.ETag, err = h.own.PutPart(t.Context(), put); err != nil {
						t.Fatal(err)
					}
					list = append(list, part)
				}
				stored, err := h.own.Complete(t.Context(), &storage.Complete{Upload: u, Parts: list})
				if err != nil {
					t.Fatal(err)
				}
				was, err := h.own.Head(t.Context(), &storage.Get{Name: name, Checksums: true})
				if err != nil {
					t.Fatal(err)
				}
				b := h.run(h.order(), vaulttest.Bucket)
				if b.Done != 1 || !b.Clean {
					t.Fatalf("%+v, left %v", b, h.left)
				}
				etag := stored.ETag
				if mode == sse.ModeKMS {
					etag = ""
				}
				if (b.NewETags == 0) != (mode == sse.ModeS3) {
					t.Errorf("%d have another ETag", b.NewETags)
				}
				r := h.reads(name, "", whole, etag)
				if r.Facts.Parts != 3 || r.Record.Mode != mode {
					t.Errorf("parts %d, mode %v", r.Facts.Parts, r.Record.Mode)
				}
				text := ""
				if sum := r.Facts.Checksum; sum != nil {
					text = base64.StdEncoding.EncodeToString(sum.Value)
					if sum.Composite {
						text += "-3"
					}
				}
				if want := was.Meta.Get("X-Amz-Checksum-Crc32"); text != want {
					t.Errorf("checksum %q, not %q", text, want)
				}
			})
		}
	}
}

// TestNoConcurrentWriteIsLost overwrites, changes or deletes each object between the read and
// the write of its take-over.
func TestNoConcurrentWriteIsLost(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(h *house, name sse.Name) []byte{
		"another plain object": func(h *house, name sse.Name) []byte {
			h.put(name, []byte("newer"), storage.Metadata{"X-Amz-Meta-N": {"1"}})
			return []byte("newer")
		},
		"one through the proxy": func(h *house, name sse.Name) []byte {
			_, err := h.engine.Put(h.Context(), vaulttest.Caller("alice"), putOf(name, []byte("sealed newer")))
			if err != nil {
				h.Error(err)
			}
			return []byte("sealed newer")
		},
		"a deletion": func(h *house, name sse.Name) []byte {
			if _, err := h.own.Delete(h.Context(), &storage.Delete{Name: name}); err != nil {
				h.Error(err)
			}
			return nil
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			name := vaulttest.Name("k")
			h.put(name, []byte("before"), nil)
			h.Storage.Advance(time.Hour)
			var want []byte
			once := false
			h.Watch(vaulttest.Bucket, func(c *memory.Call) error {
				if put, ok := c.Request.(*storage.Put); ok && put.Instead != nil && c.Step == memory.Ready && !once {
					once = true
					want = change(h, name)
				}
				return nil
			})
			b := h.run(h.order(), vaulttest.Bucket)
			if !once || !b.Clean || len(h.left) > 0 {
				t.Fatalf("%+v, left %v", b, h.left)
			}
			if want == nil {
				if _, err := h.own.Head(t.Context(), &storage.Get{Name: name}); !errors.Is(err, storage.ErrNotFound) {
					t.Fatalf("the deleted object is there again: %v", err)
				}
				return
			}
			h.reads(name, "", want, md5ETag(want))
		})
	}
}

func TestAnAnswerThatIsLostDoesNoHarm(t *testing.T) {
	t.Parallel()
	for _, step := range []memory.Step{memory.Arrived, memory.Ready, memory.Done} {
		for _, size := range []int{10, 200_000} {
			t.Run(fmt.Sprint(step, size), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				data := vaulttest.Data(size, 1)
				h.put(vaulttest.Name("k"), data, nil)
				failed := make(map[memory.Op]bool)
				h.Watch(vaulttest.Bucket, func(c *memory.Call) error {
					if c.Step == step && !failed[c.Op] && c.Op != memory.List && c.Op != memory.May && c.Op != memory.ReadLock {
						failed[c.Op] = true
						return storage.ErrUnreachable
					}
					return nil
				})
				if b := h.run(h.order(), vaulttest.Bucket); !b.Clean {
					t.Fatalf("%+v, left %v", b, h.left)
				}
				h.Storage.SetFaults(nil)
				h.reads(vaulttest.Name("k"), "", data, md5ETag(data))
			})
		}
	}
}

func TestACutBodyIsNotSealedAsAShorterObject(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	data := vaulttest.Data(200_000, 1)
	h.put(vaulttest.Name("k"), data, nil)
	cuts := 0
	h.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if c.Op == memory.Get && c.Step == memory.Arrived && cuts < 2 {
			cuts++
			c.CutBody(100_000)
		}
		return nil
	})
	if b := h.run(h.order(), vaulttest.Bucket); !b.Clean || cuts != 2 {
		t.Fatalf("%+v after %d cuts", b, cuts)
	}
	h.reads(vaulttest.Name("k"), "", data, md5ETag(data))
}

func TestWhatCannotBeTakenOverIsToldAndStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.versioned("bucket-lock")
	h.versioned("foreign")
	far := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	lock := func(key, mode string) {
		h.put(sse.Name{Bucket: "bucket-lock", Key: key}, []byte(key), storage.Metadata{
			"X-Amz-Object-Lock-Mode": {mode}, "X-Amz-Object-Lock-Retain-Until-Date": {far},
		})
	}
	lock("compliance", "COMPLIANCE")
	lock("governance", "GOVERNANCE")
	h.put(sse.Name{Bucket: "bucket-lock", Key: "hold"}, []byte("hold"), storage.Metadata{"X-Amz-Object-Lock-Legal-Hold": {"ON"}})
	h.put(sse.Name{Bucket: "foreign", Key: "planted"}, []byte("planted"), nil)
	_, err := h.own.Put(t.Context(), &storage.Put{Name: vaulttest.Name("broken"), Record: "no record", Body: bodyOf([]byte("x"))})
	if err != nil {
		t.Fatal(err)
	}
	why := func() (out []string) {
		for _, l := range h.left {
			out = append(out, l.Bucket+"/"+l.Key+" "+string(l.Reason))
		}
		slices.Sort(out)
		return out
	}
	want := []string{
		"bucket-lock/compliance locked", "bucket-lock/governance locked", "bucket-lock/hold locked",
		"bucket/broken damaged-record", "foreign/planted not-in-plain-read",
	}
	if b := h.run(h.order(), "bucket-lock"); b.Clean || b.Done != 0 || b.Left[takeover.Locked] != 3 || !slices.Equal(why(), want) {
		t.Fatalf("%+v, left %q", b, why())
	}
	order := h.order()
	order.Governance = true
	if b := h.run(order, "bucket-lock"); b.Done != 1 || b.Left[takeover.Locked] != 2 {
		t.Fatalf("%+v", b)
	}
	r := h.reads(sse.Name{Bucket: "bucket-lock", Key: "governance"}, "", []byte("governance"), "")
	if r.Meta.Get("X-Amz-Object-Lock-Mode") != "GOVERNANCE" || r.Meta.Get("X-Amz-Object-Lock-Retain-Until-Date") != far {
		t.Errorf("the retention is %v", r.Meta)
	}
}

// TestALockThatIsHiddenIsNotLost has a storage that hides retentions from whoever may not
// read them.
func TestALockThatIsHiddenIsNotLost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.versioned("bucket-lock")
	name := sse.Name{Bucket: "bucket-lock", Key: "k"}
	h.put(name, []byte("data"), storage.Metadata{
		"X-Amz-Object-Lock-Mode": {"GOVERNANCE"}, "X-Amz-Object-Lock-Retain-Until-Date": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)},
	})
	h.Watch("bucket-lock", func(c *memory.Call) error {
		switch {
		case c.Op == memory.ReadLock && c.Name.Key != "":
			return &storage.Error{Status: 403, Code: "AccessDenied"}
		case c.Step == memory.Done && c.Op == memory.Get:
			delete(c.Answer.(*storage.Object).Meta, "X-Amz-Object-Lock-Mode")
		}
		return nil
	})
	if b := h.run(h.order(), "bucket-lock"); b.Done != 0 || b.Clean || b.Left[takeover.Refused] != 1 {
		t.Fatalf("%+v", b)
	}
}

func TestTheKeyServiceIsAskedBeforeAnythingIsReplaced(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.put(vaulttest.Name("k"), []byte("data"), nil)
	h.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if c.Op == memory.Get && c.Step == memory.Done {
			time.Sleep(1100 * time.Millisecond) // a key that was just used is known to be there
			if err := h.KMS.DeleteKey(t.Context(), "s3"); err != nil && !errors.Is(err, kms.ErrKeyNotFound) {
				t.Error(err)
			}
		}
		return nil
	})
	h.left = nil
	if _, err := h.taker.Run(t.Context(), h.order()); !errors.Is(err, kms.ErrKeyNotFound) {
		t.Fatalf("error %v", err)
	}
	h.Storage.SetFaults(nil)
	if raw, err := h.Storage.Raw(vaulttest.Name("k"), ""); err != nil || string(raw.Data) != "data" {
		t.Fatalf("%q, %v", raw.Data, err)
	}
}

func putOf(name sse.Name, data []byte) *vault.Put {
	return &vault.Put{
		Write: vault.Write{Name: name}, Size: int64(len(data)),
		Body: func(plaintext.Digests) (plaintext.Body, error) { return vaulttest.NewBody(data), nil },
	}
}

// Clients know the MD5s of what was there before, whatever new objects get.
func TestObjectsKeepTheirMD5sWhereNewOnesGetOpaqueETags(t *testing.T) {
	t.Parallel()
	h := newHouseWith(t, func(o *vaulttest.Options) { o.OpaqueETag = glob.Patterns{"*"} })
	for _, size := range []int{0, 10, 300_000} {
		data := vaulttest.Data(size, 1)
		h.put(vaulttest.Name(fmt.Sprint(size)), data, nil)
	}
	h.run(h.order(), vaulttest.Bucket)
	for _, size := range []int{0, 10, 300_000} {
		data := vaulttest.Data(size, 1)
		sum := md5.Sum(data)
		_ = h.reads(vaulttest.Name(fmt.Sprint(size)), "", data, `"`+hex.EncodeToString(sum[:])+`"`).Close()
	}
}
