package serve

import (
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
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
type waitsError struct{ widens []string }

// Error says what would give more rights, and when it does.
func (e *waitsError) Error() string {
	return fmt.Sprintf("this may give more rights than before, and is taken only when the file is read like this again in %v, or at a restart: %s", steady, strings.Join(e.widens, "; "))
}

// follower takes up changes of the configuration's credentials and access.
type follower struct {
	current *config.Config
	waiting watch.Steady
	log     *slog.Logger
}

// followConfig lets a running server take up changes of the configuration's
// credentials and access. What cannot be used changes nothing, and what may give
// more rights has to be read twice.
func followConfig(c *config.Config, files *certs.Watcher, reload func() (*config.Config, error), server *proxy.Server, log *slog.Logger) error {
	if c.File == "" {
		return nil
	}
	f := &follower{current: c, waiting: watch.Steady{For: steady}, log: log}
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
		if one.SecretKeyFile != "" {
			names = append(names, one.SecretKeyFile)
		}
	}
	return names
}

// take returns what is in force from now on: credentials as they were read, access
// only if it gives no more rights or was read so before. *waitsError for the rest.
func (f *follower) take(fresh *config.Config) (identity.Settings, error) {
	settings := build.Identities(fresh)
	widens := widensAccess(&f.current.Access, &fresh.Access)
	if len(widens) > 0 && !f.waiting.Holds(fresh.Access) {
		settings.Access = f.current.Access
		return settings, &waitsError{widens}
	}
	f.waiting.Forget()
	for _, what := range widens {
		f.log.Warn("the configuration may give more rights than before", "file", fresh.File, "change", what)
	}
	if before, now := f.current.Upstream.Credentials, fresh.Upstream.Credentials; !reflect.DeepEqual(before, now) {
		f.log.Warn("upstream.credentials have changed: the server goes on with the former ones, and MinIO must know them, until it is started again", "file", fresh.File)
	} else if f.current.NeedsRestart(fresh) {
		f.log.Warn("the configuration has changed in more than credentials and access: that waits for a restart", "file", fresh.File)
	}
	f.current = fresh
	return settings, nil
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
// more rights until it was read twice.
func carefulLoad(c *kmsconfig.Config, load func() (*kmsconfig.Config, error), log *slog.Logger) func() (*kmsconfig.Config, error) {
	current, waiting := c, &watch.Steady{For: steady}
	return func() (*kmsconfig.Config, error) {
		fresh, err := load()
		if err != nil {
			return nil, err
		}
		widens := current.Widens(fresh)
		if len(widens) > 0 && !waiting.Holds(fresh.Rights()) {
			return nil, &waitsError{widens}
		}
		waiting.Forget()
		for _, what := range widens {
			log.Warn("the configuration gives more rights than before", "file", fresh.Name, "change", what)
		}
		current = fresh
		return fresh, nil
	}
}
