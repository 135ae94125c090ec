package encryption

import "github.com/bucketseal/bucketseal/proxy/glob"

// ETags say for which buckets' SSE-S3 objects no MD5 is computed: those that Opaque lists,
// and MD5 does not.
type ETags struct{ Opaque, MD5 glob.Patterns }

func (e *ETags) opaque(bucket string) bool { return e.Opaque.Match(bucket) && !e.MD5.Match(bucket) }

// Adopt exchanges the lists. Objects and uploads that exist keep their ETags.
func (s *Settings) Adopt(e ETags) { s.etags.Store(&e) }
