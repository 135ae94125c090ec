package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

func TestConfiguredIdentitiesNeedNoUpstream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fail = storage.ErrUnreachable
	s := w.store(t)
	if secret, err := s.Secret(t.Context(), "root"); err != nil || secret != "root-secret" {
		t.Errorf("root: %q, %v", secret, err)
	}
	if n := w.asked(); n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
	_, err := s.Secret(t.Context(), "other")
	if !errors.Is(err, ErrUnavailable) || errors.Is(err, sigv4.ErrInvalidAccessKeyID) {
		t.Errorf("another, while upstream is away: %v", err)
	}
}

func TestUnknownAccessKey(t *testing.T) {
	t.Parallel()
	s := newWorld(t).store(t)
	for _, key := range []string{"nobody", "", strings.Repeat("x", 1000), "a\nb"} {
		if _, err := s.Secret(t.Context(), key); !errors.Is(err, sigv4.ErrInvalidAccessKeyID) || !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

func TestLearnedIdentitiesReachEveryProxyWithinTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.store(t), w.store(t)
	for _, key := range []string{"alice", "SESSION"} {
		if _, err := two.Lookup(t.Context(), key); !errors.Is(err, ErrUnknown) {
			t.Fatalf("%s, before: %v", key, err)
		}
	}
	learn(t, one, user("alice"))
	learn(t, one, w.session("SESSION"))
	for _, key := range []string{"alice", "SESSION"} {
		if _, err := one.Lookup(t.Context(), key); err != nil {
			t.Errorf("%s, where it was learned: %v", key, err)
		}
	}
	w.pass(trust)
	for key, kind := range map[string]Kind{"alice": User, "SESSION": Temporary} {
		id, err := two.Lookup(t.Context(), key)
		if err != nil || id.SecretKey != key+"-secret" || id.Kind != kind || id.Creator != "root" {
			t.Errorf("%s, elsewhere: %v, %v", key, id, err)
		}
	}
	for _, key := range []string{"alice", "SESSION"} {
		if err := one.Forget(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Lookup(t.Context(), key); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s, where it was forgotten: %v", key, err)
		}
		w.pass(trust)
		if _, err := two.Lookup(t.Context(), key); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s, elsewhere, forgotten: %v", key, err)
		}
	}
}

func TestSecretsAreNeitherStoredNorPrintedReadably(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	learn(t, s, user("alice"))
	learn(t, s, w.session("SESSION"))
	id, err := s.Lookup(t.Context(), "SESSION")
	if err != nil {
		t.Fatal(err)
	}
	marshalled, err := json.Marshal(id)
	if err != nil {
		t.Fatal(err)
	}
	seen := fmt.Sprintf("%v %+v %#v %s %q %x %v %s", id, id, *id, id, id, id, id.LogValue(), marshalled)
	for _, data := range w.objects {
		seen += string(data)
	}
	for value := range maps.Values(w.notes) {
		seen += value
	}
	for _, secret := range []string{"SESSION-secret", "alice-secret", "token-SESSION"} {
		if strings.Contains(seen, secret) {
			t.Errorf("%q can be read in %q", secret, seen)
		}
	}
}

func TestExpiredIdentities(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.store(t), w.store(t)
	long := user("alice")
	long.Expires = w.Now().Add(time.Hour)
	learn(t, one, long)
	learn(t, one, w.session("SESSION"))
	for _, s := range []*Store{one, two} {
		for _, key := range []string{"alice", "SESSION"} {
			if _, err := s.Lookup(t.Context(), key); err != nil {
				t.Errorf("%s, before its end: %v", key, err)
			}
		}
	}
	w.pass(time.Hour)
	for _, s := range []*Store{one, two, w.store(t)} {
		for _, key := range []string{"alice", "SESSION"} {
			if _, err := s.Secret(t.Context(), key); !errors.Is(err, ErrExpired) || !errors.Is(err, sigv4.ErrInvalidAccessKeyID) {
				t.Errorf("%s, after its end: %v", key, err)
			}
		}
	}
	if err := one.Learn(t.Context(), Identity{
		AccessKey: "LATE", SecretKey: "late-secret", SessionToken: "t", Kind: Temporary, Source: AssumeRole, Creator: "root", Expires: w.Now(),
	}); !errors.Is(err, ErrExpired) {
		t.Errorf("learn what has ended: %v", err)
	}
	swept := ""
	report := func(what, name string) { swept += what + " " + name }
	if err := two.Sweep(t.Context(), w.Now().Add(-time.Minute), false, report); err != nil || swept != "" || len(w.notes) != 1 {
		t.Errorf("swept too early: %q, %v", swept, err)
	}
	if err := two.Sweep(t.Context(), w.Now(), true, report); err != nil || swept != "session SESSION" || len(w.notes) != 1 {
		t.Errorf("dry run: %q, %v", swept, err)
	}
	if err := two.Sweep(t.Context(), w.Now(), false, report); err != nil || len(w.notes) != 0 {
		t.Errorf("sweep: %v, %d left", err, len(w.notes))
	}
}

func TestSessionTokenMustBeTheLearnedOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		has, given string
		want       error
	}{
		{"", "", nil},
		{"token", "token", nil},
		{"token", "", ErrToken},
		{"token", "Token", ErrToken},
		{"", "token", ErrToken},
	} {
		if err := (&Identity{SessionToken: tt.has}).CheckToken(tt.given); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%q for %q: %v", tt.given, tt.has, err)
		}
	}
}

func TestNothingIsLearnedOverWhatTheOperatorSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	if err := s.Add(t.Context(), "ops", "ops-secret", time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"root", "app", "ops"} {
		for name, err := range map[string]error{
			"learn":           s.Learn(t.Context(), user(key)),
			"learn a session": s.Learn(t.Context(), w.session(key)),
			"may learn":       s.MayLearn(t.Context(), key),
			"forget":          s.Forget(t.Context(), key),
		} {
			if !errors.Is(err, ErrProtected) {
				t.Errorf("%s %s: %v", name, key, err)
			}
		}
	}
	if err := s.Add(t.Context(), "root", "other-secret", time.Time{}); !errors.Is(err, ErrProtected) {
		t.Errorf("add what is configured: %v", err)
	}
	learn(t, s, user("alice"))
	if err := s.Learn(t.Context(), w.session("alice")); !errors.Is(err, ErrInvalid) {
		t.Errorf("a session with a user's access key: %v", err)
	}
	learn(t, s, w.session("SESSION"))
	if err := s.Learn(t.Context(), w.session("SESSION")); !errors.Is(err, ErrInvalid) {
		t.Errorf("a session twice: %v", err)
	}
	if err := s.Remove(t.Context(), "root"); !errors.Is(err, ErrProtected) {
		t.Errorf("remove what is configured: %v", err)
	}
	if err := s.Remove(t.Context(), "ops"); err != nil {
		t.Errorf("remove by an operator: %v", err)
	}
}

func TestNothingIsLearnedOverAnOpenConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t, func(o *Options) { o.Secure = false })
	for _, err := range []error{s.Learn(t.Context(), user("alice")), s.Learn(t.Context(), w.session("SESSION")), s.MayLearn(t.Context(), "")} {
		if !errors.Is(err, ErrInsecure) {
			t.Error(err)
		}
	}
	if err := s.Add(t.Context(), "ops", "ops-secret", time.Time{}); err != nil {
		t.Errorf("what an operator adds does not come from upstream: %v", err)
	}
}

func TestWhatCannotBeLearned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	for name, change := range map[string]func(*Identity){
		"no access key":          func(i *Identity) { i.AccessKey = "" },
		"control bytes":          func(i *Identity) { i.AccessKey = "a\r\nb" },
		"short secret":           func(i *Identity) { i.SecretKey = "short" },
		"no token":               func(i *Identity) { i.SessionToken = "" },
		"a huge token":           func(i *Identity) { i.SessionToken = strings.Repeat("x", 20<<10) },
		"no end":                 func(i *Identity) { i.Expires = time.Time{} },
		"no source":              func(i *Identity) { i.Source = "" },
		"another source":         func(i *Identity) { i.Source = "magic" },
		"a role nobody assumed":  func(i *Identity) { i.Creator = "" },
		"a user with a session":  func(i *Identity) { i.Kind = User },
		"configured":             func(i *Identity) { i.Kind = Configured },
		"added by nobody":        func(i *Identity) { i.Kind = Added },
		"no kind":                func(i *Identity) { i.Kind = "" },
		"asked for by itself":    func(i *Identity) { i.Creator = i.AccessKey },
		"another kind by itself": func(i *Identity) { i.AccessKey, i.Creator = "app", "app" },
		"asked for by a phantom": func(i *Identity) { i.Creator = "phantom" },
	} {
		id := w.session("SESSION")
		change(&id)
		if err := s.Learn(t.Context(), id); !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrProtected) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(w.notes)+len(w.objects) != 0 {
		t.Error("something was stored")
	}
}

func TestWarmLookupsAskNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	learn(t, s, user("alice"))
	learn(t, s, w.session("SESSION"))
	lookups := func(n int) {
		t.Helper()
		for range n {
			for _, key := range []string{"alice", "SESSION", "nobody"} {
				if _, err := s.Lookup(t.Context(), key); err != nil && key != "nobody" {
					t.Fatal(err)
				}
			}
		}
	}
	lookups(2)
	before := w.asked()
	lookups(100)
	if n := w.asked() - before; n != 0 {
		t.Errorf("warm lookups asked %d times", n)
	}
	w.pass(trust)
	before = w.asked()
	lookups(100)
	if n := w.asked() - before; n != 3 { // index, session, stranger
		t.Errorf("after the trust has ended: %d requests", n)
	}
}

func TestStrangersCostBoundedMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for i := range maxStrangers / 3 {
				if _, err := s.Lookup(t.Context(), fmt.Sprintf("stranger-%d-%d", n, i)); !errors.Is(err, ErrUnknown) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.sessions.strangers); n != maxStrangers {
		t.Errorf("%d strangers are remembered", n)
	}
}

func TestSessionOfAnotherNameIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	learn(t, w.store(t), w.session("SESSION"))
	w.notes[sessionName("OTHER")] = w.notes[sessionName("SESSION")]
	if _, err := w.store(t).Lookup(t.Context(), "OTHER"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a note in another's place: %v", err)
	}
}

func TestTheProxysOwnAccessKeyIsNobodyElses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.store(t)
	learn(t, before, user("proxy-own")) // as a proxy did that did not know better
	learn(t, before, w.session("PROXY-OWN"))
	for _, own := range []string{"proxy-own", "PROXY-OWN"} {
		s := w.store(t, func(o *Options) { o.Own = own })
		if id, err := s.Lookup(t.Context(), own); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s is a client's: %v, %v", own, id, err)
		}
		for what, err := range map[string]error{
			"may be learned": s.MayLearn(t.Context(), own),
			"is learned":     s.Learn(t.Context(), user(own)),
			"is a session's": s.Learn(t.Context(), w.session(own)),
			"is extended":    s.Extend(t.Context(), own, time.Time{}),
			"is added":       s.Add(t.Context(), own, "other-secret", time.Time{}),
			"is forgotten":   s.Forget(t.Context(), own),
			"is removed":     s.Remove(t.Context(), own),
		} {
			if !errors.Is(err, ErrProtected) {
				t.Errorf("%s %s: %v", own, what, err)
			}
		}
		both := w.store(t, func(o *Options) {
			o.Own, o.Settings.Credentials = own, map[string]string{own: "configured-secret"}
		})
		if secret, err := both.Secret(t.Context(), own); err != nil || secret != "configured-secret" {
			t.Errorf("%s, configured as a client's too: %q, %v", own, secret, err)
		}
		if err := both.Learn(t.Context(), w.session(own)); !errors.Is(err, ErrProtected) {
			t.Errorf("%s, configured as a client's too, as a session's: %v", own, err)
		}
	}
	if err := w.store(t).MayLearn(t.Context(), ""); err != nil {
		t.Errorf("without a key of its own: %v", err)
	}
}

// A client's pair and the one that upstream knows it by are two: whoever has the one at
// upstream signs with it nowhere at a proxy, whatever was learned under it.
func TestAPairAtUpstreamIsNobodysAtTheProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.store(t)
	learn(t, before, user("app-at-minio")) // when it was made, through a proxy that did not have it as a pair yet
	learn(t, before, w.session("root-at-minio"))
	s := w.store(t, func(o *Options) {
		o.Settings.Upstream = map[string]Pair{"app": {"app-at-minio", "minio-secret"}, "root": {"root-at-minio", "other-minio-secret"}}
	})
	for _, key := range []string{"app-at-minio", "root-at-minio"} {
		if id, err := s.Lookup(t.Context(), key); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s is a client's: %v, %v", key, id, err)
		}
		if !s.IsManaged(key) {
			t.Errorf("%s may be changed", key)
		}
		for what, err := range map[string]error{
			"may be learned": s.MayLearn(t.Context(), key), "is a session's": s.Learn(t.Context(), w.session(key)),
			"is added": s.Add(t.Context(), key, "other-secret", time.Time{}), "is forgotten": s.Forget(t.Context(), key),
		} {
			if !errors.Is(err, ErrProtected) {
				t.Errorf("%s %s: %v", key, what, err)
			}
		}
	}
	id, err := s.Lookup(t.Context(), "app")
	if err != nil || id.SecretKey != "app-secret" || id.AtUpstream() != (Pair{"app-at-minio", "minio-secret"}) || id.Account() != "app-at-minio" {
		t.Fatalf("app: %v, %v", id, err)
	}
	if names := id.Names(); !slices.Equal(names, []string{"app", "app-at-minio"}) {
		t.Errorf("policies know app as %v", names)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", id.AtUpstream(), id, id.AtUpstream(), id); strings.Contains(text, "minio-secret") {
		t.Error(text)
	}
	for key, want := range map[string]string{"app": "", "app-at-minio": "minio-secret", "root-at-minio": "other-minio-secret"} {
		if secret, err := s.UpstreamSecret(t.Context(), key); secret != want || (err == nil) != (want != "") {
			t.Errorf("the secret of %s at upstream: %q, %v", key, secret, err)
		}
	}
	same := w.store(t, func(o *Options) { o.Settings.Upstream = map[string]Pair{"app": {"app", "minio-secret"}} })
	if secret, err := same.Secret(t.Context(), "app"); err != nil || secret != "app-secret" {
		t.Errorf("app, by the same name at upstream, signs with %q, %v", secret, err)
	}
	if secret, err := same.UpstreamSecret(t.Context(), "app"); err != nil || secret != "minio-secret" {
		t.Errorf("the secret of app at upstream: %q, %v", secret, err)
	}
	if id, _ := same.Lookup(t.Context(), "root"); id.AtUpstream() != (Pair{"root", "root-secret"}) || id.Account() != "" {
		t.Errorf("without a pair at upstream: %v", id.AtUpstream())
	}
}
