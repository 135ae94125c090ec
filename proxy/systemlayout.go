package proxy

import (
	"slices"

	"github.com/bucketseal/bucketseal/proxy/batchjobs"
	"github.com/bucketseal/bucketseal/proxy/encryption"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/pins"
	"github.com/bucketseal/bucketseal/proxy/progress"
	"github.com/bucketseal/bucketseal/proxy/rekey"
	"github.com/bucketseal/bucketseal/proxy/system"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/proxy/usage"
)

// systemLayout says what lies in the system bucket. What is missing here is not sealed anew
// by a re-wrap, and reported by it and by `bucketseal key usage`.
func systemLayout() []system.Layout {
	return slices.Concat(
		[]system.Layout{{Prefix: encryption.RulesName, Kind: encryption.RulesKind}, {Prefix: upstream.CanaryPrefix}},
		batchjobs.Layout(), rekey.Layout(), progress.Layout(), usage.Layout(), identity.Layout(), pins.Layout(), manifest.Layout(),
	)
}
