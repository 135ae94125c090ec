package maintenance_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/maintenance"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// While a page is sealed the storage lists the next one.
func TestRewrapListsAPageAhead(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	const n = 1100
	for i := range n {
		s.PutStream(t, fmt.Sprintf("%04d", i), sse.ModeKMS, []byte("data"), false)
	}
	var pages atomic.Int32
	second, late := make(chan struct{}), time.After(20*time.Second)
	var waited sync.Once
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		switch {
		case c.Step != memory.Arrived:
		case c.Op == memory.List && c.Name.Bucket == vaulttest.Bucket && pages.Add(1) == 2:
			close(second)
		case c.Op == memory.Put && strings.HasPrefix(c.Name.Key, "wrap/"):
			waited.Do(func() {
				select {
				case <-second:
				case <-late:
					t.Error("the second page is not listed before the first one is sealed")
				}
			})
		}
		return nil
	})
	last := maintenance.RewrapTotal{}
	total, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other", Progress: func(sofar maintenance.RewrapTotal) {
		if sofar.Done < last.Done || sofar.Seen < last.Seen {
			t.Errorf("%+v after %+v", sofar, last)
		}
		last = sofar
	}})
	if total.Done != n || total.Seen != n || total.Failed != 0 || last != total {
		t.Errorf("%+v, and at last %+v", total, last)
	}
}

// What fails while pages are listed ahead ends the re-wrap, and what was listed until then is
// sealed.
func TestRewrapSealsWhatWasListed(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	for i := range 1100 {
		s.PutStream(t, fmt.Sprintf("%04d", i), sse.ModeKMS, []byte("data"), false)
	}
	var pages atomic.Int32
	s.Storage.SetFaults(func(_ context.Context, c *memory.Call) error {
		if c.Step == memory.Arrived && c.Op == memory.List && c.Name.Bucket == vaulttest.Bucket && pages.Add(1) == 2 {
			return storage.ErrUnreachable
		}
		return nil
	})
	total, err := s.Rewrap(t.Context(), &maintenance.Rewrap{Key: "default", To: "other", Report: func(r maintenance.Rewrapped) {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}})
	if err == nil || total.Done != 1000 || total.Failed != 0 {
		t.Errorf("%+v, %v", total, err)
	}
}

// A client has an object encrypted otherwise after a re-wrap read that it has no wrap: what was
// read is out of date, and nothing is wrong.
func TestRewrapOfWhatIsRekeyedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	o := s.PutStream(t, "a", sse.ModeKMS, []byte("data"), false)
	client := s.Installation.Engine(t)
	var begun atomic.Bool
	s.Storage.SetFaults(func(ctx context.Context, c *memory.Call) error {
		if c.Step != memory.Done || c.Op != memory.List || !strings.HasPrefix(c.Name.Key, "wrap/") || begun.Swap(true) {
			return nil
		}
		alice := vaulttest.Caller("alice")
		err := client.Rekey(ctx, alice, &vault.Rekey{Name: o.Name, Asked: func() (*caller.Caller, encryption.Asked, error) {
			return alice, encryption.Asked{Request: sse.Request{Mode: sse.ModeKMS, KMSKeyID: "other"}}, nil
		}})
		if err != nil {
			t.Error(err)
		}
		return nil
	})
	total, reports := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default"})
	if total.Failed != 0 || total.Done != 0 || total.Seen != 1 {
		t.Errorf("%+v, %+v", total, reports)
	}
	wantRead(t, s.Installation.Engine(t), o, nil)
}

// An upload that ends as soon as the objects were listed, and is none of them, is not forgotten.
func TestRewrapOfAnUploadThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	s := newShelf(t, memory.Options{}, nil)
	begun, err := s.Begin(t.Context(), vaulttest.Caller("alice"), &vault.Begin{Write: vault.Write{
		Name: vaulttest.Name("parts"), Meta: storage.Metadata{}, Asked: encryption.Asked{Request: sse.Request{Mode: sse.ModeKMS}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Storage.SetFaults(func(ctx context.Context, c *memory.Call) error {
		if c.Step == memory.Done && c.Op == memory.List && c.Name.Bucket == vaulttest.Bucket {
			return s.Ledger.Drop(ctx, vaulttest.Name("parts"), begun.ID)
		}
		return nil
	})
	if total, _ := rewrapped(t, s.Engine, maintenance.Rewrap{Key: "default", To: "other"}); total.Done != 1 || total.Failed != 0 {
		t.Errorf("%+v", total)
	}
}
