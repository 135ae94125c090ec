package vault_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

type manifestUpload = manifest.Upload

func TestRivalPartsAreDescribedAsKept(t *testing.T) {
	t.Parallel()
	for _, firstWins := range []bool{true, false} {
		i := vaulttest.New(t, memory.Options{})
		u := newUploader(t, i, "k").begin()
		rival := *u
		rival.engine = i.Engine(t)
		gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.PutPart && c.Step == memory.Ready })
		i.Storage.SetFaults(gate.Hook)
		sent, errs := [2]*vault.SentPart{}, make(chan error, 2)
		held := [2]*memory.Held{}
		for n, one := range []*uploader{u, &rival} {
			go func() {
				var err error
				sent[n], err = one.tryPart(1, nil, vaulttest.Data(10, uint64(n+1)))
				errs <- err
			}()
			held[n] = gate.Next()
		}
		last := 1
		if firstWins {
			held[0], held[1], last = held[1], held[0], 0
		}
		for _, h := range held {
			h.Release(nil)
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		i.Storage.SetFaults(nil)
		if listed := u.listed(); len(listed) != 1 || listed[0].ETag != sent[last].ETag {
			t.Errorf("the list says %+v", listed)
		}
		_, err := u.tryComplete(vault.WantedPart{Number: 1, ETag: sent[1-last].ETag})
		wantError(t, "the part that was replaced", err, vault.ErrInvalidPart)
		u.complete(vault.WantedPart{Number: 1, ETag: sent[last].ETag})
		u.wants(vaulttest.Data(10, uint64(last+1)))
	}
}

func TestOfRivalCompletesOneWins(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	lists := [][]vault.WantedPart{{u.part(1, vaulttest.Data(10, 1))}, {u.part(2, vaulttest.Data(20, 2))}}
	gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Complete && c.Step == memory.Ready })
	i.Storage.SetFaults(gate.Hook)
	errs := [2]chan error{make(chan error, 1), make(chan error, 1)}
	var held [2]*memory.Held
	for n, list := range lists {
		rival := *u
		rival.engine = i.Engine(t)
		go func() {
			_, err := rival.tryComplete(list...)
			errs[n] <- err
		}()
		held[n] = gate.Next()
	}
	held[1].Release(nil)
	if err := <-errs[1]; err != nil {
		t.Error(err)
	}
	held[0].Release(nil)
	wantError(t, "the later one", <-errs[0], vault.ErrNoSuchUpload)
	i.Storage.SetFaults(nil)
	u.wants(vaulttest.Data(20, 2))
}

func TestHostileStorageChangesUploadedObjects(t *testing.T) {
	t.Parallel()
	for name, asked := range uploadModes {
		i := vaulttest.New(t, memory.Options{})
		first, second := newUploader(t, i, "first"), newUploader(t, i, "second")
		first.asked.Request, second.asked.Request = asked, asked
		before, data := vaulttest.Data(1000, 1), vaulttest.Data(1000, 2)
		first.put(before)
		first.put(data)
		second.put(vaulttest.Data(1000, 3))
		damaged := func(what string) {
			t.Helper()
			got, err := first.read()
			for _, want := range []error{sse.ErrTampered, manifest.ErrMissing, sse.ErrWrongKey, kms.ErrDecrypt} {
				if errors.Is(err, want) {
					return
				}
			}
			t.Errorf("%s: %s reads as %d bytes, %v", name, what, len(got), err)
		}
		do := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, offset := range []int{0, 20, 500, 1000 + sse.HeaderSize} {
			do(i.Storage.Flip(first.name, offset))
			damaged("flipped")
			do(i.Storage.Flip(first.name, offset))
		}
		do(i.Storage.Swap(first.name, second.name))
		damaged("swapped")
		do(i.Storage.Swap(first.name, second.name))
		other, err := i.Storage.Raw(second.name, "")
		do(err)
		own, err := i.Storage.Raw(first.name, "")
		do(err)
		do(i.Storage.Alter(first.name, "", func(o *memory.Stored) { *o = other }))
		damaged("another object with its record")
		do(i.Storage.Alter(first.name, "", func(o *memory.Stored) { *o = own }))
		first.wants(data)
		do(i.Storage.RollBack(first.name, 1))
		first.wants(before) // S3 does not tell
		do(i.Storage.Hide(first.name, true))
		_, err = first.read()
		wantError(t, name+": hidden", err, storage.ErrNotFound)
	}
}

