package config

import (
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// credentials reads the list of the clients' credentials.
func (r *fileReader) credentials(e entry) {
	const path = "credentials"
	if e.value.Kind != yamlfile.List {
		r.errs.Add(r.at(e.value), path, "this is %s; it must be a list of \"- access_key: ...\" with \"secret_key: ...\" below it", kindOf(e.value))
		return
	}
	r.config.Credentials = nil
	seen := make(map[string]yamlfile.Place)
	for _, item := range e.value.Items {
		at := r.at(item)
		c, ok := r.credential(path, item)
		if !ok {
			continue
		}
		if before, twice := seen[c.AccessKey]; twice {
			r.errs.Add(at, path, "access key %q is listed twice, first in line %d; remove one", c.AccessKey, before.Line)
			continue
		}
		seen[c.AccessKey] = at
		r.config.Credentials = append(r.config.Credentials, c)
	}
}

// credential reads a client's credential, or the pair that it has at MinIO.
func (r *fileReader) credential(path string, n *yamlfile.Node) (Credential, bool) {
	const own = "credentials.upstream"
	var c Credential
	before := len(*r.errs)
	entries, ok := r.entries(path, n)
	if !ok {
		return c, false
	}
	for _, e := range entries {
		switch {
		case e.name == "upstream" && path != own:
			if pair, ok := r.credential(own, e.value); ok {
				c.Upstream = &pair
			}
		case e.name == "access_key":
			r.value(path, e, checkAccessKey, func(v string) { c.AccessKey = v })
		case e.name == "secret_key":
			r.value(path, e, checkSecretKey, func(v string) { c.SecretKey = NewSecret(v) })
		case e.name == "secret_key_file":
			r.value(path, e, notEmpty, func(v string) { c.SecretKeyFile = r.path(v) })
		default:
			r.errs.Add(e.at, join(path, e.name), "unknown setting; a credential has access_key, and secret_key or secret_key_file; one of a client may have upstream with them")
		}
	}
	if len(*r.errs) > before {
		return c, false
	}
	at := r.at(n)
	if c.AccessKey == "" {
		r.errs.Add(at, path, "this credential has no access_key")
		return c, false
	}
	return c, r.secretOf(path, at, &c)
}

// secretOf reads a credential's secret from its file, if that is where it lies.
func (r *fileReader) secretOf(path string, at yamlfile.Place, c *Credential) bool {
	secret, err := oneSecret(r.config, "secret_key", c.SecretKey, c.SecretKeyFile, checkSecretKey)
	switch {
	case err != nil:
		r.errs.Add(at, path, "%v", err)
	case secret.IsZero():
		r.errs.Add(at, path, "access key %q has no secret; add secret_key or secret_key_file", c.AccessKey)
	default:
		c.SecretKey = secret
		return true
	}
	return false
}

func (r *fileReader) value(path string, e entry, check func(string) error, set func(string)) {
	full := join(path, e.name)
	typ := TypeString
	if e.name == "secret_key" {
		typ = TypeSecret
	}
	v, ok := r.scalar(full, typ, e.value)
	if !ok {
		return
	}
	if err := check(v); err != nil {
		r.errs.Add(r.at(e.value), full, "%v", err)
		return
	}
	set(v)
}

// kms reads where keys come from: a reference to a file, to servers, or a KES
// configuration in this place, which is left to its own parser.
func (r *fileReader) kms(e entry) {
	if e.value.Kind == yamlfile.Null {
		return
	}
	entries, ok := r.entries("kms", e.value)
	if !ok {
		return
	}
	ours := slices.ContainsFunc(entries, func(e entry) bool { return e.name == "config" || e.name == "remote" })
	if !ours {
		r.rawKMS(e)
		return
	}
	for _, inner := range entries {
		full := join("kms", inner.name)
		r.config.origin[full] = inner.at
		switch s, known := r.settings[full]; {
		case len(entries) > 1:
			r.errs.Add(inner.at, full, "kms takes one of: config, remote, or a KES configuration with a keystore; remove the others")
			return
		case known:
			r.setting(s, inner)
		default:
			r.config.KMS.Remote = &RemoteKMS{}
			r.section(full, inner.value)
		}
	}
}

// rawKMS cuts the section out, in its place.
func (r *fileReader) rawKMS(e entry) {
	below, ok := r.source.Below(e.key)
	if !ok {
		r.errs.Add(e.at, "kms", "write this section in block style: \"kms:\" at the beginning of a line, its settings indented below it")
		return
	}
	r.config.KMS.Section = &Section{File: r.file, YAML: below, Line: e.value.Line, Column: e.value.Column}
}

// unknown refuses a setting that does not exist and says which one may be meant.
func (r *fileReader) unknown(path string, e entry) {
	var siblings []string
	add := func(full string) {
		rest, below := full, true
		if path != "" {
			rest, below = strings.CutPrefix(full, path+".")
		}
		name, _, _ := strings.Cut(rest, ".")
		if below && name != "" && !slices.Contains(siblings, name) {
			siblings = append(siblings, name)
		}
	}
	for full := range r.settings {
		add(full)
	}
	switch path {
	case "access":
		siblings = append(siblings, "rules")
	case "":
		siblings = append(siblings, "credentials")
	}
	slices.Sort(siblings)
	full := join(path, e.name)
	if path == "" && slices.Contains([]string{"keystore", "policy", "admin", "root", "keys", "cache", "api"}, e.name) {
		r.errs.Add(e.at, full, "a setting of a key server: is this the file of bucketseal kms server, or of KES? Commands ask that server "+
			"(--server, MINIO_KES_SERVER); a proxy's file names it by kms.config, or has its content below kms")
		return
	}
	if best := yamlfile.Nearest(e.name, siblings); best != "" {
		r.errs.Add(e.at, full, "unknown setting; do you mean %s?", best)
		return
	}
	r.errs.Add(e.at, full, "unknown setting; possible here: %s", strings.Join(siblings, ", "))
}
