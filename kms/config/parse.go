package config

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// Load reads a key server's configuration file, with the process's environment.
// ErrInvalid, or the error of reading the file.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key service configuration: %w", err)
	}
	return Parse(path, data, os.LookupEnv)
}

// Parse reads a key server's configuration. name is what errors call the file.
// ErrInvalid.
func Parse(name string, data []byte, lookupEnv func(string) (string, bool)) (*Config, error) {
	root, err := read(name, data)
	if err != nil {
		return nil, err
	}
	return decode(name, root, false, lookupEnv)
}

// ParseEmbedded reads the key service's section of another program's file, or
// with an empty section a whole file for use in a process. Positions in errors
// are those in the file. There, nothing has to listen: address, tls, admin and
// keystore may be missing; with an address, all rules of a server hold.
// ErrInvalid, also for a file without that section.
func ParseEmbedded(name string, data []byte, section string, lookupEnv func(string) (string, bool)) (*Config, error) {
	root, err := read(name, data)
	if err != nil {
		return nil, err
	}
	if section != "" {
		inner := root.Field(section)
		if inner == nil {
			return nil, invalid(name, root.Line, root.Column, "there is no section %q", section)
		}
		root = inner
	}
	return decode(name, root, true, lookupEnv)
}

// maxFileSize bounds a configuration file, in bytes.
const maxFileSize = 1 << 20

// read parses the file, which may use all of YAML, as those of KES do. Errors quote
// nothing of it.
func read(name string, data []byte) (*node, error) {
	if len(data) > maxFileSize {
		return nil, invalid(name, 1, 1, "the file is larger than %d bytes", maxFileSize)
	}
	root, err := yamlfile.NewSource(data).Parse(yamlfile.Full)
	s, wrong := errors.AsType[*yamlfile.SyntaxError](err)
	switch {
	case !wrong:
		return root, err
	case s.Line == 0:
		return nil, invalid(name, 1, 1, "%v", s)
	case errors.Is(err, yamlfile.ErrNotYAML):
		return nil, invalid(name, s.Line, s.Column, "not valid YAML here; look at the indentation, quotes and colons of this line and the one before; inside [ ] and { }, ${NAME} needs quotes")
	}
	return nil, invalid(name, s.Line, s.Column, "%v", s)
}

// invalid returns a single mistake.
func invalid(name string, line, column int, format string, args ...any) error {
	var errs yamlfile.Problems
	errs.Add(yamlfile.Place{Name: name, Line: line, Column: column}, "", format, args...)
	return errs.Err()
}

func decode(name string, root *node, embedded bool, lookupEnv func(string) (string, bool)) (*Config, error) {
	d := &decoder{name: name, lookupEnv: lookupEnv}
	c := d.decodeConfig(root, embedded)
	if err := d.errs.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(d.warnings, func(a, b Warning) int { return a.Line - b.Line })
	c.Name, c.Warnings = name, d.warnings
	return c, nil
}

func (d *decoder) decodeConfig(root *node, embedded bool) *Config {
	c := &Config{
		Cache: Cache{Any: DefaultCacheAny, Unused: DefaultCacheUnused},
		Log:   Log{Error: slog.LevelInfo, Audit: slog.LevelInfo},
	}
	var admin, keys, keystore, policies *node
	d.mapping(root, "configuration", fields{
		"version": d.decodeVersion,
		"address": func(v *node) { c.Address = d.decodeAddress(v) },
		"root": func(v *node) {
			d.deprecated(v, "root", "admin.identity")
			admin = d.once(v, admin, "root and admin.identity")
		},
		"admin": func(v *node) {
			d.mapping(v, "admin", fields{"identity": func(v *node) { admin = d.once(v, admin, "root and admin.identity") }})
		},
		"tls":      func(v *node) { c.TLS = d.decodeTLS(v) },
		"policy":   func(v *node) { policies = v },
		"cache":    func(v *node) { d.decodeCache(v, &c.Cache) },
		"api":      func(v *node) { c.API = d.decodeAPI(v) },
		"log":      func(v *node) { d.decodeLog(v, &c.Log) },
		"keys":     func(v *node) { keys = v },
		"keystore": func(v *node) { keystore = v },

		"rotate_after": func(v *node) { c.RotateAfter = d.decodeRotateAfter(v) },
		"tracing":      func(v *node) { c.Tracing = decodeTracing(d, v, embedded) },
	})
	if keys != nil && keys.Kind == yamlfile.Mapping {
		d.deprecated(keys, "a key store under keys", "it under keystore, and a list of names under keys")
		keystore, keys = d.once(keys, keystore, "keystore and a mapping under keys"), nil
	}
	if keys != nil {
		c.Keys = d.decodeKeys(keys)
	}
	if keystore != nil {
		c.KeyStore = d.decodeKeyStore(keystore)
	} else if !embedded {
		d.errorf(root, "keystore is missing; add it with one of fs, aws.secretsmanager, aws.kms or mem")
	}
	d.decodeAdmin(admin, root, c, embedded)
	if policies != nil {
		c.Policies = d.decodePolicies(policies, c)
	}
	d.checkServer(root, c, embedded)
	return c
}

