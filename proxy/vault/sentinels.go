package vault

import (
	"github.com/bucketseal/bucketseal/proxy/keyring"
	"github.com/bucketseal/bucketseal/proxy/listing"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
)

// Sentinels of the packages below, for those who see the engine and none of these.
var (
	ErrKeyAccess     = keyring.ErrAccess
	ErrNoCustomerKey = keyring.ErrNoCustomerKey
	ErrKeyName       = keyring.ErrKeyName
	ErrOtherS3Key    = keyring.ErrOtherS3Key
	ErrUnconfirmed   = keyring.ErrUnconfirmed
	ErrKeyGone       = sealed.ErrKeyGone
	ErrNoManifest    = manifest.ErrMissing
	ErrUncertain     = manifest.ErrUncertain
	ErrServiceRights = listing.ErrServiceRights
)
