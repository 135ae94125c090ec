package certs

import "crypto/tls"

// ServerOptions say how a server speaks TLS.
type ServerOptions struct {
	// Certificates are the server's. Required.
	Certificates *Server
	// MinVersion is the oldest version spoken; 0 means TLS 1.2.
	MinVersion uint16
	// ClientAuth says whether clients must, may or need not show a certificate:
	// tls.NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert.
	ClientAuth tls.ClientAuthType
	// ClientCAs signed the clients' certificates. Required unless ClientAuth is
	// tls.NoClientCert.
	ClientCAs *Pool
}

// ServerConfig returns a configuration that always uses the files in force. It
// offers HTTP/2 and HTTP/1.1.
func ServerConfig(o ServerOptions) *tls.Config {
	base := &tls.Config{
		MinVersion:     max(o.MinVersion, tls.VersionTLS12),
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: o.Certificates.Get,
		ClientAuth:     o.ClientAuth,
	}
	if o.ClientAuth == tls.NoClientCert {
		return base
	}
	// A resumed session would outlive the authority that vouched for it.
	base.SessionTicketsDisabled = true
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := base.Clone()
		c.ClientCAs = o.ClientCAs.Get()
		return c, nil
	}
	return outer
}

// ClientConfig returns a function that makes the configuration of one connection
// to a server, with the files in force. roots nil means the system's
// authorities, own nil no client certificate.
func ClientConfig(roots *Pool, own *Pair) func() *tls.Config {
	return func() *tls.Config {
		c := &tls.Config{MinVersion: tls.VersionTLS12}
		if roots != nil {
			c.RootCAs = roots.Get()
		}
		if own != nil {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.Get(), nil }
		}
		return c
	}
}
