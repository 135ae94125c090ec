package cli

import (
	"crypto/fips140"
	"errors"
)

// errFIPSOnly is a process that could not encrypt anything.
var errFIPSOnly = errors.New("GODEBUG=fips140=only cannot be used: the nonces of objects' packages follow from DARE 2.0, which that mode refuses; use fips140=on (docs/fips.md)")

// CheckFIPS returns an error where the process could not encrypt: better than a panic
// with the first object.
func CheckFIPS() error {
	if fips140.Enforced() {
		return errFIPSOnly
	}
	return nil
}

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
