package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// Variables of the environment that belong to no single setting.
const (
	EnvFile             = "BUCKETSEAL_CONFIG"
	EnvRootUser         = "BUCKETSEAL_ROOT_USER"
	EnvRootUserFile     = "BUCKETSEAL_ROOT_USER_FILE"
	EnvRootPassword     = "BUCKETSEAL_ROOT_PASSWORD"
	EnvRootPasswordFile = "BUCKETSEAL_ROOT_PASSWORD_FILE"
	EnvMasterKey        = "BUCKETSEAL_MASTER_KEY"
	EnvCredentialSecret = "BUCKETSEAL_CREDENTIAL_SECRET"
	envHandOver         = "BUCKETSEAL_HANDOVER_FD" // set by a server for the one after it, as the next
	envHandOverManaged  = "BUCKETSEAL_HANDOVER_MANAGED"
)

// Sources are where a configuration comes from.
type Sources struct {
	// File is the YAML file; "" takes BUCKETSEAL_CONFIG's, or none.
	File string
	// Environ holds NAME=VALUE. An empty value is no value.
	Environ []string
	// Flags holds what stood on the command line, by flag name without dashes.
	Flags map[string][]string
}

// Load reads all sources and checks every value. It does not ask whether
// anything needed is missing: see CheckServer and CheckKeys.
//
// The error is ErrInvalid, and then an Errors with all that is wrong, or
// ErrUnreadable.
func Load(s Sources) (*Config, error) {
	env := environment(s.Environ)
	file := s.File
	if file == "" {
		file = env[EnvFile]
	}
	var source []byte
	if file != "" {
		var err error
		if source, err = readLimited(file, maxFile+1); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
		}
	}
	return load(file, source, env, s.Flags)
}

// Parse is Load for a file that is in memory, without flags. Name is what
// messages call it, and relative paths start in its folder.
func Parse(name string, source []byte, environ []string) (*Config, error) {
	return load(name, source, environment(environ), nil)
}

func load(file string, source []byte, env map[string]string, flags map[string][]string) (*Config, error) {
	var errs yamlfile.Problems
	c := defaults()
	c.File = file
	if file != "" {
		lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
		newFileReader(c, file, lookup, &errs).read(source)
	}
	override(c, env, flags, &errs)
	rootCredential(c, env, &errs)
	c.finish(&errs)
	warnUnknown(c, env)
	errs.Sort()
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// defaults applies the table's defaults.
func defaults() *Config {
	c := &Config{origin: make(map[string]yamlfile.Place), given: make(map[string][]string), Access: identity.Access{Unrestricted: true}}
	for _, s := range Settings() {
		if s.Default == "" {
			continue
		}
		if err := s.apply(c, []string{s.Default}); err != nil {
			panic(fmt.Sprintf("default of %s: %v", s.Path, err)) // a mistake in the table
		}
	}
	return c
}

func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	return env
}

// override sets what environment and command line give, in this order.
func override(c *Config, env map[string]string, flags map[string][]string, errs *yamlfile.Problems) {
	settings := Settings()
	for _, s := range settings {
		value := env[s.Env]
		if s.Env == "" || value == "" {
			continue
		}
		values := []string{value}
		if s.Type == TypeList {
			values = splitList(value)
		}
		c.override(s, s.Env, values, errs)
	}
	c.MasterKey = NewSecret(env[EnvMasterKey])
	for _, s := range settings {
		if values, given := flags[s.Flag]; given && s.Flag != "" {
			c.override(s, "--"+s.Flag, values, errs)
		}
	}
}

func (c *Config) override(s Setting, name string, values []string, errs *yamlfile.Problems) {
	at := yamlfile.Place{Name: name}
	if err := s.apply(c, values); err != nil {
		errs.Add(at, "", "%v", err)
		return
	}
	c.origin[s.Path] = at
	if s.Path == "tls.certs_dir" { // it takes the place of the file's tls section
		c.TLS.Cert, c.TLS.Key = "", ""
	}
}

func splitList(text string) []string {
	var values []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			values = append(values, part)
		}
	}
	return values
}

