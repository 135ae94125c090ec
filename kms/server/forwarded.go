package server

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/kms/identity"
)

// forwarded returns the identity that a TLS proxy vouches for: that of the one
// certificate in the header, which its CAs may follow. errNoCertificate, errManyCertificates,
// errBadCertificate.
func (st *state) forwarded(r *request) (identity.Identity, error) {
	values := r.Header.Values(st.config.TLS.Proxy.Header)
	switch {
	case len(values) > 1:
		return "", errManyCertificates
	case len(values) == 0 || values[0] == "":
		return "", errNoCertificate
	}
	certs, err := parseForwarded(values[0])
	if err != nil {
		return "", err
	}
	leaf, err := provenLeaf(certs)
	if err != nil {
		return "", err
	}
	if st.proxies[identity.Of(leaf)] {
		return "", fmt.Errorf("%w: it is a proxy's own", errBadCertificate)
	}
	if st.roots != nil {
		if err := st.verify(certs); err != nil {
			return "", err
		}
	}
	return identity.Of(leaf), nil
}

// parseForwarded reads URL-escaped PEM: %20 for a space as nginx writes it, or +
// as forms do.
func parseForwarded(value string) ([]*x509.Certificate, error) {
	text, err := url.PathUnescape(value)
	if err == nil && !strings.Contains(text, "-----BEGIN CERTIFICATE-----") {
		text, err = url.QueryUnescape(value)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: not URL-escaped", errBadCertificate)
	}
	var certs []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(certs) == 0 || strings.TrimSpace(string(rest)) != "" {
				return nil, fmt.Errorf("%w: not PEM", errBadCertificate)
			}
			return certs, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%w: PEM that is no certificate", errBadCertificate)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errBadCertificate, err)
		}
		certs = append(certs, cert)
	}
}
