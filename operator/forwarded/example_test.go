package forwarded_test

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/bucketseal/bucketseal/operator/forwarded"
)

// Only what a trusted proxy wrote counts: the client's own claim stands before it.
func ExampleTrust_Origin() {
	trust := forwarded.Trust{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	r := &http.Request{RemoteAddr: "10.0.0.5:4711", Header: http.Header{
		"X-Forwarded-For":   {"198.51.100.7, 192.0.2.1"},
		"X-Forwarded-Proto": {"https"},
	}}
	origin := trust.Origin(r)
	fmt.Println(origin.Addr, origin.Secure)
	// Output: 192.0.2.1 true
}
