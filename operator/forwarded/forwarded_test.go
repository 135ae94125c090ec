package forwarded

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func trust(header Header, networks ...string) Trust {
	t := Trust{Header: header}
	for _, n := range networks {
		t.Proxies = append(t.Proxies, netip.MustParsePrefix(n))
	}
	return t
}

// asked is a request from a peer with headers, NAME: VALUE.
func asked(peer string, secure bool, headers ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	if secure {
		r.TLS = &tls.ConnectionState{}
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	xff := trust(XForwardedFor, "10.0.0.0/8", "fd00::/8")
	realIP := trust(XRealIP, "10.0.0.0/8")
	rfc := trust(Forwarded, "10.0.0.0/8", "fd00::/8")
	const lb = "10.0.0.5:4711"
	for name, tc := range map[string]struct {
		trust  Trust
		r      *http.Request
		addr   string
		secure bool
	}{
		"nobody is trusted":       {Trust{}, asked(lb, false, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"), "10.0.0.5", false},
		"a stranger":              {xff, asked("192.0.2.9:1", false, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"), "192.0.2.9", false},
		"a stranger by TLS":       {xff, asked("192.0.2.9:1", true, "X-Forwarded-Proto: http"), "192.0.2.9", true},
		"one hop":                 {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1"), "192.0.2.1", false},
		"no header":               {xff, asked(lb, true), "10.0.0.5", true},
		"the client's own claim":  {xff, asked(lb, false, "X-Forwarded-For: 198.51.100.7, 192.0.2.1"), "192.0.2.1", false},
		"claims that are garbage": {xff, asked(lb, false, "X-Forwarded-For: <script>,, ,192.0.2.1"), "192.0.2.1", false},
		"two proxies":             {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1, 10.1.1.1"), "192.0.2.1", false},
		"all are proxies":         {xff, asked(lb, false, "X-Forwarded-For: 10.2.2.2, 10.1.1.1"), "10.2.2.2", false},
		"header repeated":         {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 192.0.2.2"), "192.0.2.2", false},
		"empty":                   {xff, asked(lb, false, "X-Forwarded-For: "), "10.0.0.5", false},
		"last one is garbage":     {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1, unknown"), "10.0.0.5", false},
		"last one is empty":       {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1,"), "10.0.0.5", false},
		"garbage behind a proxy":  {xff, asked(lb, false, "X-Forwarded-For: x, 10.1.1.1"), "10.0.0.5", false},
		"with a port":             {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1:99"), "192.0.2.1", false},
		"IPv6":                    {xff, asked("[fd00::1]:1", false, "X-Forwarded-For: 2001:db8::7"), "2001:db8::7", false},
		"IPv6 in brackets":        {xff, asked("[fd00::1]:1", false, "X-Forwarded-For: [2001:db8::7]"), "2001:db8::7", false},
		"IPv6 with a port":        {xff, asked("[fd00::1]:1", false, "X-Forwarded-For: [2001:db8::7]:443"), "2001:db8::7", false},
		"half a bracket":          {xff, asked(lb, false, "X-Forwarded-For: [2001:db8::7"), "10.0.0.5", false},
		"IPv4 in brackets":        {xff, asked(lb, false, "X-Forwarded-For: [192.0.2.1]"), "10.0.0.5", false},
		"a zone":                  {xff, asked(lb, false, "X-Forwarded-For: fe80::1%eth0"), "10.0.0.5", false},
		"IPv4 in IPv6":            {xff, asked("[::ffff:10.0.0.5]:1", false, "X-Forwarded-For: ::ffff:192.0.2.1"), "192.0.2.1", false},
		"another header":          {xff, asked(lb, false, "X-Real-Ip: 192.0.2.1", "Forwarded: for=192.0.2.2"), "10.0.0.5", false},
		"TLS at the proxy":        {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: HTTPS"), "192.0.2.1", true},
		"TLS at one of two":       {xff, asked(lb, false, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"), "192.0.2.1", false},
		"TLS behind it only":      {xff, asked(lb, true, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: http"), "192.0.2.1", false},
		"a peer with a zone":      {xff, asked("[fe80::1%eth0]:4711", false), "fe80::1", false},
		"a socket without IP":     {xff, asked("@", false, "X-Forwarded-For: 192.0.2.1"), "invalid IP", false},

		"real IP":               {realIP, asked(lb, false, "X-Real-Ip: 192.0.2.1", "X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: https"), "192.0.2.1", true},
		"real IP twice":         {realIP, asked(lb, false, "X-Real-Ip: 192.0.2.1", "X-Real-Ip: 192.0.2.2"), "10.0.0.5", false},
		"real IP is a list":     {realIP, asked(lb, false, "X-Real-Ip: 192.0.2.1, 192.0.2.2"), "10.0.0.5", false},
		"no real IP, only list": {realIP, asked(lb, false, "X-Forwarded-For: 192.0.2.9"), "10.0.0.5", false},

		"forwarded":                {rfc, asked(lb, false, "Forwarded: for=192.0.2.1;proto=https;by=10.0.0.5"), "192.0.2.1", true},
		"forwarded, claim":         {rfc, asked(lb, false, "Forwarded: for=198.51.100.7;proto=https, for=192.0.2.1"), "192.0.2.1", false},
		"forwarded, two proxies":   {rfc, asked(lb, false, "Forwarded: For=192.0.2.1;Proto=https", "Forwarded: for=10.1.1.1;proto=http"), "192.0.2.1", true},
		"forwarded, hop by TLS":    {rfc, asked(lb, false, "Forwarded: for=192.0.2.1, for=10.1.1.1;proto=https"), "192.0.2.1", false},
		"forwarded, IPv6":          {rfc, asked(lb, false, `Forwarded: for="[2001:db8::7]:4711"`), "2001:db8::7", false},
		"forwarded, IPv4 and port": {rfc, asked(lb, false, `Forwarded: for="192.0.2.1:99"; proto=http`), "192.0.2.1", false},
		"forwarded, unquoted port": {rfc, asked(lb, false, "Forwarded: for=192.0.2.1:99"), "192.0.2.1", false},
		"forwarded, unknown":       {rfc, asked(lb, false, "Forwarded: for=unknown;proto=https"), "10.0.0.5", false},
		"forwarded, hidden":        {rfc, asked(lb, false, "Forwarded: for=_secret"), "10.0.0.5", false},
		"forwarded, nobody named":  {rfc, asked(lb, false, "Forwarded: proto=https"), "10.0.0.5", false},
		"forwarded, name twice":    {rfc, asked(lb, false, "Forwarded: for=192.0.2.1;for=192.0.2.2"), "10.0.0.5", false},
		"forwarded, open quote":    {rfc, asked(lb, false, `Forwarded: for="x, for=192.0.2.1`), "10.0.0.5", false},
		"forwarded, quote closed":  {rfc, asked(lb, false, `Forwarded: for="a, for=192.0.2.1;x="b", for=192.0.2.2`), "10.0.0.5", false},
		"forwarded, escapes":       {rfc, asked(lb, false, `Forwarded: for="\1\92.0.2.1"`), "192.0.2.1", false},
		"forwarded, no value":      {rfc, asked(lb, false, "Forwarded: for="), "10.0.0.5", false},
		"forwarded, empty members": {rfc, asked(lb, false, "Forwarded: ,, for=192.0.2.1;, ,"), "192.0.2.1", false},
		"forwarded, other header":  {rfc, asked(lb, false, "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"), "10.0.0.5", false},
	} {
		got := tc.trust.Origin(tc.r)
		if got.Addr.String() != tc.addr || got.Secure != tc.secure {
			t.Errorf("%s: %v secure %v, want %s %v", name, got.Addr, got.Secure, tc.addr, tc.secure)
		}
	}
}

// Whatever a header says, the answer is an address without zone, and the peer's
// own if it says nothing that can be read.
func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.1", "192.0.2.1, 10.1.1.1", "[2001:db8::7]:443", "::ffff:192.0.2.1", "fe80::1%eth0", "unknown", ", ,", "1.2.3.4:99999",
		`for="[2001:db8::7]:4711";proto=https;by=x, for=10.0.0.1`, `for="a\"b"`, `for=192.0.2.1;for=1`, `for="`,
	} {
		f.Add(seed, "https")
	}
	f.Fuzz(func(t *testing.T, value, proto string) {
		for _, header := range []Header{XForwardedFor, XRealIP, Forwarded} {
			r := &http.Request{RemoteAddr: "10.0.0.5:1", Header: http.Header{
				"X-Forwarded-For": {value}, "X-Real-Ip": {value}, "Forwarded": {value}, "X-Forwarded-Proto": {proto},
			}}
			o := trust(header, "10.0.0.0/8").Origin(r)
			if !o.Addr.IsValid() || o.Addr.Zone() != "" || o.Addr.Is4In6() {
				t.Errorf("%s %q: %v", header, value, o.Addr)
			}
			if again := addrOf(o.Addr.String()); again != o.Addr {
				t.Errorf("%v is read as %v", o.Addr, again)
			}
			// What a client puts before a proxy's own entry changes nothing.
			if header == XForwardedFor {
				r.Header["X-Forwarded-For"] = []string{value + ", 192.0.2.1"}
				if o := trust(header, "10.0.0.0/8").Origin(r); o.Addr.String() != "192.0.2.1" {
					t.Errorf("%q counts: %v", value, o.Addr)
				}
			}
		}
	})
}

func TestLastHopIsWhatTheConnectedProxySaw(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][]string{
		"192.0.2.1":   {"192.0.2.1"},
		"192.0.2.2":   {"203.0.113.9, 192.0.2.2"},
		"192.0.2.3":   {"203.0.113.9", "192.0.2.3"},
		"192.0.2.4":   {"203.0.113.9, 203.0.113.10", "203.0.113.11,192.0.2.4"},
		"192.0.2.5":   {"192.0.2.5:4711"},
		"192.0.2.6":   {"::ffff:192.0.2.6"},
		"2001:db8::6": {"203.0.113.9, [2001:db8::6]:1"},
		"2001:db8::7": {"2001:DB8::7"},
		"2001:db8::8": {"[2001:db8::8]"},
	} {
		if got := LastHop(http.Header{"X-Forwarded-For": lines}); got.String() != want {
			t.Errorf("%q: %v, want %s", lines, got, want)
		}
	}
	// Nothing that can be read is nothing, also where something stands before it.
	for _, lines := range [][]string{nil, {""}, {"203.0.113.9, unknown"}, {"203.0.113.9,"}, {"203.0.113.9", ""}, {"fe80::1%x=y"}} {
		if got := LastHop(http.Header{"X-Forwarded-For": lines}); got.IsValid() {
			t.Errorf("%q: %v", lines, got)
		}
	}
}
