package vault_test

import (
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

var modes = []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC}

func TestObjectsOfEverySizeAreRead(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	for _, mode := range modes {
		for _, size := range []int{0, 1, pkg - 1, pkg, pkg + 1, 2*pkg + 1} {
			what := fmt.Sprintf("%v of %d bytes", mode, size)
			name, data := vaulttest.Name(what), vaulttest.Data(size, 1)
			stored := r.put(t, name, mode, data)
			o := r.wantRead(t, what, of(name, mode), data)
			sum := md5.Sum(data) //nolint:gosec // see above
			want := `"` + stored + `"`
			if mode == sse.ModeS3 {
				want = `"` + hex.EncodeToString(sum[:]) + `"`
			}
			if o.ETag != want || o.Size != int64(size) || o.Partial || o.Parts != 0 || o.Record.Mode != mode || o.Meta.Get("Content-Type") != "text/x" {
				t.Errorf("%s is %+v", what, o.Seen)
			}
			g := of(name, mode)
			g.Head = true
			if o, err := r.open(t, g); err != nil || o.ETag != want || o.Size != int64(size) || o.Range.Length != int64(size) || o.Partial {
				t.Errorf("%s: HEAD: %v", what, err)
			}
		}
	}
}

// sizesOfParts are parts that end within, at and just behind packages, and an empty one.
var sizesOfParts = []int{pkg + 1, 17, pkg, 0, 2*pkg - 1, 5}

func sum(sizes []int) (total int) {
	for _, size := range sizes {
		total += size
	}
	return total
}

// edges are where something begins or ends in an object of sizesOfParts.
func edges() (at []int64) {
	offset := 0
	for _, size := range sizesOfParts {
		at = append(at, int64(offset), int64(offset+size/2))
		offset += size
	}
	return append(at, int64(offset)-1)
}

func TestRangesAcrossEveryEdge(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(sum(sizesOfParts), 2)
	for _, mode := range modes {
		for _, layout := range [][]int{nil, sizesOfParts} {
			t.Run(fmt.Sprint(mode, len(layout)), func(t *testing.T) {
				t.Parallel()
				r, name := newReads(t), vaulttest.Name("k")
				r.put(t, name, mode, data, layout...)
				check := func(rng *plaintext.Range, want []byte) {
					g := of(name, mode)
					g.Range = rng
					if o := r.wantRead(t, fmt.Sprintf("%+v", *rng), g, want); !o.Partial || o.Size != int64(len(data)) {
						t.Errorf("%+v: %+v", *rng, o)
					}
				}
				for _, a := range edges() {
					check(from(a), data[a:])
					check(last(int64(len(data))-a), data[a:])
					for _, b := range edges() {
						if b >= a {
							check(between(a, b), data[a:b+1])
						}
					}
				}
				check(between(3, 1<<40), data[3:])
			})
		}
	}
}

// TestRangesWhosePlaceIsNotKnown asks each time an engine that has read nothing so far.
func TestRangesWhosePlaceIsNotKnown(t *testing.T) {
	t.Parallel()
	r, name, data := newReads(t), vaulttest.Name("k"), vaulttest.Data(sum(sizesOfParts), 17)
	r.put(t, name, sse.ModeKMS, data, sizesOfParts...)
	for _, a := range edges() {
		for _, b := range edges() {
			if b >= a {
				r.Engine = r.Installation.Engine(t)
				g := of(name, sse.ModeKMS)
				g.Range = between(a, b)
				r.wantRead(t, fmt.Sprintf("%+v", *g.Range), g, data[a:b+1])
			}
		}
	}
}

