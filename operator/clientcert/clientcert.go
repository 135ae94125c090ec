// Package clientcert says how long a client's certificate, verified in the handshake,
// counts on the connection.
package clientcert

import (
	"crypto/x509"
	"errors"
	"net/http"
	"time"
)

// ErrExpired says that a certificate was valid in the handshake, and is not any more.
var ErrExpired = errors.New("the client's certificate has expired since the handshake")

// farewell is how long before the end of its certificate a connection is closed after an
// answer: who has a new certificate by then comes back with it, and no request is refused.
// It is longer than servers keep idle connections, as a rule.
const farewell = 2 * time.Minute

// End returns when the last of the verified chains ends: a chain ends with the first of its
// certificates. It is zero if there is none.
func End(chains [][]*x509.Certificate) (end time.Time) {
	for _, chain := range chains {
		var first time.Time
		for _, c := range chain {
			if first.IsZero() || c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		if first.After(end) {
			end = first
		}
	}
	return end
}

// Check says whether a certificate that counts until end does so now; a zero end is none.
// answer are the headers of the answer: they close the connection after it if the end has
// come or is near. ErrExpired.
func Check(answer http.Header, end, now time.Time) error {
	if end.IsZero() || now.Before(end.Add(-farewell)) {
		return nil
	}
	answer.Set("Connection", "close") // by HTTP/2, net/http finishes the streams that run
	if now.After(end) {
		return ErrExpired
	}
	return nil
}

// Handler serves requests by next unless the certificate that their connection was verified
// by has expired. Those get 503 without a body, and the connection is closed: clients ask
// again on a new one, whose handshake says what is wrong. now is the clock; nil is time.Now.
func Handler(next http.Handler, now func() time.Time) http.Handler {
	if now == nil {
		now = time.Now
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil && Check(w.Header(), End(r.TLS.VerifiedChains), now()) != nil {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(w, r)
	})
}
