package adminapi

import "time"

// What the black-box tests of this package look at: they put a whole proxy in front of
// a MinIO that they play, and so stand outside of it.
type (
	// KeyStatus is the answer of KMSKeyStatus.
	KeyStatus = keyStatus
	// ListedKey is an entry of KMSListKeys' answer.
	ListedKey = listedKey
	// ScrapeClaims are what a scraper's token says.
	ScrapeClaims = scrapeClaims
)

// Bounds of tokens and bodies.
const (
	MaxToken                       = maxToken
	MetricsTokenLife time.Duration = metricsTokenLife
	SecretBody                     = secretBody
)

// Tokens as MinIO makes and reads them, and the routes that are refused.
var (
	SignToken     = signToken
	ParseToken    = parseToken
	TokenMAC      = tokenMAC
	RefusedRoutes = refusedAdminRoutes
)
