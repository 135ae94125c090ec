package vault

import "github.com/bucketseal/bucketseal/proxy/checksum"

// Digests are what an operation needs to be computed of a body, besides what its client
// declares.
type Digests struct {
	// MD5 asks for the MD5, for an ETag.
	MD5 bool
	// Compute are checksums that are computed in any case.
	Compute []checksum.Algorithm
	// Default is computed if the client declares none and Compute is empty; 0 for none.
	Default checksum.Algorithm
}