// rootCredential takes the pair from the environment for every place where the
// file gives no credential. Where it does, the two must agree.
func rootCredential(c *Config, env map[string]string, errs *yamlfile.Problems) {
	user, err1 := oneSecret(c, EnvRootUser, NewSecret(env[EnvRootUser]), env[EnvRootUserFile], checkAccessKey)
	password, err2 := oneSecret(c, EnvRootPassword, NewSecret(env[EnvRootPassword]), env[EnvRootPasswordFile], checkSecretKey)
	for i, err := range []error{err1, err2} {
		if err != nil {
			errs.Add(yamlfile.Place{Name: []string{EnvRootUser, EnvRootPassword}[i]}, "", "%v", err)
		}
	}
	if err1 != nil || err2 != nil {
		return
	}
	switch {
	case user.IsZero() && password.IsZero():
		return
	case user.IsZero():
		errs.Add(yamlfile.Place{Name: EnvRootPassword}, "", "it is set without %s; set both or none", EnvRootUser)
		return
	case password.IsZero():
		errs.Add(yamlfile.Place{Name: EnvRootUser}, "", "it is set without %s; set both or none", EnvRootPassword)
		return
	}
	if c.Access.KeyAdmins == nil {
		c.Access.KeyAdmins = []string{user.Reveal()}
	}
	c.Root = Credential{AccessKey: user.Reveal(), SecretKey: password}

	if own := &c.Upstream.Credentials; own.AccessKey == "" && own.SecretKey.IsZero() && own.SecretKeyFile == "" {
		*own = c.Root
	} else if own.AccessKey != c.Root.AccessKey || !own.SecretKey.IsZero() && own.SecretKey != password {
		errs.Add(c.originOf("upstream.credentials"), "upstream.credentials", "this is not the credential of %s and %s; give it in one of the two places", EnvRootUser, EnvRootPassword)
	}
	if c.Credentials == nil {
		c.Credentials = []Credential{c.Root}
	} else if !slices.ContainsFunc(c.Credentials, func(one Credential) bool {
		return one.AccessKey == c.Root.AccessKey && one.SecretKey == password
	}) {
		errs.Add(c.originOf("credentials"), "credentials", "the credential of %s and %s is not in this list; add it here or do not set the variables", EnvRootUser, EnvRootPassword)
	}
}

// oneSecret returns a secret that is given either directly or in a file. A
// secret file that anybody may read is a warning. name is what messages call it.
func oneSecret(c *Config, name string, direct Secret, file string, check func(string) error) (Secret, error) {
	if file == "" {
		if direct.IsZero() {
			return direct, nil
		}
		return direct, check(direct.Reveal())
	}
	if !direct.IsZero() {
		return Secret{}, fmt.Errorf("both %s and its file %s are given; give one", name, file)
	}
	data, err := readLimited(file, 1<<16)
	if err != nil {
		return Secret{}, err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return Secret{}, fmt.Errorf("the file %s is empty", file)
	}
	if err := check(text); err != nil {
		return Secret{}, fmt.Errorf("file %s: %w", file, err)
	}
	c.warnReadable(file)
	return NewSecret(text), nil
}

// readLimited reads a file and refuses one of limit bytes or more.
func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) >= limit:
		return nil, fmt.Errorf("%s: the file is longer than %d bytes", file, limit-1)
	}
	return data, nil
}

// warnReadable warns of a secret file that every user of the machine may read.
func (c *Config) warnReadable(file string) {
	if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("every user of this machine may read %s, which holds a secret; chmod 600 %s", file, filepath.Base(file)))
	}
}

// warnUnknown warns of variables that look like settings and are none. They are
// no error: container platforms set such names by themselves.
func warnUnknown(c *Config, env map[string]string) {
	known := []string{EnvFile, EnvRootUser, EnvRootUserFile, EnvRootPassword, EnvRootPasswordFile, EnvMasterKey, EnvCredentialSecret, envHandOver, envHandOverManaged}
	for _, s := range Settings() {
		if s.Env != "" {
			known = append(known, s.Env)
		}
	}
	var names []string
	for name := range env {
		// Kubernetes sets NAME_PORT... and NAME_SERVICE_... for a service called NAME.
		platform := strings.HasPrefix(name, "BUCKETSEAL_PORT") || strings.HasPrefix(name, "BUCKETSEAL_SERVICE_")
		if strings.HasPrefix(name, "BUCKETSEAL_") && !platform && !slices.Contains(known, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		text := "the variable " + name + " means nothing to bucketseal"
		if best := yamlfile.Nearest(name, known); best != "" {
			text += "; do you mean " + best + "?"
		}
		c.Warnings = append(c.Warnings, text)
	}
}
