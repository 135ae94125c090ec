package config

import (
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

func (d *decoder) decodeTLS(n *node) TLS {
	var t TLS
	d.mapping(n, "tls", fields{
		"key":      func(v *node) { t.Key = d.text(v) },
		"cert":     func(v *node) { t.Cert = d.text(v) },
		"password": func(v *node) { t.Password = Secret(d.text(v)) },
		"ca":       func(v *node) { t.CA = d.text(v) },
		"auth": func(v *node) {
			switch strings.ToLower(d.text(v)) {
			case "on", "true":
				t.Auth = true
			case "off", "false", "":
			default:
				d.errorf(v, "tls.auth: write on or off")
			}
		},
		"proxy": func(v *node) { t.Proxy = d.decodeProxy(v) },
	})
	return t
}

func (d *decoder) decodeProxy(n *node) TLSProxy {
	var p TLSProxy
	d.mapping(n, "tls.proxy", fields{
		"identities": func(v *node) {
			d.list(v, "tls.proxy.identities", func(v *node) {
				text := d.required(v, "tls.proxy.identities")
				id, err := identity.Parse(text)
				switch {
				case text == "": // reported
				case err != nil:
					d.errorf(v, "tls.proxy.identities: %s", howToIdentity)
				case slices.Contains(p.Identities, id):
					d.errorf(v, "tls.proxy.identities: this identity is there twice; keep one")
				default:
					p.Identities = append(p.Identities, id)
				}
			})
		},
		"header": func(v *node) {
			d.mapping(v, "tls.proxy.header", fields{"cert": func(v *node) {
				p.Header = d.text(v)
				if strings.Trim(strings.ToLower(p.Header), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
					d.errorf(v, "tls.proxy.header.cert: not the name of an HTTP header")
				}
			}})
		},
	})
	if len(p.Identities) > 0 && p.Header == "" {
		p.Header = DefaultProxyHeader
	}
	return p
}

const howToIdentity = "not an identity; 64 hexadecimal digits are expected, as \"bucketseal identity of FILE\" prints them"

// decodePolicies needs admin and TLS proxies to be known.
func (d *decoder) decodePolicies(n *node, c *Config) map[string]Policy {
	if n.Kind != yamlfile.Mapping && n.Kind != yamlfile.Null {
		d.errorf(n, "policy: a mapping from names to policies is expected, not %s", kindOf(n))
		return nil
	}
	policies := make(map[string]Policy, len(n.Fields))
	owner := make(map[identity.Identity]string)
	for _, f := range n.Fields {
		name := f.Key.Text
		if kms.ValidateKeyName(name) != nil {
			d.warnf(f.Key, "policy %q works, but cannot be asked for over the API; use up to 80 letters, digits, - and _ in its name", name)
		}
		policies[name] = d.decodePolicy(f.Value, name, c, owner)
	}
	return policies
}

func (d *decoder) decodePolicy(n *node, name string, c *Config, owner map[identity.Identity]string) Policy {
	var p Policy
	what := "policy." + name
	var allow *node
	d.mapping(n, what, fields{
		"allow": func(v *node) {
			allow = d.once(v, allow, what+".paths and allow")
			p.Allow = d.decodePatterns(v, what+".allow")
		},
		"paths": func(v *node) {
			d.deprecated(v, what+".paths", what+".allow")
			allow = d.once(v, allow, what+".paths and allow")
			p.Allow = d.decodePatterns(v, what+".paths")
		},
		"deny":       func(v *node) { p.Deny = d.decodePatterns(v, what+".deny") },
		"bucketseal": func(v *node) { p.Bucketseal = d.boolean(v, what+".bucketseal") },
		"identities": func(v *node) {
			d.list(v, what+".identities", func(v *node) {
				if id, ok := d.policyIdentity(v, name, c, owner); ok {
					p.Identities = append(p.Identities, id)
				}
			})
		},
	})
	return p
}

// policyIdentity refuses an identity whose rights would be ambiguous.
func (d *decoder) policyIdentity(n *node, policy string, c *Config, owner map[identity.Identity]string) (identity.Identity, bool) {
	what := "policy." + policy + ".identities"
	text := d.required(n, what)
	if text == "" {
		return "", false
	}
	id, err := identity.Parse(text)
	if err != nil {
		d.warnf(n, "%s: an entry that no certificate can have is left out: %s", what, howToIdentity)
		return "", false
	}
	other, taken := owner[id]
	switch {
	case id == c.Admin:
		d.errorf(n, "%s: %s is the admin and may do everything; remove it here", what, id)
	case slices.Contains(c.TLS.Proxy.Identities, id):
		d.errorf(n, "%s: %s is a TLS proxy and speaks for others only; remove it here", what, id)
	case taken:
		d.errorf(n, "%s: %s is in policy %q already; an identity has exactly one policy", what, id, other)
	default:
		owner[id] = policy
		return id, true
	}
	return "", false
}

// decodePatterns takes patterns as written: no environment variables.
func (d *decoder) decodePatterns(n *node, what string) []string {
	var patterns []string
	d.list(n, what, func(v *node) {
		pattern := d.raw(v)
		d.checkPattern(v, pattern, what)
		patterns = append(patterns, pattern)
	})
	return patterns
}

// checkPattern warns of what does not mean what it meant to path.Match in older
// releases of KES.
func (d *decoder) checkPattern(n *node, pattern, what string) {
	prefix := strings.TrimSuffix(pattern, "*")
	switch {
	case pattern == "":
		d.errorf(n, "%s: an empty pattern matches nothing; remove it", what)
	case strings.ContainsAny(prefix, "*?[]\\"):
		d.warnf(n, "%s: %q: only a * at the end of a pattern is special; *, ?, [, ] and \\ elsewhere stand for themselves, unlike in old releases of KES", what, pattern)
	case isReference(pattern):
		d.warnf(n, "%s: %q: environment variables are not expanded in patterns", what, pattern)
	case pattern != "*" && !strings.HasPrefix(pattern, "/"):
		d.warnf(n, "%s: %q matches nothing, as every path begins with /", what, pattern)
	}
}

func isReference(text string) bool {
	_, ok := reference(text)
	return ok
}

func (d *decoder) decodeAPI(n *node) map[string]Endpoint {
	if n.Kind != yamlfile.Mapping && n.Kind != yamlfile.Null {
		d.errorf(n, "api: a mapping from paths to settings is expected, not %s", kindOf(n))
		return nil
	}
	api := make(map[string]Endpoint, len(n.Fields))
	for _, f := range n.Fields {
		path := f.Key.Text
		if !slices.Contains(APIPaths(), path) && slices.Contains(APIPaths(), path+"/") {
			path += "/"
		}
		if !slices.Contains(APIPaths(), path) {
			d.errorf(f.Key, "api: there is no API %q; known are %s", path, strings.Join(APIPaths(), ", "))
			continue
		}
		if _, twice := api[path]; twice {
			d.errorf(f.Key, "api: %s is there twice, with and without / at its end; keep one", path)
		}
		api[path] = d.decodeEndpoint(f.Value, path)
	}
	return api
}

func (d *decoder) decodeEndpoint(n *node, path string) Endpoint {
	var e Endpoint
	what := "api." + path
	d.mapping(n, what, fields{
		"timeout": func(v *node) { e.Timeout = d.duration(v, what+".timeout") },
		"skip_auth": func(v *node) {
			e.SkipAuth = d.boolean(v, what+".skip_auth")
			if e.SkipAuth && !slices.Contains(SkippableAPI(), path) {
				d.errorf(v, "%s.skip_auth would let anybody in without a certificate; it is possible only for %s", what, strings.Join(SkippableAPI(), ", "))
			}
		},
	})
	return e
}
