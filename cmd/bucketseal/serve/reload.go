package serve

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/cmd/bucketseal/build"
	kmsconfig "github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/operator/watch"
	"github.com/bucketseal/bucketseal/proxy"
	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// steady is how long a change that may give more rights must have been the same
// before it is taken: a file that is cut while it is written gives more rights
// wherever what restricts them stood behind the cut.
const steady = 4 * time.Second

// waitsError says what of a configuration is not taken yet.
type waitsError struct {
	widens   []string // what may give more rights
	settings []string // other settings that have changed
}

// Error says what has changed, and when it is taken.
func (e *waitsError) Error() string {
	what := strings.Join(e.widens, "; ")
	if len(e.widens) == 0 {
		return fmt.Sprintf("changes are taken only when the file is read like this again in %v, as it may be half-written: %s", steady, strings.Join(e.settings, ", "))
	}
	if len(e.settings) > 0 {
		what += "; and these settings wait with it: " + strings.Join(e.settings, ", ")
	}
	return fmt.Sprintf("this may give more rights than before, and is taken only when the file is read like this again in %v, or at a restart: %s", steady, what)
}

// follower takes up changes of the configuration.
type follower struct {
	// current is what is in force: of settings that wait for a restart, what they were
	// at the start.
	current *config.Config
	waiting watch.Steady
	log     *slog.Logger
	// adopt takes up what of a configuration is no credential and no access; nil for
	// nothing.
	adopt func(*config.Config) error
	// waits is what was said to wait for a restart.
	waits string
}

// followConfig lets a running server take up changes of the configuration. What cannot
// be used changes nothing. What is no credential, and takes no right, has to be read twice:
// a file that is being written is a file that is cut.
func followConfig(f *follower, files *certs.Watcher, reload func() (*config.Config, error), server *proxy.Server) error {
	if f.current.File == "" {
		return nil
	}
	return files.Follow("configuration", f.files, func() error {
		fresh, err := reload()
		if err == nil {
			err = fresh.CheckServer()
		}
		if err != nil {
			return err
		}
		settings, err := f.take(fresh)
		server.Identities().Configure(settings)
		return err
	})
}

// files are those that the configuration was read from.
func (f *follower) files() []string {
	names := []string{f.current.File}
	if file := f.current.Upstream.Credentials.SecretKeyFile; file != "" {
		names = append(names, file)
	}
	for _, one := range f.current.Credentials {
		for _, file := range []string{one.SecretKeyFile, one.AtUpstream().SecretKeyFile} {
			if file != "" && !slices.Contains(names, file) {
				names = append(names, file)
			}
		}
	}
	return names
}

// read is what has to be read alike twice.
type read struct {
	access  identity.Access
	alone   []string
	changes []config.Change
}

// take returns who may sign from now on: credentials as they were read, access only if it
// gives no more rights or was read so before, and that a client has no pair of its own at
// MinIO any more only then. Other settings are taken up with the second reading. *waitsError
// for what is not taken yet.
func (f *follower) take(fresh *config.Config) (identity.Settings, error) {
	settings := build.Identities(fresh)
	widens := widensAccess(&f.current.Access, &fresh.Access)
	alone := withoutUpstream(f.current, fresh)
	changes := liveChanges(f.current, fresh)
	if held := len(widens)+len(alone)+len(changes) > 0; held && !f.waiting.Holds(read{fresh.Access, alone, changes}) {
		if len(widens) > 0 {
			settings.Access = f.current.Access
		}
		before := build.Identities(f.current).Upstream
		for _, accessKey := range alone {
			settings.Upstream[accessKey] = before[accessKey]
			widens = append(widens, fmt.Sprintf("the credential %q has no upstream any more", accessKey))
		}
		return settings, &waitsError{widens, pathsOf(changes)}
	}
	f.waiting.Forget()
	taken := f.current.TakeLive(fresh)
	if len(changes) > 0 && f.adopt != nil {
		if err := f.adopt(taken); err != nil {
			settings.Access = f.current.Access
			return settings, err
		}
	}
	for _, what := range widens {
		f.log.Warn("the configuration may give more rights than before", "file", fresh.File, "change", what)
	}
	for _, change := range changes {
		f.log.Info("a setting has changed", "file", fresh.File, "setting", change.Path, "before", strings.Join(change.Before, ","), "after", strings.Join(change.After, ","))
	}
	f.current = taken
	f.sayWhatWaits(fresh)
	return settings, nil
}