func TestRangeCostsOneRequestWhereItsPlaceIsKnown(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	data := vaulttest.Data(sum(sizesOfParts), 3)
	r.put(t, vaulttest.Name("stream"), sse.ModeKMS, data)
	r.put(t, vaulttest.Name("parts"), sse.ModeKMS, data, sizesOfParts...)
	calls := r.Watch(vaulttest.Bucket, nil)
	count := func(what string, g vault.Get, want []byte, most int) {
		t.Helper()
		r.wantRead(t, what, g, want)
		if n := len(calls.Took()); n != most {
			t.Errorf("%s: %d requests, want %d", what, n, most)
		}
	}
	ranged := func(key string, rng *plaintext.Range) vault.Get {
		g := of(vaulttest.Name(key), sse.ModeKMS)
		g.Range = rng
		return g
	}
	part := of(vaulttest.Name("parts"), sse.ModeKMS)
	part.Part = 5
	at := sizesOfParts[0] + sizesOfParts[1]
	count("of one stream", ranged("stream", between(pkg+5, 2*pkg)), data[pkg+5:2*pkg+1], 1)
	count("of parts, cold", ranged("parts", between(2*pkg, 2*pkg+9)), data[2*pkg:2*pkg+10], 2)
	count("of parts, known", ranged("parts", between(2*pkg, 2*pkg+9)), data[2*pkg:2*pkg+10], 1)
	count("a part, known", part, data[at:at+pkg], 1)
	count("all of it", of(vaulttest.Name("parts"), sse.ModeKMS), data, 1)
	part.Head = true
	if o, err := r.open(t, part); err != nil || o.Range.Length != pkg || len(calls.Took()) != 1 {
		t.Errorf("HEAD of a part: %v", err)
	}
	r.Engine = r.Installation.Engine(t)
	r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if get := c.Request.(*storage.Get); c.Op == memory.Get && get.Range == nil {
			t.Error("the whole object is asked for, where its parts are not known yet")
		}
		return nil
	})
	part.Head = false
	r.wantRead(t, "a part, cold", part, data[at:at+pkg])
}

func TestKnownPlaceOfAnObjectThatIsNoMore(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	old, young := vaulttest.Data(sum(sizesOfParts), 18), vaulttest.Data(3*pkg, 19)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(2 * pkg)
	for what, layout := range map[string][]int{"by one stream": nil, "by other parts": {pkg, 2 * pkg}} {
		r.Watch(vaulttest.Bucket, nil)
		r.put(t, vaulttest.Name("k"), sse.ModeKMS, old, sizesOfParts...)
		r.wantRead(t, "before", g, old[2*pkg:])
		r.put(t, vaulttest.Name("k"), sse.ModeKMS, young, layout...)
		calls := r.Watch(vaulttest.Bucket, nil)
		r.wantRead(t, "overwritten "+what, g, young[2*pkg:])
		if n := len(calls.Took()); n != 2 {
			t.Errorf("overwritten %s: %d requests", what, n)
		}
		r.wantRead(t, "again", g, young[2*pkg:])
		if n := len(calls.Took()); n != 1 {
			t.Errorf("overwritten %s: %d requests the second time", what, n)
		}
	}
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, old, sizesOfParts...)
	r.wantRead(t, "before", g, old[2*pkg:])
	short := vaulttest.Data(10, 20)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, short)
	var beyond *plaintext.RangeError
	if _, err := r.open(t, g); !errors.As(err, &beyond) {
		t.Errorf("overwritten by a short one: %v", err)
	}
}

func TestPartsAreReadByTheirNumbers(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(sum(sizesOfParts), 4)
	for _, head := range []bool{false, true} {
		r := newReads(t)
		r.put(t, vaulttest.Name("parts"), sse.ModeS3, data, sizesOfParts...)
		r.put(t, vaulttest.Name("stream"), sse.ModeS3, data[:9])
		ask := func(key string, number int) vault.Get {
			g := of(vaulttest.Name(key), sse.ModeS3)
			g.Part, g.Head, g.Checksum = number, head, true
			return g
		}
		check := func(what string, g vault.Get, want []byte) *vault.Reader {
			t.Helper()
			if !head {
				return r.wantRead(t, what, g, want)
			}
			o, err := r.open(t, g)
			if err != nil || o.Range.Length != int64(len(want)) {
				t.Fatalf("%s: %v", what, err)
			}
			return o
		}
		offset := 0
		for i, size := range sizesOfParts {
			o := check("part "+strconv.Itoa(2*i+1), ask("parts", 2*i+1), data[offset:offset+size])
			if !o.Partial || o.Range.Offset != int64(offset) || o.Parts != len(sizesOfParts) || o.Size != int64(len(data)) {
				t.Errorf("part %d: %+v of %d parts", 2*i+1, o.Range, o.Parts)
			}
			if o.Checksum == nil || o.Checksum.Type != sse.CRC32C || string(o.Checksum.Value) != string(vaulttest.Data(4, uint64(i))) {
				t.Errorf("part %d: checksum %+v", 2*i+1, o.Checksum)
			}
			offset += size
		}
		if o := check("the only part", ask("stream", 1), data[:9]); !o.Partial || o.Parts != 0 || o.Checksum != nil {
			t.Errorf("the only part: %+v", o)
		}
		for _, g := range []vault.Get{ask("parts", 2), ask("parts", 100), ask("stream", 2)} {
			r.wantError(t, fmt.Sprint(g.Name.Key, g.Part), g, vault.ErrPartNumber)
		}
	}
}

