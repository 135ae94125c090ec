package keyring

import "github.com/bucketseal/bucketseal/proxy/glob"

// Live are the settings of a ring that can be exchanged while it is used.
type Live struct {
	// AllowAnonymous lists the buckets in which callers without a signature may use keys.
	AllowAnonymous glob.Patterns
	// S3Key is the KMS key of SSE-S3.
	S3Key string
	// FormerS3Keys are KMS keys under which older SSE-S3 objects may be sealed.
	FormerS3Keys []string
}

// Adopt exchanges the settings. What was begun under the former ones goes on.
func (k *Ring) Adopt(l Live) { k.live.Store(&l) }
