package config

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
	"github.com/bucketseal/bucketseal/proxy/identity"
)

// apply sets the setting and remembers the text that it was given.
func (s Setting) apply(c *Config, values []string) error {
	if err := s.set(c, values); err != nil {
		return err
	}
	if s.secret() {
		values = nil
	}
	c.given[s.Path] = values
	return nil
}

// Value is what one setting is, for operators to read. It holds no secret.
type Value struct {
	// Path is the setting's name. A credential is "credentials.ACCESS_KEY", a rule
	// "access.rules", one text each.
	Path string `json:"setting"`
	// Values are its texts: one, or any number for a list. That of a secret is [redacted].
	Values []string `json:"values"`
	// Source is where it comes from: default, FILE:LINE:COLUMN, a variable or a flag.
	Source string `json:"source"`
	// Live says that a running server takes up a change.
	Live bool `json:"live"`
	// Tag tells a secret from another, to who knows the key of tags.
	Tag string `json:"tag,omitempty"`
}

// Effective returns every setting that has a value, in the order of the documentation.
// tagKey keys the tags of secrets; without it there are none.
func (c *Config) Effective(tagKey []byte) []Value {
	e := effective{c: c, tagKey: tagKey}
	for _, s := range Settings() {
		e.setting(s)
	}
	for _, one := range c.Credentials {
		path := "credentials." + one.AccessKey
		e.secret(path, "credentials", one.SecretKey)
		if one.Upstream != nil {
			e.add(path+".upstream.access_key", e.last().Source, one.Upstream.AccessKey)
			e.secret(path+".upstream.secret_key", "credentials", one.Upstream.SecretKey)
		}
	}
	e.secret(EnvMasterKey, "", c.MasterKey)
	if !c.Access.Unrestricted {
		e.add("access.rules", e.from("access.rules"), rulesText(c.Access.Rules)...)
	}
	if k := c.KMS.Section; k != nil {
		e.add("kms", e.from("kms"), "a KES configuration")
		e.last().Tag = e.tag("kms", string(k.YAML))
	}
	return e.all
}

// effective collects values.
type effective struct {
	c      *Config
	tagKey []byte
	all    []Value
}

func (e *effective) last() *Value { return &e.all[len(e.all)-1] }

func (e *effective) add(path, source string, values ...string) {
	e.all = append(e.all, Value{Path: path, Values: slices.Clone(values), Source: source, Live: Live(path)})
}

func (e *effective) from(path string) string {
	if at := e.c.originOf(path); at != (yamlfile.Place{}) {
		return at.String()
	}
	return "default"
}

// setting adds what a setting was given, or what follows from others.
func (e *effective) setting(s Setting) {
	if s.secret() {
		e.secret(s.Path, s.Path, e.c.secretAt(s.Path))
		return
	}
	given, ok := e.c.given[s.Path]
	source := e.from(s.Path)
	if !ok {
		var text string
		if text, source = e.c.follows(s.Path); text == "" {
			return
		}
		given = []string{text}
	}
	values := make([]string, len(given))
	for i, v := range given {
		values[i] = s.normal(v)
	}
	e.add(s.Path, source, values...)
}

// secret adds a secret, if there is one. origin is the setting that says where it is from.
func (e *effective) secret(path, origin string, s Secret) {
	if s.IsZero() {
		return
	}
	source := e.from(origin)
	if source == "default" { // no secret is
		source = "the environment or a file"
	}
	e.add(path, source, redacted)
	e.last().Tag = e.tag(path, s.Reveal())
}

func (e *effective) tag(path, text string) string {
	if len(e.tagKey) == 0 {
		return ""
	}
	mac := hmac.New(sha256.New, e.tagKey)
	fmt.Fprintf(mac, "bucketseal setting %d:%s", len(path), path)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// follows returns what a setting is that nobody has given, and from what that follows.
func (c *Config) follows(path string) (text, source string) {
	switch path {
	case "upstream.region":
		return c.Upstream.Region, "region"
	case "sse_s3.key":
		return c.SSES3.Key, "default_key"
	case "upstream.credentials.access_key":
		return c.Upstream.Credentials.AccessKey, EnvRootUser
	case "access.key_admins":
		return strings.Join(c.Access.KeyAdmins, ","), EnvRootUser
	}
	return "", ""
}

// secretAt returns the secret that a setting holds, or its file.
func (c *Config) secretAt(path string) Secret {
	remote := c.KMS.Remote
	if remote == nil {
		remote = &RemoteKMS{}
	}
	switch path {
	case "upstream.credentials.secret_key":
		return c.Upstream.Credentials.SecretKey
	case "kms.remote.api_key":
		return remote.APIKey
	case "kms.remote.key_password":
		return remote.KeyPassword
	case "audit.webhook.token":
		return c.Audit.Webhook.Token
	case "tracing.headers":
		return NewSecret(c.Tracing.Lines())
	}
	return Secret{}
}

// secret says that a setting's texts are none for anybody to read.
func (s Setting) secret() bool { return s.Type == TypeSecret || s.Path == "tracing.headers" }

// normal writes a value as all that mean the same are written.
func (s Setting) normal(text string) string {
	switch s.Type {
	case TypeSize:
		if n, err := parseSize(text); err == nil {
			return formatSize(n)
		}
	case TypeDuration:
		if d, err := time.ParseDuration(text); err == nil {
			return d.String()
		}
	case TypeNumber:
		if n, err := strconv.Atoi(text); err == nil {
			return strconv.Itoa(n)
		}
	}
	return text
}

// rulesText writes each rule of access in one line.
func rulesText(rules []identity.Rule) []string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = fmt.Sprintf("{access_keys: %q, kinds: %q, sources: %q, buckets: %q, keys: %q, uses: %q}", r.AccessKeys, r.Kinds, r.Sources, r.Buckets, r.Keys, r.Uses)
	}
	return lines
}

// Change is a setting that differs between two configurations.
type Change struct {
	Path string `json:"setting"`
	// Before and After are its texts; nil where it has no value. Those of a secret are
	// [redacted].
	Before []string `json:"before"`
	After  []string `json:"after"`
	// Restart says that a running server does not take it up.
	Restart bool `json:"restart"`
}

// Changes compares two lists of Effective, whose tags must have the same key.
func Changes(before, after []Value) (changes []Change) {
	old := make(map[string]Value, len(before))
	for _, v := range before {
		old[v.Path] = v
	}
	for _, v := range after {
		was, ok := old[v.Path]
		delete(old, v.Path)
		if !ok || !slices.Equal(was.Values, v.Values) || was.Tag != v.Tag {
			changes = append(changes, Change{Path: v.Path, Before: was.Values, After: v.Values, Restart: !v.Live})
		}
	}
	for _, v := range before {
		if _, gone := old[v.Path]; gone {
			changes = append(changes, Change{Path: v.Path, Before: v.Values, Restart: !v.Live})
		}
	}
	return changes
}
