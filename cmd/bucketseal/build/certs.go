package build

import (
	"crypto/tls"

	"github.com/bucketseal/bucketseal/proxy/certs"
	"github.com/bucketseal/bucketseal/proxy/config"
)

// FrontTLS returns how S3 is served by TLS, nil for plain HTTP.
func FrontTLS(c config.TLS, files *certs.Watcher) (*tls.Config, error) {
	if !c.Enabled() {
		return nil, nil
	}
	o := certs.ServerOptions{MinVersion: tls.VersionTLS12}
	if c.MinVersion == "1.3" {
		o.MinVersion = tls.VersionTLS13
	}
	var err error
	if c.CertsDir != "" {
		o.Certificates, err = files.Folder(c.CertsDir)
	} else {
		o.Certificates, err = files.File(c.Cert, c.Key)
	}
	if err != nil {
		return nil, err
	}
	switch c.ClientAuth {
	case config.ClientAuthRequest:
		o.ClientAuth = tls.VerifyClientCertIfGiven
	case config.ClientAuthRequire:
		o.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return certs.ServerConfig(o), nil
	}
	from := c.ClientCA
	if from == "" {
		from = certs.CAsIn(c.CertsDir)
	}
	o.ClientCAs, err = files.Pool("tls.client_ca", from, false)
	return certs.ServerConfig(o), err
}

// upstreamTLS returns how MinIO is reached by TLS. What upstream.ca names is
// trusted alone; else the system's authorities are, and those in the folder of
// the server's certificates, as MinIO has them.
func upstreamTLS(c *config.Config, files *certs.Watcher) (func() *tls.Config, error) {
	var roots *certs.Pool
	var own *certs.Pair
	var err error
	if c.Upstream.CA != "" {
		roots, err = files.Pool("upstream.ca", c.Upstream.CA, false)
	} else if c.TLS.CertsDir != "" {
		roots, err = files.Pool("folder of certificate authorities", certs.CAsIn(c.TLS.CertsDir), true)
	}
	if err == nil && c.Upstream.Cert != "" {
		own, err = files.Pair("upstream.cert", c.Upstream.Cert, c.Upstream.Key)
	}
	return certs.ClientConfig(roots, own), err
}
