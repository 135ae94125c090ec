package identity

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

func TestIndexPutBackIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	running := w.store(t)
	learn(t, running, user("alice"))
	old, oldETag := bytes.Clone(w.objects[indexName]), w.etags[indexName]
	if err := running.Forget(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	learn(t, running, user("bob"))

	for name, tamper := range map[string]func(){
		"an older index": func() { w.objects[indexName], w.etags[indexName] = old, oldETag },
		"none":           func() { delete(w.objects, indexName) },
		"an altered one": func() { w.objects[indexName][len(w.objects[indexName])-1]++; w.etags[indexName] = "altered" },
	} {
		data, etag := bytes.Clone(w.objects[indexName]), w.etags[indexName]
		w.set(tamper)
		w.pass(trust)
		for _, key := range []string{"alice", "bob", "nobody"} {
			if _, err := running.Lookup(t.Context(), key); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, %s: %v", name, key, err)
			}
		}
		if err := running.Learn(t.Context(), user("carol")); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s, learn: %v", name, err)
		}
		w.set(func() { w.objects[indexName], w.etags[indexName] = data, etag })
		w.pass(failurePause)
		if _, err := running.Lookup(t.Context(), "bob"); err != nil {
			t.Errorf("%s, once it is right again: %v", name, err)
		}
	}
}

func TestNoteOfAnEndedSessionPutBackCountsNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.store(t), w.store(t)
	learn(t, one, w.session("SESSION"))
	name := sessionName("SESSION")
	note := w.notes[name]
	if err := one.Forget(t.Context(), "SESSION"); err != nil {
		t.Fatal(err)
	}
	w.set(func() { w.notes[name] = note })
	w.pass(trust)
	for _, s := range []*Store{one, two, w.store(t)} {
		if _, err := s.Lookup(t.Context(), "SESSION"); !errors.Is(err, ErrUnknown) {
			t.Errorf("a removed session whose note was put back: %v", err)
		}
	}
	w.pass(time.Hour + 2*revokedGrace)
	learn(t, one, w.session("OTHER"))
	if err := one.Forget(t.Context(), "OTHER"); err != nil {
		t.Fatal(err)
	}
	if known, err := one.index.Fresh(t.Context()); err != nil || len(known.revoked) != 1 {
		t.Errorf("remembered are %v, %v", known.revoked, err)
	}
	if err := one.Forget(t.Context(), "nobody"); err != nil {
		t.Errorf("forget nobody: %v", err)
	}
}

func TestTwoIndexesOfOneGeneration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.store(t)
	learn(t, one, user("alice"))
	w.set(func() { delete(w.objects, indexName); delete(w.etags, indexName) })
	learn(t, w.store(t), user("bob")) // of a proxy that was started while the index was withheld
	w.pass(trust)
	if _, err := one.Lookup(t.Context(), "bob"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a second index of generation 1: %v", err)
	}
}

