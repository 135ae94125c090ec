package vault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/conditions"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// states are what one object was, one after the other.
type states struct {
	*writeKit
	known map[string]string // what clients call it, by what the storage calls it
}

// check fails if the storage gives the object the ETag of an earlier state that clients know by
// another one: a write's If-Match, which the storage judges, would hold for both.
func (s *states) check(what, key string, mode sse.Mode) {
	s.Helper()
	stored, err := s.at.Storage.Raw(vaulttest.Name(key), "")
	if err != nil {
		s.Fatal(err)
	}
	r, err := s.e.Open(s.Context(), s.c, &vault.Get{Read: reading(key, mode)})
	if err != nil {
		s.Errorf("%s: %v", what, err)
		return
	}
	_ = r.Close()
	if before, ok := s.known[stored.ETag]; ok && before != r.ETag {
		s.Errorf("%s: the storage's ETag %s is %s at clients, and was %s", what, stored.ETag, r.ETag, before)
	}
	s.known[stored.ETag] = r.ETag
}

func (s *states) onto(key string, from, to sse.Mode) {
	s.Helper()
	what := fmt.Sprintf("%v onto itself as %v", from, to)
	if _, err := s.copy(reading(key, from), key, to, func(c *vault.Copy) { c.Changes = true }); err != nil {
		s.Errorf("%s: %v", what, err)
		return
	}
	s.check(what, key, to)
}

// An object that the storage knows by one ETag, its clients know by one.
func TestOneStoredETagIsOneETag(t *testing.T) {
	t.Parallel()
	k, opaque := newOpaqueKit(t)
	md5, modes := k.e, []sse.Mode{sse.ModeS3, sse.ModeKMS, sse.ModeC}
	for _, size := range []int{0, 10, smallWrite + 1} {
		for name, engine := range map[string]*vaulttest.Engine{"md5": md5, "opaque": opaque} {
			key := fmt.Sprintf("%s/%d", name, size)
			s := &states{writeKit: k, known: make(map[string]string)}
			k.e = engine
			for _, from := range modes {
				for _, to := range modes {
					for range 2 {
						k.mustPut(key, someBytes(t, size), from)
						s.check(fmt.Sprintf("%v written", from), key, from)
						s.onto(key, from, to)
						s.onto(key, to, from)
						s.onto(key, from, from)
						u := newUploader(t, k.at, key)
						u.engine, u.asked = engine, asked(from)
						u.put(someBytes(t, size))
						s.check(fmt.Sprintf("%v uploaded", from), key, from)
						s.onto(key, from, to)
						s.onto(key, to, to)
						k.e = md5 // the setting is switched meanwhile
						s.onto(key, to, to)
						k.e = engine
					}
				}
			}
		}
	}
}

// A copy that comes between keeps the bytes; clients know the object by another ETag all the same.
func TestAConditionOnAnObjectThatIsCopiedOntoItselfMeanwhile(t *testing.T) {
	t.Parallel()
	for _, from := range []sse.Mode{sse.ModeS3, sse.ModeKMS} {
		to := sse.ModeS3 + sse.ModeKMS - from
		k := newWriteKit(t)
		seen := k.mustPut("k", []byte("then"), from)
		gate := memory.NewGate(func(c *memory.Call) bool {
			put, ok := c.Request.(*storage.Put)
			return ok && c.Step == memory.Arrived && put.Conditions.IfMatch != ""
		})
		k.at.Storage.SetFaults(gate.Hook)
		written := make(chan error, 1)
		go func() {
			_, err := k.put("k", []byte("now"), from, func(p *vault.Put) { p.Conditions = conditions.Write{IfMatch: seen.ETag} })
			written <- err
		}()
		held := gate.Next()
		copied, err := k.copy(reading("k", from), "k", to, func(c *vault.Copy) { c.Changes = true })
		if err != nil || copied.ETag == seen.ETag {
			t.Errorf("%v to %v: %v, %v", from, to, copied, err)
		}
		held.Release(nil)
		if err := <-written; !errors.Is(err, conditions.ErrPrecondition) {
			t.Errorf("%v to %v: a write on a condition that holds no more: %v", from, to, err)
		}
		k.at.Storage.SetFaults(nil)
		k.wantData("k", to, []byte("then"))
	}
}
