package server

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"time"

	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/operator/clientcert"
	"github.com/bucketseal/bucketseal/operator/forwarded"
)

// maxChain bounds the certificates of a client: its own and those of its CAs.
const maxChain = 8

// peer is what the handshake of a connection proved.
type peer struct {
	// certs as the client sent them; the first is the one whose key it has.
	certs []*x509.Certificate
	// id is empty if err says why the certificates prove nobody.
	id  identity.Identity
	err error
	// trust that the handshake was verified under, and until when its chain counts; zero
	// if it was not verified.
	trust string
	end   time.Time
}

func newPeer(cs *tls.ConnectionState, trust string) *peer {
	p := &peer{certs: cs.PeerCertificates, trust: trust, end: clientcert.End(cs.VerifiedChains)}
	var leaf *x509.Certificate
	if leaf, p.err = provenLeaf(p.certs); p.err == nil {
		p.id = identity.Of(leaf)
	}
	return p
}

// provenLeaf returns the certificate that says who somebody is: the first, for
// TLS proves possession of its key and of no other's. What follows must be CAs,
// each of which signed the one before: a certificate that merely came along
// proves nothing, and a chain with one in it is somebody's attempt.
//
// A leaf that is a CA is refused, as KES does. One without basic constraints, or
// of X.509 version 1, is no CA: it may be a leaf (openssl x509 -req makes such),
// and nothing but a leaf. Names, times and path lengths are not looked at: with
// tls.auth verification does, and without nobody trusts the CAs.
// errNoCertificate, errManyCertificates, errBadCertificate.
func provenLeaf(certs []*x509.Certificate) (*x509.Certificate, error) {
	if len(certs) == 0 || certs[0].IsCA {
		return nil, errNoCertificate
	}
	if len(certs) > maxChain {
		return nil, fmt.Errorf("%w: a chain of %d certificates", errBadCertificate, len(certs))
	}
	for _, c := range certs[1:] {
		if !c.IsCA {
			return nil, errManyCertificates
		}
	}
	for i, issuer := range certs[1:] {
		subject := certs[i]
		if !bytes.Equal(subject.RawIssuer, issuer.RawSubject) {
			return nil, fmt.Errorf("%w: certificate %d of the chain is not the issuer of the one before", errBadCertificate, i+2)
		}
		if err := subject.CheckSignatureFrom(issuer); err != nil {
			return nil, fmt.Errorf("%w: certificate %d of the chain did not sign the one before: %v", errBadCertificate, i+2, err)
		}
	}
	return certs[0], nil
}

// peerOf returns what the request's connection proved.
func (st *state) peerOf(r *http.Request) *peer {
	if p, ok := r.Context().Value(peerKey{}).(*peer); ok {
		return p
	}
	if r.TLS == nil {
		return &peer{err: errNoCertificate}
	}
	return newPeer(r.TLS, "") // not from Serve: verified anew, should that be needed
}

// classOf tells identities with rights, and proxies, from strangers.
func (st *state) classOf(id identity.Identity) class {
	switch {
	case id == "":
		return strangers
	case st.proxies[id]:
		return proxies
	case id == st.config.Admin, st.assigned[id] != "":
		return known
	}
	return strangers
}

// knows says whether an identity has any rights. Everybody else is a stranger.
func (st *state) knows(id identity.Identity) bool { return st.classOf(id) != strangers }

// authenticate finds out who calls, by the connection and, behind a TLS proxy,
// by the proxy's word. The caller of a request with an error is nobody, which
// only open routes accept.
func (st *state) authenticate(w http.ResponseWriter, r *request) error {
	p := st.peerOf(r.Request)
	if !st.knows(p.id) {
		w.Header().Set("Connection", "close") // strangers have no business to stay
	}
	if p.err != nil {
		return p.err
	}
	if err := st.trusts(w, r, p); err != nil {
		return err
	}
	if !st.proxies[p.id] {
		r.caller = p.id
		return nil
	}
	if ip := forwarded.LastHop(r.Header); ip.IsValid() {
		r.ip = ip.String()
	}
	id, err := st.forwarded(r)
	r.caller = id
	return err
}

// trusts says, with tls.auth, whether the certificates of a connection count now. One that
// is older than this configuration must not stay, nor one whose chain ends.
// errBadCertificate.
func (st *state) trusts(w http.ResponseWriter, r *request, p *peer) (err error) {
	if r.until = (time.Time{}); st.roots == nil {
		return nil
	}
	if r.until = p.end; p.trust != st.trust {
		w.Header().Set("Connection", "close")
		if r.until, err = st.verify(p.certs); err != nil {
			return err
		}
	}
	if err := clientcert.Check(w.Header(), r.until, st.now()); err != nil {
		return fmt.Errorf("%w: %v", errBadCertificate, err)
	}
	return nil
}

// verify holds the first certificate against the CAs in force, and says until when it
// counts. errBadCertificate.
func (st *state) verify(certs []*x509.Certificate) (until time.Time, err error) {
	others := x509.NewCertPool()
	for _, c := range certs[1:] {
		others.AddCert(c)
	}
	chains, err := certs[0].Verify(x509.VerifyOptions{
		Roots: st.roots, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: st.now(),
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %v", errBadCertificate, err)
	}
	return clientcert.End(chains), nil
}
