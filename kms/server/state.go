package server

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
)

// state is everything that follows from one configuration. It never changes; a
// reload makes another.
type state struct {
	config *config.Config
	routes []route
	// since is when the configuration was loaded: policies and identities have
	// existed since then.
	since time.Time
	// assigned tells each identity's policy.
	assigned map[identity.Identity]string
	proxies  map[identity.Identity]bool

	tls   *tls.Config
	roots *x509.CertPool // nil without auth
	// now is the clock by which certificates end.
	now func() time.Time
	// trust changes with everything that decides about client certificates. A
	// connection made under another trust has its certificate verified anew.
	trust string

	errors, audits *slog.Logger
}

func newPolicies(c *config.Config) (assigned map[identity.Identity]string, proxies map[identity.Identity]bool) {
	assigned = make(map[identity.Identity]string)
	for name, policy := range c.Policies {
		for _, id := range policy.Identities {
			assigned[id] = name
		}
	}
	proxies = make(map[identity.Identity]bool)
	for _, id := range c.TLS.Proxy.Identities {
		proxies[id] = true
	}
	return assigned, proxies
}

// authorize decides whether the caller may do what it asks for. *denied.
func (st *state) authorize(r *request) error {
	if r.caller != "" {
		r.policy = st.assigned[r.caller]
	}
	switch {
	case r.route.access != byPolicy:
		return nil
	case r.caller == "":
		return errNoCertificate
	case r.caller == st.config.Admin:
		return nil
	case r.policy == "":
		return &denied{reason: "no policy names this identity"}
	}
	policy := st.config.Policies[r.policy]
	for _, pattern := range policy.Deny {
		if matches(pattern, r.URL.Path) {
			return &denied{policy: r.policy, reason: fmt.Sprintf("the policy denies %q", pattern)}
		}
	}
	for _, pattern := range policy.Allow {
		if matches(pattern, r.URL.Path) {
			return nil
		}
	}
	return &denied{policy: r.policy, reason: "the policy does not allow this path"}
}

// proxyKeyPrefix begins the names of keys that proxies make for themselves. One of them
// is never used, only looked at: its being there says that the system bucket was set up.
const proxyKeyPrefix = "bucketseal-system"

// proxyOf returns the name of a policy of proxies that lets them use the KMS key,
// the first in alphabetical order; "" if there is none.
func (st *state) proxyOf(key string) (name string) {
	for other, policy := range st.config.Policies {
		if !policy.Bucketseal || other == "" || name != "" && name < other {
			continue
		}
		uses := []string{"/v1/key/generate/", "/v1/key/decrypt/", "/v1/key/encrypt/"}
		if strings.HasPrefix(key, proxyKeyPrefix) {
			uses = append(uses, "/v1/key/describe/")
		}
		for _, use := range uses {
			if matchesAny(policy.Allow, use+key) && !matchesAny(policy.Deny, use+key) {
				name = other
				break
			}
		}
	}
	return name
}

// matchesAny says whether one of the patterns matches.
func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, path) })
}

// matches says whether a pattern is the path or, with a '*' at its end, the
// path's beginning. A '*' anywhere else is an ordinary character.
func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(path, prefix)
	}
	return pattern == path
}

func remoteIP(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

// patternSet is a list of patterns as KES writes it: {"/path": {}}.
type patternSet []string

// MarshalJSON implements json.Marshaler.
func (p patternSet) MarshalJSON() ([]byte, error) {
	set := make(map[string]struct{}, len(p))
	for _, pattern := range p {
		set[pattern] = struct{}{}
	}
	return json.Marshal(set)
}
