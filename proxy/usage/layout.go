package usage

import "github.com/bucketseal/bucketseal/proxy/system"

// Layout says what this package keeps in the system bucket.
func Layout() []system.Layout {
	return []system.Layout{
		{Prefix: scanName, Kind: scanKind}, {Prefix: claimName, Kind: claimKind}, {Prefix: usesName, Kind: usesKind},
	}
}
