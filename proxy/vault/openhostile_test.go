package vault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

func TestFlippedBitIsNeverData(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(sum(sizesOfParts), 20)
	for _, layout := range [][]int{nil, sizesOfParts} {
		r := newReads(t)
		r.put(t, vaulttest.Name("k"), sse.ModeS3, data, layout...)
		raw, err := r.Storage.Raw(vaulttest.Name("k"), "")
		if err != nil {
			t.Fatal(err)
		}
		flip := func(at int) {
			t.Helper()
			if err := r.Storage.Flip(vaulttest.Name("k"), at); err != nil {
				t.Fatal(err)
			}
		}
		for at := 0; at < len(raw.Data); at += 16411 {
			flip(at)
			_, got, err := r.read(t, of(vaulttest.Name("k"), sse.ModeS3))
			if !errors.Is(err, sse.ErrTampered) && !errors.Is(err, sse.ErrTruncated) || !bytes.HasPrefix(data, got) {
				t.Errorf("byte %d of %d parts: %d bytes and %v", at, len(layout), len(got), err)
			}
			if at < sse.EncPackageSize && got != nil {
				t.Errorf("byte %d of %d parts: %d bytes are answered before the first package is authentic", at, len(layout), len(got))
			}
			flip(at)
		}
		r.wantRead(t, "as it was", of(vaulttest.Name("k"), sse.ModeS3), data)
	}
}

func TestExchangedAndShortenedDataAreRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		for _, layout := range [][]int{nil, sizesOfParts} {
			r, what := newReads(t), fmt.Sprintf("%v in %d parts", mode, len(layout))
			size := sum(sizesOfParts)
			r.put(t, vaulttest.Name("a"), mode, vaulttest.Data(size, 21), layout...)
			r.put(t, vaulttest.Name("b"), mode, vaulttest.Data(size, 22), layout...)
			if err := r.Storage.Swap(vaulttest.Name("a"), vaulttest.Name("b")); err != nil {
				t.Fatal(err)
			}
			ranged := of(vaulttest.Name("a"), mode)
			ranged.Range = from(pkg + 3)
			for _, g := range []vault.Get{of(vaulttest.Name("a"), mode), ranged} {
				r.wantError(t, what+": another object's data", g, sse.ErrTampered)
			}
			cut := func(o *memory.Stored) { o.Data = o.Data[:len(o.Data)-1] }
			if err := r.Storage.Alter(vaulttest.Name("b"), "", cut); err != nil {
				t.Fatal(err)
			}
			ranged.Name = vaulttest.Name("b")
			for _, g := range []vault.Get{of(vaulttest.Name("b"), mode), ranged} {
				r.wantError(t, what+": shortened", g, storage.ErrLied)
			}
		}
	}
}

func TestRecordsThatAreNotTheObjectsOwnAreRefused(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	r.put(t, vaulttest.Name("a"), sse.ModeS3, vaulttest.Data(100, 23))
	r.put(t, vaulttest.Name("b"), sse.ModeS3, vaulttest.Data(100, 24))
	b, err := r.Storage.Raw(vaulttest.Name("b"), "")
	if err != nil {
		t.Fatal(err)
	}
	record := b.Reserved[0].Value
	for what, reserved := range map[string][]storage.MetaEntry{
		"two records":      {{Name: storage.RecordName, Value: record}, {Name: storage.RecordName, Value: record}},
		"another name":     {{Name: storage.RecordName + "-X", Value: record}},
		"one too many":     {{Name: storage.RecordName, Value: record}, {Name: storage.RecordName + "2", Value: "x"}},
		"two in one line":  {{Name: storage.RecordName, Value: record + ", " + record}},
		"empty":            {{Name: storage.RecordName}},
		"no record at all": {{Name: storage.RecordName, Value: "nonsense"}},
	} {
		if err := r.Storage.Alter(vaulttest.Name("a"), "", func(o *memory.Stored) { o.Reserved = reserved }); err != nil {
			t.Fatal(err)
		}
		r.wantError(t, what, of(vaulttest.Name("a"), sse.ModeS3), sse.ErrRecord)
	}
	other := func(o *memory.Stored) { o.Data, o.Reserved = b.Data, b.Reserved }
	if err := r.Storage.Alter(vaulttest.Name("a"), "", other); err != nil {
		t.Fatal(err)
	}
	r.wantError(t, "another object's record and data", of(vaulttest.Name("a"), sse.ModeS3), sse.ErrTampered)
	if err := r.Storage.Alter(vaulttest.Name("a"), "", func(o *memory.Stored) { o.Reserved = nil }); err != nil {
		t.Fatal(err)
	}
	r.wantError(t, "planted plaintext", of(vaulttest.Name("a"), sse.ModeS3), vault.ErrPlainObject)
	if err := r.Storage.Hide(vaulttest.Name("b"), true); err != nil {
		t.Fatal(err)
	}
	r.wantError(t, "hidden", of(vaulttest.Name("b"), sse.ModeS3), storage.ErrNotFound)
}