func TestChecksumIsToldOfAllThatIsAnswered(t *testing.T) {
	t.Parallel()
	r, data := newReads(t), vaulttest.Data(100, 5)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, data)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	if o := r.wantRead(t, "unasked", g, data); o.Checksum != nil {
		t.Error("a checksum that nobody asked for")
	}
	g.Checksum = true
	if o := r.wantRead(t, "asked", g, data); o.Checksum == nil || o.Checksum.Type != sse.MD5 {
		t.Errorf("checksum %+v", o.Checksum)
	}
	g.Range = from(0)
	if o := r.wantRead(t, "of a range", g, data); o.Checksum != nil {
		t.Error("a range is answered with the object's checksum")
	}
}

func TestConditionsComeBeforeRangesAndAfterRights(t *testing.T) {
	t.Parallel()
	r, data := newReads(t), vaulttest.Data(100, 6)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, data)
	g := of(vaulttest.Name("k"), sse.ModeS3)
	etag := r.wantRead(t, "all", g, data).ETag
	g.Range = from(1000)
	var beyond *plaintext.RangeError
	if _, err := r.open(t, g); !errors.As(err, &beyond) || beyond.Range != *g.Range {
		t.Errorf("a range beyond the end: %v", err)
	}
	g.Conditions.IfNoneMatch = etag
	var failed *conditions.Error
	if _, err := r.open(t, g); !errors.Is(err, conditions.ErrNotModified) || !errors.As(err, &failed) || failed.ETag != etag || failed.Modified.IsZero() {
		t.Errorf("with a condition: %v", err)
	}
	g.Range, g.Conditions = from(10), conditions.Read{IfMatch: `"other"`}
	r.wantError(t, "If-Match", g, conditions.ErrPrecondition)
	g.Conditions = conditions.Read{IfUnmodifiedSince: time.Unix(1, 0)}
	r.wantError(t, "If-Unmodified-Since", g, conditions.ErrPrecondition)

	wrong := sse.Secret{9}
	r.put(t, vaulttest.Name("c"), sse.ModeC, data)
	secret := of(vaulttest.Name("c"), sse.ModeC)
	secret.Customer, secret.Conditions.IfMatch = &wrong, `"other"`
	r.wantError(t, "a wrong key and a condition", secret, sse.ErrWrongKey)
}

func TestRangeOfAnotherVersionThanIfRangeIsTheWhole(t *testing.T) {
	t.Parallel()
	r, data := newReads(t), vaulttest.Data(sum(sizesOfParts), 7)
	r.put(t, vaulttest.Name("stream"), sse.ModeS3, data)
	r.put(t, vaulttest.Name("parts"), sse.ModeS3, data, sizesOfParts...)
	for _, key := range []string{"stream", "parts"} {
		g := of(vaulttest.Name(key), sse.ModeS3)
		etag := r.wantRead(t, key, g, data).ETag
		for range 2 { // the place of parts is known the second time
			g.Range, g.Conditions.IfRange = from(pkg), etag
			r.wantRead(t, key+": the same", g, data[pkg:])
			g.Conditions.IfRange = `"other"`
			if o := r.wantRead(t, key+": another", g, data); o.Partial {
				t.Errorf("%s: the whole is answered as a part", key)
			}
		}
		g.Conditions = conditions.Read{IfRangeSince: time.Unix(1, 0)}
		r.wantRead(t, key+": another time", g, data)
	}
}

func TestVersionsAreRead(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	if err := r.Storage.SetVersioning(vaulttest.Bucket, memory.Versioned); err != nil {
		t.Fatal(err)
	}
	old, young := vaulttest.Data(10, 8), vaulttest.Data(sum(sizesOfParts), 9)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, old)
	first := r.wantRead(t, "the first", of(vaulttest.Name("k"), sse.ModeS3), old)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, young, sizesOfParts...)
	if o := r.wantRead(t, "the current one", of(vaulttest.Name("k"), sse.ModeS3), young); o.Version == "" || o.Version == first.Version {
		t.Errorf("version %q after %q", o.Version, first.Version)
	}
	g := of(vaulttest.Name("k"), sse.ModeS3)
	g.Version = first.Version
	r.wantRead(t, "the first, by its id", g, old)
}

