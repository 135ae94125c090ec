package cli

import "crypto/fips140"

// fipsMode says how Go's FIPS 140-3 module is used: "off"; "on", where what it has is
// taken from it; or "only", where everything else is refused (GODEBUG=fips140).
func fipsMode() string {
	switch {
	case fips140.Enforced():
		return "only"
	case fips140.Enabled():
		return "on"
	}
	return "off"
}

// fipsText is what people read of it; "" where it is off.
func fipsText() string {
	if !fips140.Enabled() {
		return ""
	}
	return "; FIPS 140-3 " + fipsMode() + ", module " + fips140.Version()
}
