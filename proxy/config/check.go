package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/bucketseal/bucketseal/operator/yamlfile"
)

// originOf returns where a setting, or the section it is in, was given.
func (c *Config) originOf(path string) yamlfile.Place { return c.origin[path] }

// finish fills what follows from other settings and checks how they fit.
func (c *Config) finish(errs *yamlfile.Problems) {
	if c.Upstream.Region == "" {
		c.Upstream.Region = c.Region
	}
	if c.SSES3.Key == "" {
		c.SSES3.Key = c.DefaultKey
	}
	if slices.Contains(c.SSES3.FormerKeys, c.SSES3.Key) {
		errs.Add(c.originOf("sse_s3.former_keys"), "sse_s3.former_keys", "%q is the current SSE-S3 key; list former ones only", c.SSES3.Key)
	}
	c.finishETags(errs)
	if c.SmallObject.Budget < c.SmallObject.Size {
		errs.Add(c.originOf("small_object"), "small_object", "the budget is smaller than the size of one small object; raise budget or lower size")
	}
	if c.Profiling && c.MetricsAddress == "" {
		errs.Add(c.originOf("metrics.profiling"), "metrics.profiling", "there is no metrics.address to serve profiles at")
	}
	c.finishService(errs)
	c.finishTLS(errs)
	c.finishKMS(errs)
	c.finishAudit(errs)
	c.finishConsole(errs)
	if c.holdsSecret {
		c.warnReadable(c.File)
	}
}

// finishETags checks that what sse_s3's lists say differs from sse_s3.etag.
func (c *Config) finishETags(errs *yamlfile.Problems) {
	s := &c.SSES3
	switch {
	case s.ETag == ETagMD5 && len(s.MD5ETag) > 0:
		errs.Add(c.originOf("sse_s3.md5_etag"), "sse_s3.md5_etag", "sse_s3.etag is md5 for every bucket; list those that are to differ in opaque_etag, or set etag: opaque")
	case s.ETag == ETagOpaque && len(s.OpaqueETag) > 0:
		errs.Add(c.originOf("sse_s3.opaque_etag"), "sse_s3.opaque_etag", "sse_s3.etag is opaque for every bucket; list those that are to differ in md5_etag, or set etag: md5")
	case s.ETag == ETagOpaque:
		s.OpaqueETag = []string{"*"}
	}
}

// finishService completes the proxy's own credential.
func (c *Config) finishService(errs *yamlfile.Problems) {
	const path = "upstream.credentials"
	if errs.About(path) { // what is missing now is not what is wrong
		return
	}
	own, at := &c.Upstream.Credentials, c.originOf(path)
	secret, err := oneSecret(c, "secret_key", own.SecretKey, own.SecretKeyFile, checkSecretKey)
	switch {
	case err != nil:
		errs.Add(at, path, "%v", err)
	case secret.IsZero() && own.AccessKey != "":
		errs.Add(at, path, "access key %q has no secret; add secret_key or secret_key_file", own.AccessKey)
	case !secret.IsZero() && own.AccessKey == "":
		errs.Add(at, path, "there is a secret without an access_key")
	}
	own.SecretKey = secret
	if err == nil {
		c.finishClients(errs)
	}
}

// finishClients looks at the pairs that MinIO knows: the proxy's own, and those of clients.
func (c *Config) finishClients(errs *yamlfile.Problems) {
	const path = "credentials"
	own, at := &c.Upstream.Credentials, c.originOf(path)
	secrets := map[string]Secret{own.AccessKey: own.SecretKey}
	for i := range c.Credentials {
		client := &c.Credentials[i]
		pair := client.AtUpstream()
		known, twice := secrets[pair.AccessKey]
		switch {
		case own.AccessKey != "" && pair.AccessKey == own.AccessKey && client.Upstream != nil:
			errs.Add(at, path, "access key %q has the proxy's own access key as upstream; that is for the system bucket: give it a user of MinIO of its own", client.AccessKey)
		case own.AccessKey != "" && client.AccessKey == own.AccessKey && client.Upstream != nil:
			errs.Add(at, path, "access key %q is the proxy's own, which has no upstream; give the client another one", client.AccessKey)
		case client.Upstream != nil && pair.SecretKey == client.SecretKey:
			errs.Add(at, path, "access key %q has the same secret in upstream, so that MinIO would know it; give another one, or leave upstream out", client.AccessKey)
		case twice && pair.AccessKey == own.AccessKey && known != pair.SecretKey:
			errs.Add(c.originOf("upstream.credentials"), "upstream.credentials", "access key %q has another secret in credentials; MinIO knows only one", own.AccessKey)
		case twice && known != pair.SecretKey:
			errs.Add(at, path, "access key %q has two secrets at MinIO, which knows only one; see upstream of those who use it", pair.AccessKey)
		}
		secrets[pair.AccessKey] = pair.SecretKey
	}
}

