package console

import (
	"net/netip"
	"strings"
	"testing"
)

// Whoever has a network of IPv6 addresses has no more tries than one address, and long access keys
// take no more memory than short ones.
func TestFailedLoginsAreCountedUnderShortNames(t *testing.T) {
	t.Parallel()
	for _, same := range [][2]string{{"2001:db8::1", "2001:db8::ffff:1"}, {"192.0.2.1", "192.0.2.1"}} {
		if a, b := nameOfAddress(netip.MustParseAddr(same[0])), nameOfAddress(netip.MustParseAddr(same[1])); a != b {
			t.Errorf("%q and %q", a, b)
		}
	}
	for _, other := range [][2]string{{"2001:db8::1", "2001:db8:0:1::1"}, {"192.0.2.1", "192.0.2.2"}} {
		if a := nameOfAddress(netip.MustParseAddr(other[0])); a == nameOfAddress(netip.MustParseAddr(other[1])) {
			t.Errorf("%q for both of %q", a, other)
		}
	}
	long := strings.Repeat("A", 60_000)
	if a, b := nameOfKey(long), nameOfKey(long+"B"); a == b || len(a) > 64 {
		t.Errorf("%d bytes, the same: %v", len(a), a == b)
	}
}
