package vault

import "github.com/bucketseal/bucketseal/proxy/glob"

// AdoptPlainRead exchanges the list of the buckets whose objects without a record are
// readable. Reads that have begun go on.
func (v *Vault) AdoptPlainRead(p glob.Patterns) { v.plain.Store(&p) }
