package vault_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// openings counts how often a DEK is opened.
type openings struct {
	kms.Service
	n atomic.Int64
}

func (o *openings) DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error) {
	o.n.Add(1)
	return o.Service.DecryptDEK(ctx, name, ciphertext, encContext)
}

// manyUploads are noted in the ledger of an engine, with these keys; nothing else knows them.
func manyUploads(t *testing.T, keys []string) (*vaulttest.Installation, *vaulttest.Engine, *openings) {
	t.Helper()
	i := vaulttest.New(t, memory.Options{})
	counted := &openings{Service: i.KMS}
	i.KMS = counted
	e := i.Engine(t)
	began := time.Now().UTC()
	for n, key := range keys {
		u := &manifest.Upload{
			Bucket: vaulttest.Bucket, Key: key, ID: fmt.Sprintf("id-%d", n), Manifest: sse.NewManifestID(), Initiator: "app",
			Initiated: began.Add(-time.Duration(n) * time.Second),
		}
		if err := e.Ledger.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	return i, e, counted
}

// aliveUnless makes the storage have all uploads but those of some keys.
func aliveUnless(i *vaulttest.Installation, dead func(key string) bool) (asked *atomic.Int64) {
	asked = new(atomic.Int64)
	i.Storage.SetFaults(at(memory.ListParts, memory.Arrived, func(c *memory.Call) error {
		asked.Add(1)
		if dead(c.Name.Key) {
			return &storage.Error{Status: 404, Code: "NoSuchUpload"}
		}
		return &storage.Error{Status: 400, Code: "InvalidArgument"} // the ledger's word counts
	}))
	return asked
}

func TestAPageOfUploadsReadsNoOthers(t *testing.T) {
	t.Parallel()
	var keys []string
	for n := range 300 {
		keys = append(keys, fmt.Sprintf("%03d", n), fmt.Sprintf("dir/%03d", n))
	}
	i, e, opened := manyUploads(t, keys)
	aliveUnless(i, func(string) bool { return false })
	list := func(asked vault.ListUploads) *vault.UploadsPage {
		t.Helper()
		opened.n.Store(0)
		asked.Bucket = vaulttest.Bucket
		page, err := e.Uploads(t.Context(), vaulttest.Caller("app"), &asked)
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	page := list(vault.ListUploads{Max: 10})
	if len(page.Uploads) != 10 || !page.Truncated || opened.n.Load() > 12 {
		t.Errorf("%d uploads, of %d notes", len(page.Uploads), opened.n.Load())
	}
	page = list(vault.ListUploads{Max: 10, KeyMarker: "250", IDMarker: "none.of-ours"})
	if len(page.Uploads) != 10 || page.Uploads[0].Key != "250" || opened.n.Load() > 13 {
		t.Errorf("behind a marker %d uploads, of %d notes", len(page.Uploads), opened.n.Load())
	}
	page = list(vault.ListUploads{Max: 10, KeyMarker: "250"})
	if len(page.Uploads) != 10 || page.Uploads[0].Key != "251" || opened.n.Load() > 12 {
		t.Errorf("behind a key %d uploads, of %d notes", len(page.Uploads), opened.n.Load())
	}
	page = list(vault.ListUploads{Max: 10, KeyMarker: "dir/", Delimiter: "/"})
	if len(page.Uploads) != 0 || len(page.Prefixes) != 0 || page.Truncated || opened.n.Load() > 1 {
		t.Errorf("behind a folder %+v, of %d notes", page, opened.n.Load())
	}
	page = list(vault.ListUploads{Max: 10, Delimiter: "/", KeyMarker: "298"})
	if len(page.Uploads) != 1 || !slices.Equal(page.Prefixes, []string{"dir/"}) || page.Truncated || opened.n.Load() > 100 {
		t.Errorf("with a folder %+v, of %d notes", page, opened.n.Load())
	}
}

// Uploads of one key are in the order of their creation, whatever their ids; a page goes on
// behind a marker's, or from the beginning of the key if that has ended.
func TestUploadsOfOneKeyInPages(t *testing.T) {
	t.Parallel()
	i, e, _ := manyUploads(t, slices.Repeat([]string{"k"}, 30))
	aliveUnless(i, func(string) bool { return false })
	asked := vault.ListUploads{Bucket: vaulttest.Bucket, Max: 7}
	var ids []string
	for range 10 {
		page, err := e.Uploads(t.Context(), vaulttest.Caller("app"), &asked)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Uploads {
			ids = append(ids, u.ID[:strings.IndexByte(u.ID, '.')])
		}
		if asked.KeyMarker, asked.IDMarker = page.NextKey, page.NextID; !page.Truncated {
			break
		}
	}
	var want []string
	for n := range 30 {
		want = append(want, fmt.Sprintf("id-%d", 29-n))
	}
	if !slices.Equal(ids, want) {
		t.Errorf("%q", ids)
	}
	if err := e.Ledger.Drop(t.Context(), vaulttest.Name("k"), "id-20"); err != nil {
		t.Fatal(err)
	}
	asked.KeyMarker, asked.IDMarker = "k", "id-20.AAAAAAAAAAAAAAAAAAAAAAA"
	page, err := i.Engine(t).Uploads(t.Context(), vaulttest.Caller("app"), &asked)
	if err != nil || len(page.Uploads) != 7 || !strings.HasPrefix(page.Uploads[0].ID, "id-29.") {
		t.Errorf("%+v, %v", page, err)
	}
}

// Uploads that have ended cost a look each, and the page ends behind them.
func TestAPageOfUploadsPassesThoseThatEnded(t *testing.T) {
	t.Parallel()
	var keys []string
	for n := range 200 {
		keys = append(keys, fmt.Sprintf("dead/%03d", n))
	}
	i, e, _ := manyUploads(t, append(keys, "a", "dead/zz", "z"))
	looks := aliveUnless(i, func(key string) bool { return strings.HasPrefix(key, "dead/") && key != "dead/zz" })
	page, err := e.Uploads(t.Context(), vaulttest.Caller("app"), &vault.ListUploads{Bucket: vaulttest.Bucket, Max: 2, Delimiter: "/"})
	if err != nil || len(page.Uploads) != 1 || !slices.Equal(page.Prefixes, []string{"dead/"}) || !page.Truncated || page.NextKey != "dead/" {
		t.Errorf("%+v, %v", page, err)
	}
	if n := looks.Load(); n > 203+16 {
		t.Errorf("%d looks", n)
	}
}
