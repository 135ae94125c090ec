package server

import (
	"errors"
	"fmt"

	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/forwarded"
)

// forwarded returns the identity that a TLS proxy vouches for: that of the one
// certificate in the header, which its CAs may follow. errNoCertificate, errManyCertificates,
// errBadCertificate.
func (st *state) forwarded(r *request) (identity.Identity, error) {
	certs, err := forwarded.ClientCertificates(r.Header, st.config.TLS.Proxy.Header)
	switch {
	case errors.Is(err, forwarded.ErrManyHeaders):
		return "", errManyCertificates
	case errors.Is(err, forwarded.ErrNoCertificate):
		return "", errNoCertificate
	case err != nil:
		return "", fmt.Errorf("%w: %v", errBadCertificate, err)
	}
	leaf, err := provenLeaf(certs)
	if err != nil {
		return "", err
	}
	if st.proxies[identity.Of(leaf)] {
		return "", fmt.Errorf("%w: it is a proxy's own", errBadCertificate)
	}
	if st.roots != nil {
		until, err := st.verify(certs)
		if err != nil {
			return "", err
		}
		if until.Before(r.until) {
			r.until = until
		}
	}
	return identity.Of(leaf), nil
}