// withoutUpstream are the clients that had a pair of their own at MinIO, and have none any
// more: who held that pair there could perhaps sign with it here.
func withoutUpstream(current, fresh *config.Config) (alone []string) {
	before, after := build.Identities(current), build.Identities(fresh)
	for accessKey := range before.Upstream {
		_, client := after.Credentials[accessKey]
		if _, still := after.Upstream[accessKey]; client && !still {
			alone = append(alone, accessKey)
		}
	}
	slices.Sort(alone)
	return alone
}

// liveChanges are what of a fresh configuration is taken up, but for access and
// credentials, which have rules of their own.
func liveChanges(current, fresh *config.Config) (changes []config.Change) {
	for _, change := range config.Changes(current.Effective(nil), fresh.Effective(nil)) {
		if !change.Restart && !strings.HasPrefix(change.Path, "credentials.") && !strings.HasPrefix(change.Path, "access.") {
			changes = append(changes, change)
		}
	}
	return changes
}

// sayWhatWaits names what has changed and waits for a restart, once for each state of the
// file.
func (f *follower) sayWhatWaits(fresh *config.Config) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	waits := config.Changes(f.current.Effective(key), fresh.Effective(key))
	waits = slices.DeleteFunc(waits, func(c config.Change) bool { return !c.Restart })
	names := strings.Join(pathsOf(waits), ",")
	if names == f.waits {
		return
	}
	if f.waits = names; names == "" {
		f.log.Info("nothing of the configuration waits for a restart any more", "file", fresh.File)
		return
	}
	if !reflect.DeepEqual(f.current.Upstream.Credentials, fresh.Upstream.Credentials) {
		f.log.Warn("upstream.credentials have changed: the server goes on with the former ones, and MinIO must know them, until it is started again", "file", fresh.File)
	}
	f.log.Warn("the configuration has changed in what waits for a restart (or SIGUSR2)", "file", fresh.File, "settings", names)
}

func pathsOf(changes []config.Change) []string {
	paths := make([]string, len(changes))
	for i, c := range changes {
		paths[i] = c.Path
	}
	return paths
}

// widensAccess says what of a change of access may give anybody more rights; nil if
// nothing does. Rules give rights and take them too: one that names a learned
// identity bounds it.
func widensAccess(before, after *identity.Access) (widens []string) {
	switch {
	case !before.Unrestricted && after.Unrestricted:
		widens = append(widens, "access.rules are gone, so that every configured and added credential may use all keys in all buckets")
	case !before.Unrestricted && !reflect.DeepEqual(before.Rules, after.Rules):
		widens = append(widens, "access.rules have changed")
	}
	for _, name := range after.KeyAdmins {
		if !slices.Contains(before.KeyAdmins, name) {
			widens = append(widens, fmt.Sprintf("%q becomes one of access.key_admins", name))
		}
	}
	return widens
}

// carefulLoad reads a key server's configuration anew, and holds back one that gives
// more rights until it was read twice. What it returns is safe for concurrent use.
func carefulLoad(c *kmsconfig.Config, load func() (*kmsconfig.Config, error), log *slog.Logger) func() (*kmsconfig.Config, error) {
	var mu sync.Mutex
	current, waiting := c, &watch.Steady{For: steady}
	return func() (*kmsconfig.Config, error) {
		mu.Lock()
		defer mu.Unlock()
		fresh, err := load()
		if err != nil {
			return nil, err
		}
		widens := current.Widens(fresh)
		if len(widens) > 0 && !waiting.Holds(fresh.Rights()) {
			return nil, &waitsError{widens: widens}
		}
		waiting.Forget()
		for _, what := range widens {
			log.Warn("the configuration gives more rights than before", "file", fresh.Name, "change", what)
		}
		current = fresh
		return fresh, nil
	}
}
