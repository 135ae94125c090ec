package identity

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/proxy/glob"
)

// may asks whether accessKey may decrypt in a bucket.
func may(t *testing.T, s *Store, accessKey, bucket string) error {
	t.Helper()
	id, err := s.Lookup(t.Context(), accessKey)
	if err != nil {
		t.Fatalf("%s: %v", accessKey, err)
	}
	return s.MayUse(t.Context(), id, bucket, "key", Decrypt)
}

func TestWithoutRulesTheOperatorsIdentitiesMayDoEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	if err := s.Add(t.Context(), "ops", "ops-secret", w.Now().Add(1e12)); err != nil {
		t.Fatal(err)
	}
	learn(t, s, user("alice"))
	learn(t, s, w.session("SESSION"))
	web := w.session("WEB")
	web.Source, web.Creator = WebIdentity, ""
	learn(t, s, web)
	orphan := user("orphan")
	orphan.Creator = ""
	learn(t, s, orphan)
	for key, want := range map[string]error{
		"root": nil, "app": nil, "ops": nil, "alice": nil, "SESSION": nil, "WEB": ErrNotAllowed, "orphan": ErrNotAllowed,
	} {
		if err := may(t, s, key, "any"); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestRulesNameKeysBucketsAndUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t, withRules(
		Rule{AccessKeys: glob.Patterns{"ro*"}, Buckets: glob.Patterns{"*"}, Keys: glob.Patterns{"*"}, Uses: []Use{Generate, Decrypt}},
		Rule{AccessKeys: glob.Patterns{"app"}, Buckets: glob.Patterns{"logs-*"}, Keys: glob.Patterns{"log-key"}, Uses: []Use{Generate}},
		Rule{AccessKeys: glob.Patterns{"app"}, Buckets: glob.Patterns{"public"}, Keys: glob.Patterns{"*"}, Uses: []Use{Decrypt}},
	))
	for _, tt := range []struct {
		accessKey, bucket, key string
		use                    Use
		want                   error
	}{
		{"root", "any", "any", Decrypt, nil},
		{"app", "logs-1", "log-key", Generate, nil},
		{"app", "logs-1", "", Generate, nil}, // SSE-C
		{"app", "logs-1", "log-key", Decrypt, ErrNotAllowed},
		{"app", "logs-1", "other", Generate, ErrNotAllowed},
		{"app", "other", "log-key", Generate, ErrNotAllowed},
		{"app", "other", "", Generate, ErrNotAllowed},
		{"app", "public", "log-key", Decrypt, nil},
		{"app", "public", "log-key", Generate, ErrNotAllowed},
	} {
		id, err := s.Lookup(t.Context(), tt.accessKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.MayUse(t.Context(), id, tt.bucket, tt.key, tt.use); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	s.Configure(Settings{Credentials: map[string]string{"root": "root-secret"}, Access: Access{Rules: []Rule{}}})
	if err := may(t, s, "root", "any"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("with no rule at all: %v", err)
	}
}

func TestLearnedIdentitiesHaveAtMostTheRightsOfTheirCreators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	everything := rule(glob.Patterns{"root"}, glob.Patterns{"*"})
	s := w.store(t, withRules(everything, rule(glob.Patterns{"app"}, glob.Patterns{"a*"}), rule(glob.Patterns{"greedy"}, glob.Patterns{"*"}),
		rule(glob.Patterns{"narrow"}, glob.Patterns{"ab"})))
	for _, one := range []struct{ name, creator string }{{"alice", "app"}, {"greedy", "app"}, {"narrow", "alice"}, {"deep", "narrow"}} {
		id := user(one.name)
		id.Creator = one.creator
		learn(t, s, id)
	}
	session := w.session("SESSION")
	session.Creator = "deep"
	learn(t, s, session)
	for key, want := range map[string]map[string]bool{
		"alice":   {"a": true, "ab": true, "b": false},
		"greedy":  {"a": true, "ab": true, "b": false},
		"narrow":  {"a": false, "ab": true, "b": false},
		"deep":    {"a": false, "ab": true, "b": false},
		"SESSION": {"a": false, "ab": true, "b": false},
	} {
		for bucket, allowed := range want {
			if err := may(t, s, key, bucket); (err == nil) != allowed || err != nil && !errors.Is(err, ErrNotAllowed) {
				t.Errorf("%s in %s: %v", key, bucket, err)
			}
		}
	}
	// Rights are those of now.
	s.Configure(Settings{Credentials: map[string]string{"root": "root-secret", "app": "app-secret"}, Access: Access{Rules: []Rule{everything}}})
	if err := may(t, s, "alice", "a"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("once app has no rights any more: %v", err)
	}
}

