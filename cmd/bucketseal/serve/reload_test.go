package serve

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	kmsidentity "github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/watch"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/glob"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// A file that is cut before access, and read, must give nobody more rights.
func TestMoreRightsAreTakenOnlyWhenTheyAreReadTwice(t *testing.T) {
	t.Parallel()
	parse := func(pattern string) glob.Patterns { return glob.Patterns{pattern} }
	rule := identity.Rule{AccessKeys: parse("app"), Buckets: parse("logs"), Keys: parse("k"), Uses: []identity.Use{identity.Generate}}
	wider := rule
	wider.Uses = []identity.Use{identity.Generate, identity.Decrypt} // as when "uses" is cut off
	with := func(admins []string, rules ...identity.Rule) *config.Config {
		return &config.Config{Access: identity.Access{Unrestricted: rules == nil, Rules: rules, KeyAdmins: admins}}
	}
	base := with([]string{"ops"}, rule)
	for name, test := range map[string]struct {
		next   *config.Config
		widens bool
	}{
		"no rules":          {with([]string{"ops"}), true},
		"a wider rule":      {with([]string{"ops"}, wider), true},
		"a rule more":       {with([]string{"ops"}, rule, wider), true},
		"another key admin": {with([]string{"ops", "x"}, rule), true},
		"no key admin":      {with(nil, rule), false},
		"the same":          {with([]string{"ops"}, rule), false},
	} {
		now := time.Now()
		f := &follower{current: base, waiting: watch.Steady{For: steady, Now: func() time.Time { return now }}, log: slog.New(slog.DiscardHandler)}
		var waits *waitsError
		settings, err := f.take(test.next)
		if errors.As(err, &waits) != test.widens || test.widens && len(settings.Access.Rules) != 1 {
			t.Errorf("%s, read once: %v, %v", name, settings.Access, err)
		}
		if !test.widens {
			continue
		}
		now = now.Add(steady / 2)
		if _, err := f.take(test.next); !errors.As(err, &waits) {
			t.Errorf("%s, read again too soon: %v", name, err)
		}
		if _, err := f.take(base); err != nil {
			t.Errorf("%s, whole again: %v", name, err)
		}
		now = now.Add(steady)
		if _, err := f.take(test.next); !errors.As(err, &waits) {
			t.Errorf("%s, after the whole file: %v", name, err)
		}
		now = now.Add(steady)
		settings, err = f.take(test.next)
		if err != nil || len(settings.Access.Rules) != len(test.next.Access.Rules) {
			t.Errorf("%s, read twice: %v, %v", name, settings.Access, err)
		}
	}
	// Without rules everybody has all rights: rules only take some.
	f := &follower{current: with(nil), waiting: watch.Steady{For: steady}, log: slog.New(slog.DiscardHandler)}
	if settings, err := f.take(with(nil, rule)); err != nil || len(settings.Access.Rules) != 1 {
		t.Errorf("the first rules: %v, %v", settings.Access, err)
	}
}

