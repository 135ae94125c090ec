package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/bucketseal/bucketseal/kms/identity"
)

// Rights are what a configuration lets whom do.
type Rights struct {
	Admin    identity.Identity
	CA       string
	Auth     bool
	Proxy    TLSProxy
	Policies map[string]Policy
	API      map[string]Endpoint
}

// Rights returns them, to be compared with others.
func (c *Config) Rights() Rights {
	return Rights{Admin: c.Admin, CA: c.TLS.CA, Auth: c.TLS.Auth, Proxy: c.TLS.Proxy, Policies: c.Policies, API: c.API}
}

// Widens says what of a configuration in c's place would let somebody do more than
// c does; nil if nothing would. A file that was cut while it was written widens
// rights where what restricts them stood behind the cut.
func (c *Config) Widens(next *Config) (widens []string) {
	add := func(format string, args ...any) { widens = append(widens, fmt.Sprintf(format, args...)) }
	if next.Admin != "" && next.Admin != c.Admin {
		add("another identity becomes the admin")
	}
	if c.TLS.Auth && !next.TLS.Auth {
		add("tls.auth is off: clients' certificates are no longer verified")
	}
	if c.TLS.Auth && next.TLS.CA != c.TLS.CA {
		add("tls.ca has changed")
	}
	if len(lacking(c.TLS.Proxy.Identities, next.TLS.Proxy.Identities)) > 0 || len(next.TLS.Proxy.Identities) > 0 && next.TLS.Proxy.Header != c.TLS.Proxy.Header {
		add("tls.proxy names another identity or header")
	}
	for _, name := range slices.Sorted(maps.Keys(next.API)) {
		if next.API[name].SkipAuth && !c.API[name].SkipAuth {
			add("api %s is open to everybody", name)
		}
	}
	before := policyOf(c.Policies)
	for _, name := range slices.Sorted(maps.Keys(next.Policies)) {
		policy := next.Policies[name]
		for _, id := range policy.Identities {
			if !policy.within(c.Policies[before[id]]) {
				add("policy %s gives %s more than it had", name, id)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Policies)) {
		if policy := c.Policies[name]; policy.Bucketseal && !policy.guardedBy(next.Policies) {
			add("keys of the proxies of policy %s may be imported and deleted by others", name)
		}
	}
	return widens
}

// guardedBy says that a policy of proxies among others lets them use what p does: keys
// that no proxy may use are not kept from anybody with rights.
func (p Policy) guardedBy(others map[string]Policy) bool {
	for _, other := range others {
		if other.Bucketseal && len(lacking(other.Allow, p.Allow)) == 0 && len(lacking(p.Deny, other.Deny)) == 0 {
			return true
		}
	}
	return false
}

// policyOf says which policy each identity has.
func policyOf(policies map[string]Policy) map[identity.Identity]string {
	of := make(map[identity.Identity]string)
	for name, policy := range policies {
		for _, id := range policy.Identities {
			of[id] = name
		}
	}
	return of
}

// within says that p gives no more than other: it allows nothing that other does not
// name, and denies all that other denies.
func (p Policy) within(other Policy) bool {
	return (other.Bucketseal || !p.Bucketseal) && len(lacking(other.Allow, p.Allow)) == 0 && len(lacking(p.Deny, other.Deny)) == 0
}

// lacking returns what list does not have of wanted.
func lacking[T comparable](list, wanted []T) (missing []T) {
	for _, one := range wanted {
		if !slices.Contains(list, one) {
			missing = append(missing, one)
		}
	}
	return missing
}