func TestOverwrittenObjectIsReadAnew(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	old, young := vaulttest.Data(sum(sizesOfParts), 10), vaulttest.Data(sum(sizesOfParts), 11)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, old, sizesOfParts...)
	next := r.seal(t, vaulttest.Name("k"), sse.ModeKMS, young, sizesOfParts...)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(2 * pkg)
	done := false
	r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if get, ok := c.Request.(*storage.Get); ok && get.IfMatch != "" && !done && c.Step == memory.Arrived {
			done = true // between the first look and the bytes
			r.describe(t, vaulttest.Name("k"), r.store(t, vaulttest.Name("k"), next.record, next.data), next)
		}
		return nil
	})
	r.wantRead(t, "overwritten once", g, young[2*pkg:])
	if !done {
		t.Error("there was no second request")
	}
}

func TestObjectThatIsAlwaysOverwrittenIsNotReadForEver(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	data := vaulttest.Data(sum(sizesOfParts), 12)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, data, sizesOfParts...)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(2 * pkg)
	calls := r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if get, ok := c.Request.(*storage.Get); ok && get.IfMatch != "" {
			return &storage.Error{Status: 412, Code: "PreconditionFailed"}
		}
		return nil
	})
	r.wantError(t, "always overwritten", g, vault.ErrChanged)
	if n := len(calls.Took()); n != 10 {
		t.Errorf("%d requests for 5 tries", n)
	}
}

func TestAnotherObjectWithTheSameETagIsReadByItsOwnRecord(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	old, young := vaulttest.Data(sum(sizesOfParts), 13), vaulttest.Data(sum(sizesOfParts)-1, 14)
	etag := r.put(t, vaulttest.Name("k"), sse.ModeKMS, old, sizesOfParts...)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(pkg)
	r.wantRead(t, "before", g, old[pkg:])
	other := []int{4, 2*pkg - 1, 0, pkg, 17, pkg + 1}
	next := r.seal(t, vaulttest.Name("k"), sse.ModeKMS, young, other...)
	r.describe(t, vaulttest.Name("k"), etag, next)
	if err := r.Storage.Alter(vaulttest.Name("k"), "", func(o *memory.Stored) {
		o.Data, o.Reserved = next.data, []storage.MetaEntry{{Name: storage.RecordName, Value: next.record}}
	}); err != nil {
		t.Fatal(err)
	}
	r.wantRead(t, "after", g, young[pkg:])
	r.wantRead(t, "all", of(vaulttest.Name("k"), sse.ModeKMS), young)
}

func TestRecordThatChangesUnderTheSameETagIsReadAnew(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	old, young := vaulttest.Data(sum(sizesOfParts), 15), vaulttest.Data(sum(sizesOfParts), 16)
	etag := r.put(t, vaulttest.Name("k"), sse.ModeKMS, old, sizesOfParts...)
	next := r.seal(t, vaulttest.Name("k"), sse.ModeKMS, young, sizesOfParts...)
	r.describe(t, vaulttest.Name("k"), etag, next)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(2 * pkg)
	r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if get, ok := c.Request.(*storage.Get); ok && get.IfMatch != "" && c.Step == memory.Arrived {
			return r.Storage.Alter(vaulttest.Name("k"), "", func(o *memory.Stored) {
				o.Data, o.Reserved = next.data, []storage.MetaEntry{{Name: storage.RecordName, Value: next.record}}
			})
		}
		return nil
	})
	r.wantRead(t, "changed between two requests", g, young[2*pkg:])
}

func TestObjectThatGrewBehindItsRangeIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	data := vaulttest.Data(3*pkg, 16)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, vaulttest.Data(10, 15))
	big := r.seal(t, vaulttest.Name("k"), sse.ModeKMS, data)
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(2 * pkg)
	r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if c.Op == memory.Head && c.Step == memory.Arrived {
			r.store(t, vaulttest.Name("k"), big.record, big.data)
		}
		return nil
	})
	r.wantRead(t, "grown", g, data[2*pkg:])
}

func TestStorageThatRefusesEveryRangeIsNotAskedForEver(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, vaulttest.Data(3*pkg, 17))
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	g.Range = from(2 * pkg)
	r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if get, ok := c.Request.(*storage.Get); ok && get.Range != nil {
			return &storage.Error{Status: 416, Code: "InvalidRange"}
		}
		return nil
	})
	r.wantError(t, "always refused", g, vault.ErrChanged)
}
