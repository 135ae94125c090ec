package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/proxy/verify"
	"github.com/bucketseal/bucketseal/sse"
)

type house struct {
	*testing.T
	*vaulttest.Shelf
	verifier *verify.Verifier
}

func newHouse(t *testing.T) *house { return newHouseWith(t, func(*vaulttest.Options) {}) }

func newHouseWith(t *testing.T, change func(*vaulttest.Options)) *house {
	t.Helper()
	var keys *keyring.Ring
	h := &house{T: t}
	h.Shelf = vaulttest.NewShelf(t, memory.Options{}, func(i *vaulttest.Installation) {
		i.Change = func(o *vaulttest.Options) {
			keys = o.Keys
			change(o)
		}
	})
	objects, err := sealed.New(sealed.Options{Storage: h.Storage, Keys: keys, Manifests: h.Manifests, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.verifier, err = verify.New(verify.Options{
		Storage: h.Storage, Objects: objects, Ready: func(context.Context) error { return nil }, Buckets: h.Storage.CreationDates,
		Orphans: h.Keeper.Orphans, SystemBucket: h.System.Bucket(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// run verifies, and returns what was found as "kind key".
func (h *house) run(change func(*verify.Order)) (found []string, counts *verify.Counts, err error) {
	h.Helper()
	order := &verify.Order{Buckets: glob.Patterns{"*"}, Sample: 1, Workers: 3, Orphans: true}
	order.Found = func(f verify.Finding) { found = append(found, string(f.Kind)+" "+f.Key) }
	if change != nil {
		change(order)
	}
	counts, err = h.verifier.Run(h.Context(), order)
	slices.Sort(found)
	return found, counts, err
}

// fill puts objects of all kinds there, and returns their names.
func (h *house) fill() (all []*vaulttest.Shelved) {
	h.Helper()
	for _, mode := range []sse.Mode{sse.ModeS3, sse.ModeKMS} {
		for _, size := range []int{0, 1, 65_536, 200_000} {
			all = append(all, h.PutStream(h, fmt.Sprint(mode, "-stream-", size), mode, vaulttest.Data(size, 1), false))
		}
		all = append(all,
			h.PutStream(h, fmt.Sprint(mode, "-late"), mode, vaulttest.Data(100_000, 2), true),
			h.PutParts(h, fmt.Sprint(mode, "-parts"), mode, strings.Repeat("a", 70_000), strings.Repeat("b", 66_000), "end"))
	}
	return all
}

func TestNothingIsFoundWhereNothingIsWrong(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := h.fill()
	h.PutStream(t, "customer", sse.ModeC, []byte("data"), false)
	h.PutAsIs(t, vaulttest.Name("plain"), "", []byte("data"))
	found, counts, err := h.run(nil)
	if want := []string{"customer-key customer", "plain plain"}; err != nil || !slices.Equal(found, want) {
		t.Fatalf("found %q, %v", found, err)
	}
	if counts.Bad() != 0 || counts.Good != int64(len(all)) || counts.Seen != counts.Good+2 {
		t.Errorf("%+v", counts)
	}
}

func TestWhatIsWrongIsFoundAndNothingElse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all := h.fill()
	byKey := make(map[string]*vaulttest.Shelved)
	for _, o := range all {
		byKey[o.Name.Key] = o
	}
	name := func(key string) sse.Name {
		if byKey[key] == nil {
			t.Fatalf("no object %q", key)
		}
		return byKey[key].Name
	}
	s3, kms := fmt.Sprint(sse.ModeS3), fmt.Sprint(sse.ModeKMS)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(h.Storage.Flip(name(s3+"-stream-200000"), 150_000))
	must(h.Storage.Flip(name(kms+"-parts"), 5))
	must(h.Storage.Alter(name(s3+"-stream-65536"), "", func(o *memory.Stored) { o.Data = o.Data[:len(o.Data)-7] }))
	other, err := h.Storage.Raw(name(kms+"-stream-0"), "")
	must(err)
	must(h.Storage.Alter(name(kms+"-stream-65536"), "", func(o *memory.Stored) { o.Reserved = other.Reserved }))
	must(h.Storage.Alter(name(s3+"-stream-1"), "", func(o *memory.Stored) {
		o.Reserved = []storage.MetaEntry{{Name: storage.RecordName, Value: "nonsense"}}
	}))
	h.removeManifest(byKey[s3+"-parts"])
	want := []string{
		"data " + kms + "-parts", "data " + s3 + "-stream-200000", "data " + s3 + "-stream-65536", "manifest " + s3 + "-parts",
		"record " + kms + "-stream-65536", "record " + s3 + "-stream-1",
	}
	slices.Sort(want)
	found, counts, err := h.run(nil)
	if err != nil || !slices.Equal(found, want) {
		t.Fatalf("found %q, %v; want %q", found, err, want)
	}
	if counts.Good != int64(len(all)-len(want)) || counts.Bad() != int64(len(want)) {
		t.Errorf("%+v", counts)
	}
}

// removeManifest removes the manifest of an object where it lies.
func (h *house) removeManifest(o *vaulttest.Shelved) {
	h.Helper()
	manifests := make(map[string]sse.Name) // by version
	h.Storage.Each(func(name sse.Name, version string, _ memory.Stored) {
		if name.Bucket == h.System.Bucket() && strings.Contains(name.Key, o.Name.Key) {
			manifests[version] = name
		}
	})
	if len(manifests) == 0 {
		h.Fatalf("no manifest of %s", o.Name.Key)
	}
	for version, name := range manifests {
		if _, err := h.Storage.Own(storage.Actor{}).Delete(h.Context(), &storage.Delete{Name: name, Version: version}); err != nil {
			h.Fatal(err)
		}
	}
	fresh := newVerifier(h)
	h.verifier = fresh
}

// newVerifier is one that has read nothing yet.
func newVerifier(h *house) *verify.Verifier {
	h.Helper()
	var keys *keyring.Ring
	before := h.Change
	h.Change = func(o *vaulttest.Options) { keys = o.Keys }
	e := h.Installation.Engine(h)
	h.Change = before
	objects, err := sealed.New(sealed.Options{Storage: h.Storage, Keys: keys, Manifests: e.Manifests, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.Fatal(err)
	}
	v, err := verify.New(verify.Options{
		Storage: h.Storage, Objects: objects, Ready: func(context.Context) error { return nil }, Buckets: h.Storage.CreationDates,
		Orphans: e.Keeper.Orphans, SystemBucket: h.System.Bucket(),
	})
	if err != nil {
		h.Fatal(err)
	}
	return v
}

// noMD5 is a body of which no MD5 is computed.
type noMD5 struct{ *vaulttest.Body }

// MD5 implements plaintext.Body.
func (noMD5) MD5() (sum [16]byte, ok bool) { return sum, false }

// An object of parts whose ETag is no MD5 is compared by its checksum alone.
func TestOpaqueETagsAreNotTakenForMD5s(t *testing.T) {
	t.Parallel()
	h := newHouseWith(t, func(o *vaulttest.Options) { o.OpaqueETag = glob.Patterns{"*"} })
	c, name := vaulttest.Caller("alice"), vaulttest.Name("parts")
	begun, err := h.Begin(t.Context(), c, &vault.Begin{Write: vault.Write{Name: name, Meta: storage.Metadata{}}})
	if err != nil {
		t.Fatal(err)
	}
	upload := vault.Upload{Name: name, ID: begun.ID}
	var list []vault.WantedPart
	for n, size := range []int{5 << 20, 10} {
		sent, err := h.Part(t.Context(), c, &vault.Part{
			PartTarget: vault.PartTarget{Upload: upload, Number: n + 1},
			Body: func(plaintext.Digests) (plaintext.Body, error) {
				return noMD5{vaulttest.NewBody(vaulttest.Data(size, 1))}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, vault.WantedPart{Number: n + 1, ETag: sent.ETag})
	}
	if _, err := h.Complete(t.Context(), c, &vault.Complete{Upload: upload, Parts: list}); err != nil {
		t.Fatal(err)
	}
	if found, counts, err := h.run(nil); err != nil || len(found) != 0 || counts.Bad() != 0 {
		t.Errorf("found %v, %+v, %v", found, counts, err)
	}
}

func TestAKeyThatIsGoneIsFound(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.PutStream(t, "s3", sse.ModeS3, []byte("data"), false)
	h.PutStream(t, "kms", sse.ModeKMS, []byte("data"), false)
	if err := h.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if found, _, err := h.run(nil); err != nil || !slices.Equal(found, []string{"key kms"}) {
		t.Fatalf("found %q, %v", found, err)
	}
}

func TestAManifestWithoutAnObjectIsAnOrphan(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	o := h.PutParts(t, "parts", sse.ModeS3, "data")
	h.PutParts(t, "stays", sse.ModeS3, "data")
	if _, err := h.Storage.Own(storage.Actor{}).Delete(t.Context(), &storage.Delete{Name: o.Name}); err != nil {
		t.Fatal(err)
	}
	if found, _, err := h.run(nil); err != nil || len(found) > 0 {
		t.Fatalf("a young one: %q, %v", found, err)
	}
	h.Storage.Advance(2 * time.Hour)
	found, counts, err := h.run(nil)
	if err != nil || len(found) != 1 || !strings.HasPrefix(found[0], "orphan ") || counts.Bad() != 0 {
		t.Fatalf("found %q, %v", found, err)
	}
}

func TestASampleIsAShareAndTheSameForOneSeed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 400 {
		h.PutStream(t, fmt.Sprint("k", i), sse.ModeS3, []byte("data"), false)
	}
	share := func(seed uint64) int64 {
		_, counts, err := h.run(func(o *verify.Order) { o.Sample, o.Seed, o.Orphans = 0.25, seed, false })
		if err != nil || counts.Good+counts.Skipped != 400 {
			t.Fatalf("%+v, %v", counts, err)
		}
		return counts.Good
	}
	if n := share(1); n < 60 || n > 140 || n != share(1) {
		t.Errorf("%d of 400", n)
	}
}

func TestAnInterruptedVerificationGoesOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for i := range 2500 { // three pages
		h.PutAsIs(t, vaulttest.Name(fmt.Sprintf("k%04d", i)), "", []byte("x"))
	}
	o := h.PutStream(t, "zz", sse.ModeS3, vaulttest.Data(100, 1), false)
	if err := h.Storage.Flip(o.Name, 40); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken off")
	var reached verify.State
	first, _, err := h.run(func(o *verify.Order) {
		o.Reached = func(s verify.State) error { reached = s; return broken }
	})
	if !errors.Is(err, broken) || len(first) != 1000 {
		t.Fatalf("%d found, %v", len(first), err)
	}
	second, counts, err := h.run(func(o *verify.Order) { o.From = reached })
	if err != nil || len(second) != 1501 || counts.Seen != 2501 || counts.Found[verify.Plain] != 2500 || counts.Bad() != 1 {
		t.Fatalf("%d found, %+v, %v", len(second), counts, err)
	}
}

func TestAStorageThatCannotBeReachedIsNoDamage(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.PutStream(t, "k", sse.ModeS3, bytes.Repeat([]byte("data"), 30_000), false)
	cuts := 0
	h.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if c.Op == memory.Get && c.Step == memory.Arrived {
			if cuts++; cuts < 3 {
				c.CutBody(70_000)
			}
		}
		return nil
	})
	if found, counts, err := h.run(nil); err != nil || len(found) > 0 || counts.Good != 1 {
		t.Fatalf("found %q, %+v, %v", found, counts, err)
	}
	h.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if c.Op == memory.Get {
			return storage.ErrUnreachable
		}
		return nil
	})
	if found, _, err := h.run(nil); !errors.Is(err, storage.ErrUnreachable) || len(found) > 0 {
		t.Fatalf("found %q, %v", found, err)
	}
}
