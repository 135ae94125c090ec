package workload

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/history"
)

// keyStore is a store that is asked for KMS keys and for objects under them. One that forgets nothing goes on
// opening what was sealed under a key that is gone.
type keyStore struct {
	forgets bool
	mu      sync.Mutex
	keys    map[string]bool
	objects map[string]http.Header
}

func (s *keyStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/minio/kms/") {
		s.keys[r.URL.Query().Get("key-id")] = true
		return
	}
	h := s.objects[r.URL.Path]
	if r.Method == http.MethodPut {
		h = r.Header.Clone()
	}
	gone := s.forgets && !s.keys[h.Get(kmsHeader)]
	switch {
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
	case h == nil || gone:
		w.WriteHeader(http.StatusGone)
	case r.Method == http.MethodPut:
		s.objects[r.URL.Path] = h
	}
	for _, name := range []string{writeHeader, sseHeader, kmsHeader} {
		w.Header().Set(name, h.Get(name))
	}
}

func (s *keyStore) end(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.keys[name] {
		return errors.New("no such key")
	}
	delete(s.keys, name)
	return nil
}

// live lets one client make, use and delete keys for a while.
func live(t *testing.T, s *keyStore) *history.History {
	t.Helper()
	s.keys, s.objects = map[string]bool{}, map[string]http.Header{}
	at := httptest.NewServer(s)
	defer at.Close()
	r := &runner{
		Config: Config{Keys: []string{"k"}, EndKey: s.end}, book: newBook(), history: history.New(nil), began: time.Now(),
		ways: []*way{newWay(Target{Name: "store", URL: at.URL, AccessKey: "a", SecretKey: "s", Region: "us-east-1"})},
	}
	c := &client{r: r, id: 1, rng: seeded(1, 1)}
	for range 60 {
		c.mortalKey(t.Context())
		for i := range r.mortals { // a second is over
			if m := &r.mortals[i]; !m.ended.IsZero() {
				m.ended = m.ended.Add(-2 * time.Second)
			}
		}
	}
	return r.history
}

func TestKeysAreMadeUsedAndDeleted(t *testing.T) {
	s := &keyStore{forgets: true}
	h := live(t, s)
	counts := h.Counts()
	for _, kind := range []history.Kind{history.CreateKey, history.DeleteKey, history.Delete} {
		if counts[kind][history.OK] == 0 {
			t.Errorf("no %s: %v", kind, counts)
		}
	}
	if counts[history.Put][history.Failed] == 0 || counts[history.Put][history.OK] == 0 {
		t.Errorf("writes before and after a key's end: %v", counts[history.Put])
	}
	if len(s.objects) > mortalKeys*mortalMost {
		t.Errorf("%d objects are left", len(s.objects))
	}
	if survives(h) {
		t.Error("a store that forgets is blamed")
	}
}

func TestAStoreThatForgetsNoKeyIsSeen(t *testing.T) {
	if !survives(live(t, &keyStore{})) {
		t.Error("nobody saw that keys survive")
	}
}

func survives(h *history.History) bool {
	return slices.ContainsFunc(checker.Check(h), func(v checker.Violation) bool { return v.Kind == "key-survives" })
}
