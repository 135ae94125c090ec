package vault_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

var plainName = sse.Name{Bucket: plainBucket, Key: "k"}

// plainReads has a plain object, which was uploaded in parts if sizes are given.
func plainReads(t testing.TB, data []byte, sizes ...int) *reads {
	t.Helper()
	r := newReads(t)
	if sizes == nil {
		r.store(t, plainName, "", data)
		return r
	}
	at := r.Storage.Own(storage.Actor{})
	id, err := at.CreateUpload(t.Context(), &storage.CreateUpload{Name: plainName})
	if err != nil {
		t.Fatal(err)
	}
	upload := storage.Upload{Name: plainName, ID: id}
	complete := &storage.Complete{Upload: upload}
	for i, size := range sizes {
		part := data[:size]
		data = data[size:]
		etag, err := at.PutPart(t.Context(), &storage.PutPart{Upload: upload, Number: i + 1, Body: storage.Body{Reader: bytes.NewReader(part), Length: int64(size)}})
		if err != nil {
			t.Fatal(err)
		}
		complete.Parts = append(complete.Parts, storage.CompletePart{Number: i + 1, ETag: etag})
	}
	if _, err := at.Complete(t.Context(), complete); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlainObjectsAreReadWhereTheyMayBe(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(2*pkg, 40)
	r := plainReads(t, data)
	r.store(t, vaulttest.Name("k"), "", data)
	r.wantError(t, "a bucket that plain_read does not list", vault.Get{Read: vault.Read{Name: vaulttest.Name("k")}}, vault.ErrPlainObject)
	g := vault.Get{Read: vault.Read{Name: plainName}}
	o := r.wantRead(t, "all", g, data)
	if o.Record != nil || o.Partial || o.Size != int64(len(data)) || o.Meta.Get("Content-Type") != "text/x" {
		t.Errorf("%+v", o.Seen)
	}
	for rng, want := range map[plaintext.Range][]byte{
		*between(5, 9): data[5:10], *from(pkg + 1): data[pkg+1:], *last(7): data[2*pkg-7:], *last(1 << 40): data, *from(0): data, *between(9, 1<<40): data[9:],
	} {
		for _, head := range []bool{false, true} {
			g := vault.Get{Read: vault.Read{Name: plainName}, Range: &rng, Head: head}
			o, err := r.open(t, g)
			if err != nil || !o.Partial || o.Range.Length != int64(len(want)) || o.Size != int64(len(data)) || o.ETag == "" || o.Meta.Get("Content-Range") == "" {
				t.Fatalf("%+v: %v", rng, err)
			}
			if !head {
				r.wantRead(t, "a range", g, want)
			}
		}
	}
	g.Range, g.Conditions.IfRange = from(9), `"other"`
	if o := r.wantRead(t, "If-Range of another", g, data); o.Partial {
		t.Error("the whole is answered as a part")
	}
	g.Conditions = conditions.Read{IfNoneMatch: "*"}
	r.wantError(t, "If-None-Match", g, conditions.ErrNotModified)
	g.Range, g.Conditions = from(1<<40), conditions.Read{}
	r.wantError(t, "beyond the end", g, storage.ErrRange)
	g.Range, g.Customer = nil, &sse.Secret{1}
	r.wantError(t, "with a customer key", g, vault.ErrCustomerKeyUnused)
}

func TestPartsOfPlainObjectsAreRead(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(100, 41)
	r := plainReads(t, data, 60, 40)
	ask := func(n int) vault.Get { return vault.Get{Read: vault.Read{Name: plainName}, Part: n} }
	if o := r.wantRead(t, "part 1", ask(1), data[:60]); !o.Partial || o.Meta.Get("X-Amz-Mp-Parts-Count") != "2" {
		t.Errorf("%+v", o.Seen)
	}
	r.wantRead(t, "part 2", ask(2), data[60:])
	r.wantError(t, "part 3", ask(3), vault.ErrPartNumber)
	g := ask(2)
	g.Head = true
	if o, err := r.open(t, g); err != nil || o.Range.Length != 40 {
		t.Errorf("HEAD: %v", err)
	}
	g.Part = 3
	r.wantError(t, "HEAD of part 3", g, vault.ErrPartNumber)
}

func TestEmptyPlainObjectHasNoRange(t *testing.T) {
	t.Parallel()
	r := plainReads(t, nil)
	g := vault.Get{Read: vault.Read{Name: plainName}}
	r.wantRead(t, "all", g, nil)
	g.Range = last(5)
	var beyond *plaintext.RangeError
	if _, err := r.open(t, g); !errors.As(err, &beyond) {
		t.Errorf("the end of nothing: %v", err)
	}
}

func TestPlainObjectThatIsEncryptedMeanwhileIsReadAnew(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(100, 42)
	r := plainReads(t, vaulttest.Data(200, 43))
	done := false
	r.Watch(plainBucket, func(c *memory.Call) error {
		if get, ok := c.Request.(*storage.Get); ok && get.IfMatch != "" && !done && c.Step == memory.Arrived {
			done = true
			r.put(t, plainName, sse.ModeS3, data)
		}
		return nil
	})
	g := vault.Get{Read: vault.Read{Name: plainName}, Range: from(60)}
	r.wantRead(t, "overwritten", g, data[60:])
	if !done {
		t.Error("there was no second request")
	}
}

func TestPlainObjectThatGetsARecordIsReadAnew(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(100, 46)
	r := plainReads(t, vaulttest.Data(200, 47))
	next := r.seal(t, plainName, sse.ModeKMS, data)
	r.Watch(plainBucket, func(c *memory.Call) error {
		if get, ok := c.Request.(*storage.Get); ok && get.IfMatch != "" && c.Step == memory.Arrived {
			return r.Storage.Alter(plainName, "", func(o *memory.Stored) { // under the same ETag
				o.Data, o.Reserved = next.data, []storage.MetaEntry{{Name: storage.RecordName, Value: next.record}}
			})
		}
		return nil
	})
	r.wantRead(t, "with a record", vault.Get{Read: vault.Read{Name: plainName}, Range: from(60)}, data[60:])
}

func TestPlainObjectThatEndsEarlyIsNotWhole(t *testing.T) {
	t.Parallel()
	r := plainReads(t, vaulttest.Data(10, 48))
	r.Watch(plainBucket, func(c *memory.Call) error {
		if said, ok := c.Answer.(*storage.Object); ok {
			said.Size = 15
		}
		return nil
	})
	r.wantError(t, "ten bytes of fifteen", vault.Get{Read: vault.Read{Name: plainName}}, storage.ErrUnreachable)
}

func TestPlainObjectWithoutALengthIsRefused(t *testing.T) {
	t.Parallel()
	r := plainReads(t, vaulttest.Data(10, 44))
	r.Watch(plainBucket, func(c *memory.Call) error {
		switch said := c.Answer.(type) {
		case *storage.Object:
			said.Size = -1
		case *storage.Info:
			said.Size = -1
		}
		return nil
	})
	for _, head := range []bool{false, true} {
		g := vault.Get{Read: vault.Read{Name: plainName}, Head: head}
		r.wantError(t, "without a length", g, storage.ErrLied)
	}
	if _, err := r.Attributes(t.Context(), nobody, vault.Read{Name: plainName}); !errors.Is(err, storage.ErrLied) {
		t.Errorf("attributes: %v", err)
	}
}

// TestRefusedRangeIsNotAnsweredByALie has the storage refuse a range, and then answer a
// look-up as if it had been asked for it.
func TestRefusedRangeIsNotAnsweredByALie(t *testing.T) {
	t.Parallel()
	r := plainReads(t, vaulttest.Data(10, 45))
	g := vault.Get{Read: vault.Read{Name: plainName}, Range: from(5)}
	r.Watch(plainBucket, func(c *memory.Call) error {
		if c.Op == memory.Get && c.Step == memory.Arrived {
			return &storage.Error{Status: 416, Code: "InvalidRange"}
		}
		if said, ok := c.Answer.(*storage.Info); ok {
			said.Part, said.At, said.Total, said.Size = true, sse.Range{Offset: 5, Length: 5}, 10, 5
		}
		return nil
	})
	r.wantError(t, "a lie", g, storage.ErrLied)
}