func (c *Config) finishTLS(errs *yamlfile.Problems) {
	at := c.originOf("tls")
	switch t := c.TLS; {
	case t.CertsDir != "" && (t.Cert != "" || t.Key != ""):
		errs.Add(at, "tls", "both certs_dir and cert or key are given; give one of the two")
	case t.Cert != "" && t.Key == "":
		errs.Add(at, "tls", "cert is given without key")
	case t.Cert == "" && t.Key != "":
		errs.Add(at, "tls", "key is given without cert")
	case t.Key != "":
		c.warnReadable(t.Key)
	case t.CertsDir != "":
		c.warnReadable(filepath.Join(t.CertsDir, "private.key"))
	}
	switch t := c.TLS; {
	case t.ClientAuth != ClientAuthOff && !t.Enabled():
		errs.Add(at, "tls", "client_auth is given, but the server has no certificate; give certs_dir, or cert and key")
	case t.ClientAuth != ClientAuthOff && t.ClientCA == "" && t.CertsDir == "":
		errs.Add(at, "tls", "client_auth needs client_ca: the authorities that sign clients' certificates")
	case t.ClientAuth == ClientAuthOff && t.ClientCA != "":
		errs.Add(at, "tls", "client_ca is given, but client_auth is off; set it to request or require")
	}
	u, at := c.Upstream, c.originOf("upstream")
	switch {
	case (u.Cert == "") != (u.Key == ""):
		errs.Add(at, "upstream", "a client certificate needs both cert and key")
	case u.Key != "" && u.Endpoint.Scheme == "http":
		errs.Add(at, "upstream", "a client certificate is given, but endpoint is plain http")
	case u.Key != "":
		c.warnReadable(u.Key)
	}
}

func (c *Config) finishKMS(errs *yamlfile.Problems) {
	if !c.KMS.IsZero() && c.DataDir != "" {
		c.Warnings = append(c.Warnings, "data_dir is not used: the keys come from where kms says")
	}
	r := c.KMS.Remote
	if r == nil {
		return
	}
	const path = "kms.remote"
	if errs.About(path) {
		return
	}
	at := c.originOf(path)
	var err error
	if r.APIKey, err = oneSecret(c, "api_key", r.APIKey, r.APIKeyFile, notEmpty); err != nil {
		errs.Add(at, path, "%v", err)
		return
	}
	if r.KeyPassword, err = oneSecret(c, "key_password", r.KeyPassword, r.KeyPasswordFile, notEmpty); err != nil {
		errs.Add(at, path, "%v", err)
		return
	}
	certificate := r.Cert != "" && r.Key != ""
	switch {
	case len(r.Endpoints) == 0:
		errs.Add(at, path, "there are no endpoints; list at least one, as in https://127.0.0.1:7373")
	case (r.Cert == "") != (r.Key == ""):
		errs.Add(at, path, "a client certificate needs both cert and key")
	case certificate && !r.APIKey.IsZero():
		errs.Add(at, path, "both an API key and a certificate are given; give one of the two")
	case !certificate && r.APIKey.IsZero():
		errs.Add(at, path, "nothing says who we are; give api_key, api_key_file, or cert and key")
	case certificate:
		c.warnReadable(r.Key)
	}
}

// CheckCredential says whether a pair could stand in a configuration.
func CheckCredential(accessKey, secretKey string) error {
	if err := checkAccessKey(accessKey); err != nil {
		return err
	}
	return checkSecretKey(secretKey)
}

// CheckServer says what `bucketseal server` misses. ErrInvalid.
func (c *Config) CheckServer() error {
	var errs yamlfile.Problems
	root := fmt.Sprintf("or set %s and %s", EnvRootUser, EnvRootPassword)
	if len(c.Credentials) == 0 {
		errs.Add(c.fileOrigin(), "credentials", "there are none, so nobody could sign a request; list access_key and secret_key of each client, %s", root)
	}
	if c.Upstream.Credentials.AccessKey == "" {
		errs.Add(c.fileOrigin(), "upstream.credentials", "the proxy needs a credential of its own at MinIO, for its system bucket; give access_key and secret_key, %s", root)
	}
	for _, file := range []struct{ setting, path string }{
		{"tls.certs_dir", c.TLS.CertsDir},
		{"tls.cert", c.TLS.Cert},
		{"tls.key", c.TLS.Key},
		{"tls.client_ca", c.TLS.ClientCA},
		{"upstream.ca", c.Upstream.CA},
		{"upstream.cert", c.Upstream.Cert},
		{"upstream.key", c.Upstream.Key},
		{"kms.config", c.KMS.File},
	} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			errs.Add(c.originOf(file.setting), file.setting, "%v", err)
		}
	}
	c.checkKeys(&errs)
	errs.Sort()
	return errs.Err()
}

// CheckKeys says what is missing to find the keys. ErrInvalid.
func (c *Config) CheckKeys() error {
	var errs yamlfile.Problems
	c.checkKeys(&errs)
	return errs.Err()
}

func (c *Config) checkKeys(errs *yamlfile.Problems) {
	if c.KMS.IsZero() && c.DataDir == "" {
		errs.Add(c.fileOrigin(), "data_dir", "nothing says where keys are kept; give data_dir, --data-dir or BUCKETSEAL_DATA_DIR, or a kms section")
	}
}

func (c *Config) fileOrigin() yamlfile.Place { return yamlfile.Place{Name: c.File} }
