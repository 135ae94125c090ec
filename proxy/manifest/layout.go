package manifest

import "github.com/bucketseal/bucketseal/proxy/system"

// Layout says what this package keeps in the system bucket.
func Layout() []system.Layout {
	return []system.Layout{
		{Prefix: mirrored, Kind: kind, Note: true, Body: true},
		{Prefix: hashed, Kind: kind, Note: true, Body: true},
		{Prefix: "uploads/", Kind: uploadKind, Note: true},
		{Prefix: "uploads-h/", Kind: uploadKind, Note: true},
		{Prefix: "parts/", Kind: partKind, Note: true},
		{Prefix: wrapRoot + "/", Kind: wrapKind, Note: true, Replaced: true},
		{Prefix: hashedWraps, Kind: wrapKind, Note: true, Replaced: true},
		{Prefix: sightingsName, Kind: sightingsKind},
	}
}