func TestPoliciesKnowWhatIsDerivedByTheWholeChain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	for _, one := range []struct {
		name, creator string
		kind          Kind
	}{{"alice", "root", User}, {"account", "alice", ServiceAccount}, {"below", "account", ServiceAccount}} {
		id := user(one.name)
		id.Creator, id.Kind = one.creator, one.kind
		learn(t, s, id)
	}
	session := w.session("SESSION")
	session.Creator = "below"
	learn(t, s, session)
	for key, want := range map[string][]string{
		"root": {"root"}, "alice": {"alice"}, "account": {"account", "alice"}, "SESSION": {"SESSION", "below", "account", "alice"},
	} {
		id, err := s.Lookup(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if got := id.Names(); !slices.Equal(got, want) {
			t.Errorf("%s: %v", key, got)
		}
	}
}

func TestRightsEndWithTheCreator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t)
	learn(t, s, user("alice"))
	child := Identity{AccessKey: "child", SecretKey: "child-secret", Kind: ServiceAccount, Creator: "alice"}
	learn(t, s, child)
	if err := may(t, s, "child", "b"); err != nil {
		t.Fatal(err)
	}
	rotated := user("alice")
	rotated.SecretKey = "another-secret"
	learn(t, s, rotated)
	if err := may(t, s, "child", "b"); err != nil {
		t.Errorf("alice with another secret: %v", err)
	}
	if err := s.Forget(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	if err := may(t, s, "child", "b"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("alice is gone: %v", err)
	}
	learn(t, s, user("alice"))
	if err := may(t, s, "child", "b"); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("another alice: %v", err)
	}
	learn(t, s, child)
	if err := may(t, s, "child", "b"); err != nil {
		t.Errorf("asked for again: %v", err)
	}
}

func TestSessionsThatNobodyVerifiedAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	web := rule(nil, glob.Patterns{"web"})
	web.Sources = []Source{WebIdentity}
	all := rule(glob.Patterns{"*"}, glob.Patterns{"*"})
	all.Kinds = Kinds()
	for name, tt := range map[string]struct {
		rules      []Rule
		web, other error
	}{
		"named by its source":               {[]Rule{web}, nil, ErrNotAllowed},
		"not by a pattern of access keys":   {[]Rule{all}, ErrNotAllowed, ErrNotAllowed},
		"nor does that add to its source's": {[]Rule{all, web}, nil, ErrNotAllowed},
	} {
		s := w.store(t, withRules(tt.rules...))
		session := w.session("WEB-" + name)
		session.Source, session.Creator = WebIdentity, ""
		learn(t, s, session)
		for bucket, want := range map[string]error{"web": tt.web, "else": tt.other} {
			if err := may(t, s, session.AccessKey, bucket); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s, in %s: %v", name, bucket, err)
			}
		}
	}
}

func TestKeyAdministrators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t, func(o *Options) { o.Settings.Access.KeyAdmins = []string{"root", "alice", "SESSION"} })
	learn(t, s, user("alice"))
	learn(t, s, w.session("SESSION"))
	for key, want := range map[string]error{"root": nil, "app": ErrNotAllowed, "alice": ErrNotAllowed, "SESSION": ErrNotAllowed} {
		id, err := s.Lookup(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.MayAdministerKeys(id); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if err := s.MayAdministerKeys(nil); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("who did not sign: %v", err)
	}
}

// Who changes its own secret, or is given more time, is vouched for by whom it was
// before, and not by whoever has that access key now.
func TestChangesOfOnesOwnDoNotAddRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.store(t, withRules(rule(glob.Patterns{"root"}, glob.Patterns{"*"}), rule(glob.Patterns{"app"}, glob.Patterns{"a"})))
	boss := user("boss")
	boss.Creator = "app"
	learn(t, s, boss)
	child := user("child")
	child.Creator = "boss"
	learn(t, s, child)
	own := child
	own.SecretKey, own.Creator = "own-secret-0123", "child"
	learn(t, s, own)
	if err := s.Extend(t.Context(), "child", w.Now().Add(1e12)); err != nil {
		t.Fatal(err)
	}
	id, err := s.Lookup(t.Context(), "child")
	if err != nil || id.SecretKey != "own-secret-0123" || id.Creator != "boss" || id.Expires.IsZero() {
		t.Errorf("%v, %v", id, err)
	}
	if may(t, s, "child", "a") != nil || may(t, s, "child", "b") == nil {
		t.Error("child's rights are not app's")
	}
	if err := s.Forget(t.Context(), "boss"); err != nil {
		t.Fatal(err)
	}
	boss.Creator = "root"
	learn(t, s, boss)
	own.SecretKey = "third-secret-0123"
	learn(t, s, own)
	if err := s.Extend(t.Context(), "child", time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"a", "b"} {
		if err := may(t, s, "child", bucket); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("under another boss, in %s: %v", bucket, err)
		}
	}
	if err := s.Extend(t.Context(), "nobody", time.Time{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("extend nobody: %v", err)
	}
	if err := s.Extend(t.Context(), "app", time.Time{}); !errors.Is(err, ErrProtected) {
		t.Errorf("extend what is configured: %v", err)
	}
}
