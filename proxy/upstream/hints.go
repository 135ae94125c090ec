package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// tlsHint says what to do about a handshake that failed, or "".
func tlsHint(err error) string {
	var unknown x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return "; name the certificate of its authority, or its own, in upstream.ca"
	case errors.As(err, &plain):
		return "; MinIO seems to speak plain HTTP there: upstream.endpoint must then begin with http://"
	}
	return ""
}

// httpToTLS is what Go's server, and so MinIO, answers to plain HTTP where it speaks
// TLS.
const httpToTLS = "Client sent an HTTP request to an HTTPS server."

// speaksTLS says whether an answer means that plain HTTP was spoken to TLS.
func speaksTLS(status int, body []byte) bool {
	return status == http.StatusBadRequest && strings.HasPrefix(string(body), httpToTLS)
}

// errSpeaksTLS says what to do about that.
var errSpeaksTLS = errors.New("MinIO speaks TLS there: upstream.endpoint must begin with https://")

// OwnCredentialHint says what to do about an answer of MinIO's to a request that the
// proxy signed for itself, or "".
func OwnCredentialHint(err error) string {
	const where = " (upstream.credentials, or BUCKETSEAL_ROOT_USER and BUCKETSEAL_ROOT_PASSWORD)"
	code := ""
	var answer *storage.Error
	var other minio.ErrorResponse // of minio-go
	switch {
	case errors.As(err, &answer):
		code = answer.Code
	case errors.As(err, &other):
		code = other.Code
		if strings.HasPrefix(other.Message, httpToTLS) {
			return errSpeaksTLS.Error()
		}
	}
	switch code {
	case "SignatureDoesNotMatch":
		return "MinIO knows the proxy's own access key by another secret; give the right one" + where
	case "InvalidAccessKeyId":
		return "MinIO does not know the proxy's own access key; give one that exists there" + where
	case "AccessDenied":
		return "the proxy's own access key has too few rights at MinIO; docs/configuration.md has the policy that it needs"
	case "RequestTimeTooSkewed":
		return "the clocks of this machine and of MinIO differ by more than MinIO tolerates; set them by NTP"
	}
	return ""
}
