package intake

import "github.com/bucketseal/bucketseal/operator/forwarded"

// AdoptTrust exchanges whom requests are believed about where they come from.
func (in *Intake) AdoptTrust(t forwarded.Trust) { in.trust.Store(&t) }