// once refuses a setting that is made by its old and its new name.
func (d *decoder) once(n, before *node, what string) *node {
	if before != nil {
		d.errorf(n, "%s say the same thing twice; keep one", what)
	}
	return n
}

// checkServer asks for what only a server needs.
func (d *decoder) checkServer(root *node, c *Config, embedded bool) {
	if c.Address == "" && embedded {
		return
	}
	if c.Address == "" {
		c.Address = DefaultAddress
	}
	if c.TLS.Key == "" || c.TLS.Cert == "" {
		where := root
		if n := root.Field("tls"); n != nil {
			where = n
		}
		d.errorf(where, "tls.key and tls.cert are needed to listen; name the PEM files of the server's private key and certificate")
	}
}

func (d *decoder) decodeVersion(n *node) {
	if v := d.raw(n); v != "v1" && v != "" {
		d.errorf(n, "version: only v1 is known; write v1 or leave it out")
	}
}

func (d *decoder) decodeAddress(n *node) string {
	text := d.text(n)
	if text == "" {
		return ""
	}
	host, port, err := net.SplitHostPort(text)
	number, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || (host != "" && net.ParseIP(host) == nil) {
		d.errorf(n, "address: IP:PORT is expected, such as %s; a host name is not accepted", DefaultAddress)
		return ""
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10))
}

// decodeAdmin accepts an identity, or, as KES does, any other word for nobody.
func (d *decoder) decodeAdmin(n, root *node, c *Config, embedded bool) {
	if n == nil {
		if !embedded || c.Address != "" {
			d.errorf(root, "admin.identity is missing; set it to an identity, or to disabled if nobody is to have all rights")
		}
		return
	}
	text := d.required(n, "admin.identity")
	id, err := identity.Parse(text)
	switch {
	case err == nil:
		c.Admin = id
	case text != "" && text != "disabled" && text != "_":
		d.warnf(n, "admin.identity is not an identity (64 hexadecimal digits), so there is no admin; write disabled if that is meant")
	}
}

func (d *decoder) decodeKeys(n *node) []string {
	var names []string
	d.list(n, "keys", func(item *node) {
		var name *node
		d.mapping(item, "keys", fields{"name": func(v *node) { name = v }})
		if name == nil {
			d.errorf(item, "keys: every entry needs a name, written as \"- name: NAME\"")
			return
		}
		text := d.text(name)
		switch {
		case kms.ValidateKeyName(text) != nil:
			d.errorf(name, "keys: %q cannot be a key's name; use up to 80 letters, digits, - and _, with no - at either end", text)
		case slices.Contains(names, text):
			d.errorf(name, "keys: %q is there twice; keep one", text)
		default:
			names = append(names, text)
		}
	})
	return names
}

func (d *decoder) decodeCache(n *node, c *Cache) {
	// 0 is the default, as in KES.
	d.mapping(n, "cache", fields{"expiry": func(v *node) {
		d.mapping(v, "cache.expiry", fields{
			"any":     func(v *node) { c.Any = cmp.Or(d.duration(v, "cache.expiry.any"), c.Any) },
			"unused":  func(v *node) { c.Unused = cmp.Or(d.duration(v, "cache.expiry.unused"), c.Unused) },
			"offline": func(v *node) { c.Offline = d.duration(v, "cache.expiry.offline") },
		})
	}})
}

func (d *decoder) decodeLog(n *node, l *Log) {
	d.mapping(n, "log", fields{
		"error":          func(v *node) { l.Error = d.level(v, "log.error") },
		"audit":          func(v *node) { l.Audit = d.level(v, "log.audit") },
		"audit_file":     func(v *node) { l.AuditFile = decodeAuditFile(d, v) },
		"audit_required": func(v *node) { l.AuditRequired = d.boolean(v, "log.audit_required") },
		"format": func(v *node) {
			switch d.text(v) {
			case "text", "":
				l.JSON = false
			case "json":
				l.JSON = true
			default:
				d.errorf(v, "log.format: write text or json")
			}
		},
	})
}

func (d *decoder) level(n *node, what string) slog.Level {
	text := strings.TrimSpace(d.text(n))
	switch strings.ToLower(text) {
	case "", "on", "true":
		return slog.LevelInfo
	case "off", "false":
		return LevelOff
	}
	if number, err := strconv.ParseInt(text, 10, 16); err == nil {
		return slog.Level(number)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		d.errorf(n, "%s: write on, off, DEBUG, INFO, WARN or ERROR, with a number added if need be, such as INFO+2", what)
	}
	return level
}
