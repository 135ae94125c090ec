package pins

import "github.com/bucketseal/bucketseal/proxy/system"

// Layout says what this package keeps in the system bucket.
func Layout() []system.Layout {
	return []system.Layout{{Prefix: notePrefix, Kind: noteKind, Note: true, Replaced: true}}
}