func TestChangesOfManyProxiesAtOnceAreAllKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stores := []*Store{w.store(t), w.store(t), w.store(t)}
	var wg sync.WaitGroup
	for n, s := range stores {
		wg.Go(func() {
			for i := range 5 {
				if err := s.Learn(t.Context(), user(fmt.Sprintf("user-%d-%d", n, i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all, err := w.store(t).List(t.Context())
	if err != nil || len(all) != 15 {
		t.Errorf("%d identities, %v", len(all), err)
	}
}

func TestChangeWhoseAnswerIsLostCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	w.failStored = storage.ErrUnreachable
	learn(t, s, user("alice"))
	w.failStored = storage.ErrUnreachable
	if err := s.Forget(t.Context(), "alice"); err != nil {
		t.Error(err)
	}
	if _, err := s.Lookup(t.Context(), "alice"); !errors.Is(err, ErrUnknown) {
		t.Errorf("forgotten: %v", err)
	}
	if w.writes != 2 {
		t.Errorf("%d writes", w.writes)
	}
}

// lossy loses the first write to the index: before it is stored, or after that, when somebody has changed it again.
type lossy struct {
	Objects
	stored bool
	then   func()
	writes int
}

func (l *lossy) Put(ctx context.Context, kind, name string, data []byte, etag string) (newETag string, err error) {
	if l.writes++; l.writes > 1 {
		return l.Objects.Put(ctx, kind, name, data, etag)
	}
	if l.stored {
		if _, err := l.Objects.Put(ctx, kind, name, data, etag); err != nil {
			return "", err
		}
		l.then()
	}
	return "", storage.ErrUnreachable
}

func TestChangeWhoseAnswerIsLostIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]bool{"not stored": false, "stored, and undone by another proxy": true} {
		w := newWorld(t)
		other, l := w.store(t), &lossy{stored: stored}
		s := w.store(t, func(o *Options) { l.Objects, o.Objects = o.Objects, l })
		l.then = func() {
			if err := other.Forget(t.Context(), "alice"); err != nil {
				t.Error(err)
			}
		}
		if err := s.Learn(t.Context(), user("alice")); !errors.Is(err, ErrUnavailable) || !errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
		if l.writes != 1 {
			t.Errorf("%s: %d writes", name, l.writes)
		}
		for _, s := range []*Store{s, other} {
			if _, err := s.Lookup(t.Context(), "alice"); !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: %v", name, err)
			}
		}
		learn(t, s, user("alice"))
	}
}

// Who was removed at MinIO is forgotten, though the client does not wait to hear it.
func TestClientThatGoesAwayEndsNoChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	learn(t, s, user("alice"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := s.index.change(ctx, func(x *index) (*index, error) {
		cancel()
		return x.with("alice", nil), nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := w.store(t).Lookup(t.Context(), "alice"); !errors.Is(err, ErrUnknown) {
		t.Errorf("forgotten: %v", err)
	}
}

func TestNothingIsTrustedWhenAClockWasSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	learn(t, s, user("alice"))
	learn(t, s, w.session("SESSION"))
	lookups := func() int {
		before := w.asked()
		for range 10 {
			for _, key := range []string{"alice", "SESSION", "nobody"} {
				if _, err := s.Lookup(t.Context(), key); err != nil && key != "nobody" {
					t.Fatal(err)
				}
			}
		}
		return w.asked() - before
	}
	lookups()
	if n := lookups(); n != 0 {
		t.Errorf("%d requests for what is known", n)
	}
	w.pass(-time.Nanosecond)
	if n := lookups(); n != 3 { // index, session, stranger
		t.Errorf("%d requests after a clock was set back", n)
	}
}

func TestIndexHasOneEncoding(t *testing.T) {
	t.Parallel()
	x := (&index{}).with("alice", &Identity{
		AccessKey: "alice", SecretKey: "alice-secret", Kind: User, Creator: "root", Parent: "p", serial: "s",
		creators: []creator{{AccessKey: "root", Kind: Configured}}, Expires: time.Unix(1_900_000_000, 0).UTC(),
	})
	x = x.revoke("SESSION", time.Unix(1_900_000_000, 0), time.Unix(1_800_000_000, 0))
	data, err := x.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeIndex(data)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.identities["alice"]; !got.same(x.identities["alice"]) || got.Creator != "root" || got.SecretKey != "alice-secret" || again.revoked["SESSION"] != 1_900_000_000 {
		t.Errorf("comes back as %v", got)
	}
	for _, bad := range []string{
		"", "{}", "null", string(data) + " ", " " + string(data),
		`{"version":1,"generation":0,"identities":[]}`,
		`{"version":2,"generation":1,"identities":[]}`,
		`{"version":1,"generation":1,"identities":null}`,
		`{"version":1,"generation":1,"identities":[],"more":1}`,
		`{"version":1,"generation":1,"identities":[{"accessKey":"abc","secretKey":"12345678","kind":"configured","serial":"s"}]}`,
		`{"version":1,"generation":1,"identities":[{"accessKey":"abc","secretKey":"12345678","kind":"user","serial":""}]}`,
	} {
		if _, err := decodeIndex([]byte(bad)); !errors.Is(err, errIndex) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add([]byte(`{"version":1,"generation":1,"identities":[{"accessKey":"abc","secretKey":"12345678","kind":"user","serial":"s"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := decodeIndex(data)
		if err != nil {
			return
		}
		if again, err := x.encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%q is encoded as %q, %v", data, again, err)
		}
	})
}

func FuzzDecodeSession(f *testing.F) {
	f.Add([]byte(`{"accessKey":"abc","secretKey":"12345678","sessionToken":"t","kind":"temporary","source":"ldap","expires":1900000000,"serial":"s"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, err := decodeSession(data)
		if err != nil {
			return
		}
		if id.Kind != Temporary || id.Expires.IsZero() || id.SessionToken == "" || id.CheckToken("") == nil {
			t.Errorf("%q is taken for a session", data)
		}
	})
}
