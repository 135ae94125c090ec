package forwarded

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Sentinels of ClientCertificates.
var (
	// ErrNoCertificate says that the header is missing or empty.
	ErrNoCertificate = errors.New("no client certificate is forwarded")
	// ErrManyHeaders says that the header is there more than once. Which of them the
	// proxy wrote cannot be told.
	ErrManyHeaders = errors.New("more than one client certificate is forwarded")
)

// ClientCertificates returns the certificates in the header that name names: the
// client's own, and those that follow it. There is at least one. The header holds
// URL-escaped PEM, as TLS proxies write it. ErrNoCertificate, ErrManyHeaders, or an
// error that says what is wrong with the value.
//
// Nothing is verified. Call it only where the connection has proved to be a proxy's.
func ClientCertificates(h http.Header, name string) ([]*x509.Certificate, error) {
	values := h.Values(name)
	switch {
	case len(values) > 1:
		return nil, ErrManyHeaders
	case len(values) == 0 || values[0] == "":
		return nil, ErrNoCertificate
	}
	return parseCertificates(values[0])
}

// parseCertificates reads URL-escaped PEM: %20 for a space as nginx writes it, or +
// as forms do.
func parseCertificates(value string) ([]*x509.Certificate, error) {
	text, err := url.PathUnescape(value)
	if err == nil && !strings.Contains(text, "-----BEGIN CERTIFICATE-----") {
		text, err = url.QueryUnescape(value)
	}
	if err != nil {
		return nil, errors.New("not URL-escaped")
	}
	var certs []*x509.Certificate
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(certs) == 0 || strings.TrimSpace(string(rest)) != "" {
				return nil, errors.New("not PEM")
			}
			return certs, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, errors.New("PEM that is no certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
}