func TestHostileStorageHidesAManifest(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k")
	var name sse.Name
	i.Storage.SetFaults(at(memory.Put, memory.Done, func(c *memory.Call) error {
		if strings.HasPrefix(c.Name.Key, "late/") {
			name = c.Name
		}
		return nil
	}))
	u.put(vaulttest.Data(10, 1))
	if name.Key == "" {
		t.Fatal("no manifest was written")
	}
	if err := i.Storage.Hide(name, true); err != nil {
		t.Fatal(err)
	}
	u.engine = i.Engine(t) // which has read nothing yet
	if got, err := u.read(); !errors.Is(err, manifest.ErrMissing) {
		t.Errorf("reads as %d bytes, %v", len(got), err)
	}
}

func TestHostileStorageListsPartsWithoutEnd(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	part := u.part(1, vaulttest.Data(10, 1))
	for what, change := range map[string]func(*storage.PartPage){
		"the same part again": func(p *storage.PartPage) { p.IsTruncated = true },
		"a part beyond all":   func(p *storage.PartPage) { p.Parts[0].PartNumber = sse.MaxParts + 1 },
		"a part that is none": func(p *storage.PartPage) { p.Parts[0].PartNumber = 0 },
	} {
		var first *storage.PartPage
		i.Storage.SetFaults(at(memory.ListParts, memory.Done, func(c *memory.Call) error {
			page := c.Answer.(*storage.PartPage)
			if len(page.Parts) == 0 {
				*page = *first
			}
			change(page)
			first = page
			return nil
		}))
		_, err := u.tryComplete(part)
		wantError(t, what, err, storage.ErrLied)
	}
	i.Storage.SetFaults(at(memory.ListParts, memory.Done, func(c *memory.Call) error {
		c.Answer.(*storage.PartPage).Parts[0].ETag = strings.Repeat("0", 32)
		return nil
	}))
	if listed := u.listed(); len(listed) != 0 {
		t.Errorf("a part that nobody sent is listed: %+v", listed)
	}
	_, err := u.tryComplete(part)
	wantError(t, "a part that nobody sent", err, vault.ErrInvalidPart)
}

func TestHostileStorageCompletesOtherwise(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	part := u.part(1, vaulttest.Data(10, 1))
	i.Storage.SetFaults(at(memory.Complete, memory.Done, func(c *memory.Call) error {
		c.Answer.(*storage.Stored).ETag = `"0-1"`
		return nil
	}))
	_, err := u.tryComplete(part)
	wantError(t, "another ETag", err, storage.ErrLied)
}