// A file that is cut before a credential's upstream leaves it as it was: who holds the pair at
// MinIO gets no chance to sign with it at the proxy.
func TestAPairAtMinIOIsGoneOnlyWhenThatIsReadTwice(t *testing.T) {
	t.Parallel()
	parse := func(upstream string) *config.Config {
		c, err := config.Parse("f.yml", []byte("credentials: [{access_key: app, secret_key: secret-of-app"+upstream+"}]\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	file := filepath.Join(t.TempDir(), "pair")
	if err := os.WriteFile(file, []byte("secret-of-pair"), 0o600); err != nil {
		t.Fatal(err)
	}
	whole, cut := parse(", upstream: {access_key: app-minio, secret_key_file: "+file+"}"), parse("")
	now := time.Now()
	f := &follower{current: cut, waiting: watch.Steady{For: steady, Now: func() time.Time { return now }}, log: slog.New(slog.DiscardHandler)}
	pair := identity.Pair{AccessKey: "app-minio", SecretKey: "secret-of-pair"}
	if settings, err := f.take(whole); err != nil || settings.Upstream["app"] != pair || settings.Credentials["app"] != "secret-of-app" {
		t.Errorf("a new pair: %v, %v", settings.Upstream, err)
	}
	if !slices.Contains(f.files(), file) {
		t.Errorf("files %v", f.files())
	}
	var waits *waitsError
	for range 2 {
		if settings, err := f.take(cut); !errors.As(err, &waits) || settings.Upstream["app"] != pair {
			t.Errorf("a cut file: %v, %v", settings.Upstream, err)
		}
	}
	now = now.Add(steady)
	if settings, err := f.take(cut); err != nil || len(settings.Upstream) != 0 {
		t.Errorf("read twice: %v, %v", settings.Upstream, err)
	}
}

func TestKeyServerTakesMoreRightsOnlyWhenTheyAreReadTwice(t *testing.T) {
	t.Parallel()
	policy := func(deny ...string) *kmsconfig.Config {
		return &kmsconfig.Config{Policies: map[string]kmsconfig.Policy{"app": {Allow: []string{"*"}, Deny: deny, Identities: []kmsidentity.Identity{"app"}}}}
	}
	next := policy()
	load := carefulLoad(policy("/v1/key/delete/*"), func() (*kmsconfig.Config, error) { return next, nil }, slog.New(slog.DiscardHandler))
	var waits *waitsError
	if _, err := load(); !errors.As(err, &waits) {
		t.Errorf("a deny that is gone is taken at once: %v", err)
	}
	next = policy("/v1/key/delete/*", "/v1/key/import/*")
	if _, err := load(); err != nil {
		t.Errorf("one deny more: %v", err)
	}
}

// A SIGHUP and the watcher of files may read at once.
func TestKeyServersConfigurationIsReadByOneAtATime(t *testing.T) {
	t.Parallel()
	var reading, most atomic.Int32
	c := &kmsconfig.Config{}
	load := carefulLoad(c, func() (*kmsconfig.Config, error) {
		if n := reading.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer reading.Add(-1)
		time.Sleep(5 * time.Millisecond)
		return &kmsconfig.Config{Policies: map[string]kmsconfig.Policy{"app": {Allow: []string{"*"}, Identities: []kmsidentity.Identity{"app"}}}}, nil
	}, slog.New(slog.DiscardHandler))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { _, _ = load() })
	}
	all.Wait()
	if n := most.Load(); n != 1 {
		t.Errorf("%d read at once", n)
	}
}

// A new secret of the proxy's own user is not taken without a restart: the log says
// so, also when only the file has changed that holds it.
func TestAChangedCredentialAtMinIOIsSaid(t *testing.T) {
	t.Parallel()
	with := func(secret config.Secret) *config.Config {
		c := &config.Config{File: "f.yml"}
		c.Upstream.Credentials = config.Credential{AccessKey: "own", SecretKey: secret, SecretKeyFile: "/run/own"}
		return c
	}
	parse := func(secret string) config.Secret {
		c, err := config.Parse("f.yml", []byte("upstream: {endpoint: \"http://127.0.0.1:1\", credentials: {access_key: own, secret_key: "+secret+"}}\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Upstream.Credentials.SecretKey
	}
	var log bytes.Buffer
	f := &follower{current: with(parse("secret-before-0")), waiting: watch.Steady{For: steady}, log: slog.New(slog.NewTextHandler(&log, nil))}
	if !slices.Contains(f.files(), "/run/own") {
		t.Errorf("files %v", f.files())
	}
	if _, err := f.take(with(parse("secret-after-00"))); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, "upstream.credentials have changed") || strings.Contains(text, "secret-") {
		t.Errorf("%q", text)
	}
}

// A plain setting is taken with the second reading, and only what can be adopted is in force.
func TestASettingIsTakenWhenItIsReadTwice(t *testing.T) {
	t.Parallel()
	parse := func(text string) *config.Config {
		c, err := config.Parse("f.yml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	now := time.Now()
	var log bytes.Buffer
	var adopted *config.Config
	failing := errors.New("cannot be adopted")
	f := &follower{
		current: parse(""), waiting: watch.Steady{For: steady, Now: func() time.Time { return now }}, log: slog.New(slog.NewTextHandler(&log, nil)),
		adopt: func(c *config.Config) error { adopted = c; return failing },
	}
	fresh := parse("plain_read: [legacy]\nregion: eu-central-1\n")
	var waits *waitsError
	if _, err := f.take(fresh); !errors.As(err, &waits) || adopted != nil {
		t.Fatalf("read once: %v, %v", err, adopted)
	}
	now = now.Add(steady)
	if _, err := f.take(fresh); !errors.Is(err, failing) || f.current.PlainRead != nil {
		t.Fatalf("not adopted: %v, %v", err, f.current.PlainRead)
	}
	failing = nil
	if _, err := f.take(fresh); !errors.As(err, &waits) {
		t.Fatalf("read once more: %v", err)
	}
	now = now.Add(steady)
	if _, err := f.take(fresh); err != nil || len(f.current.PlainRead) != 1 || adopted.Region != "us-east-1" {
		t.Fatalf("read twice: %v, %v", err, f.current.PlainRead)
	}
	if text := log.String(); !strings.Contains(text, "setting=plain_read") || !strings.Contains(text, "settings=region,upstream.region") {
		t.Errorf("%s", text)
	}
	if _, err := f.take(fresh); err != nil || strings.Count(log.String(), "settings=") != 1 {
		t.Errorf("what waits is said again: %v\n%s", err, log.String())
	}
}
