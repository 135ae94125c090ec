package vault

import (
	"fmt"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// expectContinueFrom is the body size in bytes from which upstream is asked
// first whether it wants the body: a refusal then costs no transfer. So is it for
// all that is not read whole before: no client is told to send what is refused.
const expectContinueFrom = 1 << 20

// commitLimit bounds how long upstream may take to make an object visible once its
// manifest is written: to accept its last bytes, or to put its parts together. The
// janitor leaves manifests alone for much longer.
const commitLimit = 10 * time.Minute

// errSlowCommit ends a write that takes longer. Whether it was stored is not known.
var errSlowCommit = fmt.Errorf("the object was not stored within %v of its manifest: %w", commitLimit, storage.ErrUnreachable)

// patiently does what may take long by way of long, which keeps a client waiting; nil
// does it at once.
func patiently(long func(do func() error) error, do func() error) error {
	if long == nil {
		return do()
	}
	return long(do)
}
