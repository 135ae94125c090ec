package proxy

import (
	"strings"
)

// domains are the names below which a host name's first labels are a bucket: in
// lower case, without a dot at either end.
type domains []string

// bucket returns the bucket that a request's host names, with or without a port.
// Of several domains that fit the longest counts, and a domain itself names none.
// Buckets come in lower case, as browsers send hosts: names of buckets from before
// that rule are reached by path only.
func (d domains) bucket(host string) (name string, ok bool) {
	host = strings.TrimSuffix(strings.ToLower(withoutPort(host)), ".")
	longest := 0
	for _, domain := range d {
		if host == domain {
			return "", false
		}
		labels, below := strings.CutSuffix(host, "."+domain)
		if below && len(domain) > longest {
			name, ok, longest = labels, true, len(domain)
		}
	}
	return name, ok
}

// withoutPort cuts a port off. What is left of an IPv6 address is no domain's.
func withoutPort(host string) string {
	if colon := strings.LastIndexByte(host, ':'); colon >= 0 {
		return host[:colon]
	}
	return host
}
