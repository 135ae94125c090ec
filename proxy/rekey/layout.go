package rekey

import "github.com/bucketseal/bucketseal/proxy/system"

// Layout says what this package keeps in the system bucket.
func Layout() []system.Layout { return []system.Layout{{Prefix: BookName, Kind: bookKind}} }
