package forwarded

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// certificate returns the PEM of a self-signed certificate.
func certificate(tb testing.TB, name string) string {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestForwardedCertificatesAreRead(t *testing.T) {
	t.Parallel()
	one, two := certificate(t, "one"), certificate(t, "two")
	for name, test := range map[string]struct {
		value string
		want  []string
	}{
		"path escaping":  {url.PathEscape(one), []string{"one"}},
		"form escaping":  {url.QueryEscape(one), []string{"one"}},
		"plus kept":      {strings.ReplaceAll(url.PathEscape(one), "%2B", "+"), []string{"one"}},
		"several":        {url.PathEscape(one + two), []string{"one", "two"}},
		"spaces at ends": {url.PathEscape("\n" + one + " \n"), []string{"one"}},
	} {
		certs, err := ClientCertificates(http.Header{"X-Cert": {test.value}}, "x-cert")
		if err != nil || len(certs) != len(test.want) {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
			continue
		}
		for i, want := range test.want {
			if got := certs[i].Subject.CommonName; got != want {
				t.Errorf("%s: certificate %d is %s, want %s", name, i, got, want)
			}
		}
	}
}

func TestForwardedCertificatesThatCannotBeReadAreNone(t *testing.T) {
	t.Parallel()
	one := certificate(t, "one")
	for name, test := range map[string]struct {
		values []string
		want   error
		text   string
	}{
		"no header":        {nil, ErrNoCertificate, ""},
		"empty":            {[]string{""}, ErrNoCertificate, ""},
		"twice":            {[]string{url.PathEscape(one), url.PathEscape(one)}, ErrManyHeaders, ""},
		"twice, one empty": {[]string{"", url.PathEscape(one)}, ErrManyHeaders, ""},
		"no PEM":           {[]string{"x"}, nil, "not PEM"},
		"bad escape":       {[]string{"%zz"}, nil, "not URL-escaped"},
		"a rest":           {[]string{url.PathEscape(one + "x")}, nil, "not PEM"},
		"a key":            {[]string{url.QueryEscape(strings.ReplaceAll(one, "CERTIFICATE", "PRIVATE KEY"))}, nil, "PEM that is no certificate"},
		"no certificate":   {[]string{url.PathEscape("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}, nil, "x509"},
	} {
		certs, err := ClientCertificates(http.Header{"X-Cert": test.values}, "X-Cert")
		if len(certs) != 0 || err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %d certificates, %v", name, len(certs), err)
		}
	}
}

func FuzzClientCertificates(f *testing.F) {
	text := certificate(f, "one")
	f.Add(url.PathEscape(text))
	f.Add(url.QueryEscape(text))
	f.Add("%zz")
	f.Fuzz(func(t *testing.T, value string) {
		certs, err := ClientCertificates(http.Header{"X-Cert": {value}}, "X-Cert")
		if err == nil && len(certs) == 0 {
			t.Fatal("no certificate and no error")
		}
		if err != nil && len(certs) > 0 {
			t.Fatalf("%d certificates with %v", len(certs), err)
		}
	})
}