func TestPartsAreCopiedFromObjects(t *testing.T) {
	t.Parallel()
	data := vaulttest.Data(3*sse.PackageSize, 1)
	for name, asked := range uploadModes {
		i := vaulttest.New(t, memory.Options{})
		source := newUploader(t, i, "source")
		source.asked.Request = asked
		done := source.put(data)
		u := newUploader(t, i, "k").begin()
		piece := func(change func(*vault.PartCopy)) (*vault.CopiedPart, error) {
			p := &vault.PartCopy{
				PartTarget: vault.PartTarget{Upload: u.upload(), Number: 1},
				Source:     vault.Read{Name: source.name, Customer: source.customer(), Checksum: true},
			}
			if change != nil {
				change(p)
			}
			return u.engine.PartCopy(t.Context(), u.caller, p)
		}
		fault := errors.New("the range is none")
		var range1 *vault.SourceRangeError
		for what, tt := range map[string]struct {
			change func(*vault.PartCopy)
			want   error
		}{
			"no such range":     {func(p *vault.PartCopy) { p.RangeFault = fault }, fault},
			"If-Match":          {func(p *vault.PartCopy) { p.Source.Conditions.IfMatch = `"x"` }, conditions.ErrPrecondition},
			"If-None-Match":     {func(p *vault.PartCopy) { p.Source.Conditions.IfNoneMatch = done.ETag }, conditions.ErrPrecondition},
			"no object":         {func(p *vault.PartCopy) { p.Source.Name.Key = "none" }, storage.ErrNotFound},
			"no condition wins": {func(p *vault.PartCopy) { p.RangeFault, p.Source.Conditions.IfMatch = fault, `"x"` }, conditions.ErrPrecondition},
		} {
			_, err := piece(tt.change)
			wantError(t, name+": "+what, err, tt.want)
		}
		if _, err := piece(func(p *vault.PartCopy) { p.Range = &plaintext.Range{Last: int64(len(data)), Suffix: -1} }); !errors.As(err, &range1) || range1.Size != int64(len(data)) {
			t.Errorf("%s: beyond the end: %v", name, err)
		}
		if len(u.listed()) != 0 {
			t.Errorf("%s: a part was stored", name)
		}
		first, last := int64(sse.PackageSize-1), int64(2*sse.PackageSize)
		long := 0
		copied, err := piece(func(p *vault.PartCopy) {
			p.Range = &plaintext.Range{First: first, Last: last, Suffix: -1}
			p.Long = func(do func() error) error { long++; return do() }
		})
		if err != nil || long != 1 {
			t.Fatalf("%s: %v, long %d times", name, err, long)
		}
		u.complete(vault.WantedPart{Number: 1, ETag: copied.ETag})
		u.wants(data[first : last+1])
	}
}

// TestPartIsCopiedFromAnObjectThatChanges overwrites the source between the look-up and
// the read: the part is of one of both.
func TestPartIsCopiedFromAnObjectThatChanges(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	source, u := newUploader(t, i, "source"), newUploader(t, i, "k").begin()
	source.put(vaulttest.Data(100, 1))
	overwrite := once(func(*memory.Call) error {
		source.put(vaulttest.Data(200, 2))
		return nil
	})
	i.Storage.SetFaults(at(memory.Get, memory.Arrived, func(c *memory.Call) error {
		if c.Name != source.name { // what the engine keeps for itself
			return nil
		}
		return overwrite(c)
	}))
	copied, err := u.engine.PartCopy(t.Context(), u.caller, &vault.PartCopy{
		PartTarget: vault.PartTarget{Upload: u.upload(), Number: 1}, Source: vault.Read{Name: source.name},
	})
	if err != nil {
		t.Fatal(err)
	}
	u.complete(vault.WantedPart{Number: 1, ETag: copied.ETag})
	u.wants(vaulttest.Data(200, 2))
}

func TestPartsAreNotCopiedFromPlainObjectsUnasked(t *testing.T) {
	t.Parallel()
	i := vaulttest.New(t, memory.Options{})
	u := newUploader(t, i, "k").begin()
	plain := sse.Name{Bucket: vaulttest.Bucket, Key: "plain"}
	if _, err := i.Storage.Own(storage.Actor{}).Put(t.Context(), &storage.Put{Name: plain, Body: storage.Body{Reader: bytes.NewReader([]byte("x")), Length: 1}}); err != nil {
		t.Fatal(err)
	}
	_, err := u.engine.PartCopy(t.Context(), u.caller, &vault.PartCopy{
		PartTarget: vault.PartTarget{Upload: u.upload(), Number: 1}, Source: vault.Read{Name: plain},
	})
	wantError(t, "a plain object", err, vault.ErrPlainObject)
}