// TestAnswersThatContradictTheRecordAreRefused has the storage lie in what it says of a
// range.
func TestAnswersThatContradictTheRecordAreRefused(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(sum(sizesOfParts), 25)
	for what, lie := range map[string]func(*storage.Object){
		"another place": func(o *storage.Object) { o.At.Offset += sse.EncPackageSize },
		"another size":  func(o *storage.Object) { o.Total++ },
		"no place":      func(o *storage.Object) { o.At, o.Total = sse.Range{}, -1 },
		"no range":      func(o *storage.Object) { o.Part = false },
		"a length":      func(o *storage.Object) { o.Size-- },
		"no length":     func(o *storage.Object) { o.Size = -1 },
	} {
		for _, layout := range [][]int{nil, sizesOfParts} {
			r := newReads(t)
			r.put(t, vaulttest.Name("k"), sse.ModeKMS, data, layout...)
			g := of(vaulttest.Name("k"), sse.ModeKMS)
			g.Range = from(2 * pkg)
			lieIn := func(place string, n int) {
				seen := 0
				r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
					if o, ok := c.Answer.(*storage.Object); ok && c.Step == memory.Done {
						if seen++; seen == n {
							lie(o)
						}
					}
					return nil
				})
				r.wantError(t, fmt.Sprintf("%s, %d parts, %s, answer %d", what, len(layout), place, n), g, storage.ErrLied)
				r.Storage.SetFaults(nil)
			}
			lieIn("cold", 1)
			if layout != nil {
				r.Engine = r.Installation.Engine(t)
				lieIn("cold", 2)
			}
			r.wantRead(t, "the truth", g, data[2*pkg:])
			lieIn("known", 1)
		}
	}
}

func TestLengthInAnAnswerToHEADIsNotBelieved(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, vaulttest.Data(100, 33))
	r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
		if info, ok := c.Answer.(*storage.Info); ok {
			info.Size++
		}
		return nil
	})
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	if _, err := r.Attributes(t.Context(), vaulttest.Caller("somebody"), g.Read); !errors.Is(err, storage.ErrLied) {
		t.Errorf("attributes: %v", err)
	}
	g.Head = true
	r.wantError(t, "HEAD", g, storage.ErrLied)
}

func TestBodyThatBreaksOffIsNoEnd(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(sum(sizesOfParts), 26)
	for _, layout := range [][]int{nil, sizesOfParts} {
		r := newReads(t)
		r.put(t, vaulttest.Name("k"), sse.ModeS3, data, layout...)
		for _, at := range []int64{0, 1, sse.EncPackageSize, sse.EncPackageSize + 1, 2 * sse.EncPackageSize} {
			r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
				c.CutBody(at)
				return nil
			})
			_, got, err := r.read(t, of(vaulttest.Name("k"), sse.ModeS3))
			if !errors.Is(err, storage.ErrUnreachable) || !bytes.HasPrefix(data, got) {
				t.Errorf("cut at %d: %d bytes and %v", at, len(got), err)
			}
			if at < sse.EncPackageSize && len(got) > 0 {
				t.Errorf("cut at %d: %d bytes come of a package that is not whole", at, len(got))
			}
		}
	}
}

func TestFailureOfEitherRequestIsTold(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	data := vaulttest.Data(sum(sizesOfParts), 27)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, data, sizesOfParts...)
	g := of(vaulttest.Name("k"), sse.ModeS3)
	g.Range = from(2 * pkg)
	for n := 1; n <= 2; n++ {
		seen := 0
		r.Watch(vaulttest.Bucket, func(c *memory.Call) error {
			if c.Step != memory.Arrived {
				return nil
			}
			if seen++; seen == n {
				return storage.ErrUnreachable
			}
			return nil
		})
		r.wantError(t, fmt.Sprintf("request %d", n), g, storage.ErrUnreachable)
	}
	r.Watch(vaulttest.Bucket, nil)
	r.wantRead(t, "afterwards", g, data[2*pkg:])
}

func TestManifestThatIsGoneIsAnError(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	s := r.seal(t, vaulttest.Name("k"), sse.ModeKMS, vaulttest.Data(100, 28), 60, 40)
	r.store(t, vaulttest.Name("k"), s.record, s.data)
	for _, head := range []bool{false, true} {
		g := of(vaulttest.Name("k"), sse.ModeKMS)
		g.Head = head
		r.wantError(t, "without a manifest", g, manifest.ErrMissing)
	}
}

func TestCustomerKeysThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	wrong := sse.Secret{9}
	with := func(g vault.Get, key *sse.Secret) vault.Get {
		g.Customer = key
		return g
	}
	for _, layout := range [][]int{nil, {40, 60}} {
		for _, mode := range modes {
			r.put(t, vaulttest.Name(mode.String()), mode, vaulttest.Data(100, 29), layout...)
		}
		secret := of(vaulttest.Name(sse.ModeC.String()), sse.ModeC)
		r.wantError(t, "a wrong key", with(secret, &wrong), sse.ErrWrongKey)
		r.wantError(t, "no key", with(secret, nil), keyring.ErrNoCustomerKey)
		for _, mode := range modes[:2] {
			g := with(of(vaulttest.Name(mode.String()), mode), &wrong)
			r.wantError(t, "a key for "+mode.String(), g, keyring.ErrNoCustomerKey)
		}
	}
}

func TestNobodyReadsWithoutRights(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	for _, mode := range modes {
		for _, layout := range [][]int{nil, {40, 60}} {
			r.put(t, vaulttest.Name("k"), mode, vaulttest.Data(100, 30), layout...)
			for _, head := range []bool{false, true} {
				g := of(vaulttest.Name("k"), mode)
				g.Head = head
				if _, err := r.Open(t.Context(), vaulttest.Caller(""), &g); !errors.Is(err, keyring.ErrAccess) {
					t.Errorf("without a signature, %v: %v", mode, err)
				}
			}
		}
	}
	r.Storage.SetRights(func(c *memory.Call) error {
		if c.Name.Bucket != vaulttest.Bucket {
			return nil
		}
		if c.Own {
			t.Errorf("%s is asked under the proxy's own credential for a caller without rights", c.Op)
		}
		return memory.Forbidden()
	})
	r.KMS.(interface{ Close() }).Close() // nobody is to ask it
	g := of(vaulttest.Name("k"), sse.ModeKMS)
	for range 2 {
		r.wantError(t, "whom the storage refuses", g, storage.ErrForbidden)
		g.Range = from(50)
	}
	if _, err := r.Attributes(t.Context(), vaulttest.Caller("somebody"), g.Read); !errors.Is(err, storage.ErrForbidden) {
		t.Errorf("attributes: %v", err)
	}
}

func TestRemovedKMSKeyOpensNothing(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	r.put(t, vaulttest.Name("k"), sse.ModeKMS, vaulttest.Data(100, 31))
	if err := r.KMS.DeleteKey(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	r.wantError(t, "without its key", of(vaulttest.Name("k"), sse.ModeKMS), kms.ErrKeyNotFound)
}

func TestErrorsOfReadingStay(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	data := vaulttest.Data(3*pkg, 32)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, data)
	if err := r.Storage.Flip(vaulttest.Name("k"), sse.EncPackageSize+100); err != nil {
		t.Fatal(err)
	}
	o, err := r.open(t, of(vaulttest.Name("k"), sse.ModeS3))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := o.First(make([]byte, pkg)); n != pkg || err != nil {
		t.Fatalf("the first package: %d, %v", n, err)
	}
	for range 3 {
		if got, err := io.ReadAll(o); len(got) != 0 || !errors.Is(err, sse.ErrTampered) {
			t.Errorf("%d bytes and %v", len(got), err)
		}
	}
}

func TestSmallObjectIsVerifiedWholeBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, vaulttest.Data(2*pkg, 33))
	if err := r.Storage.Flip(vaulttest.Name("k"), 2*sse.EncPackageSize-1); err != nil {
		t.Fatal(err)
	}
	o, err := r.open(t, of(vaulttest.Name("k"), sse.ModeS3))
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Begin(); !errors.Is(err, sse.ErrTampered) {
		t.Errorf("its second package is changed: %v", err)
	}
	var all bytes.Buffer
	if _, err := o.WriteTo(&all); !errors.Is(err, sse.ErrTampered) || all.Len() > 0 {
		t.Errorf("%d bytes and %v", all.Len(), err)
	}
}

// goneClient takes one write and fails at the next.
type goneClient struct{ writes int }

var errGone = errors.New("gone")

func (g *goneClient) Write(p []byte) (int, error) {
	if g.writes++; g.writes > 1 {
		return 0, errGone
	}
	return len(p), nil
}

func TestClientThatWentAwayIsNoErrorOfTheObject(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	r.put(t, vaulttest.Name("k"), sse.ModeS3, vaulttest.Data(3*pkg, 34))
	o, err := r.open(t, of(vaulttest.Name("k"), sse.ModeS3))
	if err != nil {
		t.Fatal(err)
	}
	if n, err := o.WriteTo(new(goneClient)); n < pkg || n%pkg != 0 || err != errGone { //nolint:errorlint // as it is
		t.Errorf("%d bytes and %v", n, err)
	}
}
