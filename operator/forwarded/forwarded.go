// Package forwarded reads what load balancers and reverse proxies say of the
// requests that they pass on: the client's address, whether it came by TLS, and
// its certificate. Whom to believe is the caller's to decide: by network (Trust),
// or by what the connection proved (LastHop, ClientCertificates).
package forwarded

import (
	"net/http"
	"net/netip"
	"strings"
)

// Header names the header in which trusted proxies say where a request comes
// from. Only one counts: a proxy that sets one of them passes the others on as
// clients sent them.
type Header string

// Values of Header.
const (
	XForwardedFor Header = "x-forwarded-for"
	XRealIP       Header = "x-real-ip"
	Forwarded     Header = "forwarded" // RFC 7239
)

// Origin says from where a request comes.
type Origin struct {
	// Peer is the other end of the connection; Addr is the client, which is the
	// peer unless that is a trusted proxy. Neither is valid for connections that
	// have no IP address.
	Peer, Addr netip.Addr
	// Secure says that the client's own connection is one by TLS.
	Secure bool
}

// Trust is whom to believe about where requests come from. The zero value
// believes nobody.
type Trust struct {
	// Proxies are the networks of load balancers and reverse proxies.
	Proxies []netip.Prefix
	// Header is the one they set; "" means XForwardedFor.
	Header Header
}

// Trusts says whether an address is a trusted proxy's.
func (t Trust) Trusts(a netip.Addr) bool {
	for _, p := range t.Proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Origin returns from where r comes. A trusted proxy's word is taken for the hop
// before it, and so on: the client is the right-most hop that is not trusted.
// What the proxy says and cannot be read counts as if it had said nothing.
func (t Trust) Origin(r *http.Request) Origin {
	peer := Peer(r.RemoteAddr)
	o := Origin{Peer: peer, Addr: peer, Secure: r.TLS != nil}
	if !peer.IsValid() || !t.Trusts(peer) {
		return o
	}
	switch t.Header {
	case Forwarded:
		hops, ok := parseForwarded(r.Header.Values("Forwarded"))
		if !ok {
			return o
		}
		for i := len(hops) - 1; i >= 0; i-- {
			a := addrOf(hops[i].by)
			if !a.IsValid() {
				return Origin{Peer: peer, Addr: peer, Secure: r.TLS != nil}
			}
			o.Addr = a
			o.Secure = secureBy(hops[i].proto, r.TLS != nil)
			if !t.Trusts(a) {
				break
			}
		}
		return o
	case XRealIP:
		if values := r.Header.Values("X-Real-Ip"); len(values) == 1 {
			if a := addrOf(strings.TrimSpace(values[0])); a.IsValid() {
				o.Addr = a
			}
		}
	default:
		o.Addr = t.rightMost(r.Header.Values("X-Forwarded-For"), peer)
	}
	o.Secure = secureBy(strings.Join(r.Header.Values("X-Forwarded-Proto"), ","), o.Secure)
	return o
}

// LastHop returns the client's address as the proxy that is connected here saw it:
// the last entry of X-Forwarded-For, whose header lines are one list (RFC 9110, 5.3).
// What stands before it came with the request, from the client or from proxies that
// nobody vouches for. The address is not valid if there is none that can be read.
// Call it only where the connection has proved to be a proxy's.
func LastHop(h http.Header) netip.Addr {
	return Trust{}.rightMost(h.Values("X-Forwarded-For"), netip.Addr{})
}

// rightMost walks a list from its end, of which only what trusted proxies wrote
// is looked at: before that, clients may write what they want.
func (t Trust) rightMost(values []string, peer netip.Addr) netip.Addr {
	list := strings.Join(values, ",")
	found := peer
	for list != "" {
		last := list
		if i := strings.LastIndexByte(list, ','); i >= 0 {
			last, list = list[i+1:], list[:i]
		} else {
			list = ""
		}
		a := addrOf(strings.TrimSpace(last))
		if !a.IsValid() {
			return peer
		}
		found = a
		if !t.Trusts(a) {
			break
		}
	}
	return found
}

// secureBy says whether a list of protocols is one of TLS alone; "" leaves it at
// what was known.
func secureBy(protocols string, known bool) bool {
	if strings.TrimSpace(protocols) == "" {
		return known
	}
	for p := range strings.SplitSeq(protocols, ",") {
		if !strings.EqualFold(strings.TrimSpace(p), "https") {
			return false
		}
	}
	return true
}

// addrOf parses an IP address, with a port or without; IPv6 with a port stands
// in brackets, and without one may. Addresses of IPv4 in IPv6 are those of IPv4.
// Zones mean something on one machine only and are not taken.
func addrOf(s string) netip.Addr {
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		if bracketed := strings.HasPrefix(s, "["); bracketed != strings.HasSuffix(s, "]") || bracketed && a.Is4() {
			return netip.Addr{}
		}
		return plain(a)
	}
	if p, err := netip.ParseAddrPort(s); err == nil {
		return plain(p.Addr())
	}
	return netip.Addr{}
}

// Peer returns the address of the other end of a connection from HOST:PORT. A zone
// is dropped, for it means nothing elsewhere. The address is not valid if there is
// no IP address in it.
func Peer(address string) netip.Addr {
	p, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().WithZone("").Unmap()
}

func plain(a netip.Addr) netip.Addr {
	if a.Zone() != "" {
		return netip.Addr{}
	}
	return a.Unmap()
}
