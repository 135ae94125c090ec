package vault

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// expectContinueFrom is the body size in bytes from which upstream is asked
// first whether it wants the body: a refusal then costs no transfer. So is it for
// all that is not read whole before: no client is told to send what is refused.
const expectContinueFrom = 1 << 20

// commitLimit bounds how long upstream may take to accept the last bytes of an object once
// its manifest is written. The janitor leaves manifests alone for much longer.
const commitLimit = 10 * time.Minute

// errSlowCommit ends a write that takes longer. Whether it was stored is not known.
var errSlowCommit = fmt.Errorf("the object was not stored within %v of its manifest: %w", commitLimit, storage.ErrUnreachable)

// keepTimeout bounds the second write of a manifest, after what took longer than commitLimit.
const keepTimeout = time.Minute

// completeLimit bounds how long upstream may take to put the parts of an upload together.
// It is never reached by work, however large the object is: MinIO, cut off in the middle,
// is left with neither the object nor the upload. The janitor keeps the manifest of an
// upload that upstream has.
const completeLimit = 12 * time.Hour

var (
	// errSlowComplete ends a Complete that takes longer. Whether it was done is not known.
	errSlowComplete = fmt.Errorf("the parts were not put together within %v: %w", completeLimit, storage.ErrUnreachable)
	// errEnded refuses a Complete that nobody would wait for.
	errEnded = fmt.Errorf("this process is about to end: %w", storage.ErrUnreachable)
)

// commits counts what must not be cut off. The zero value is ready for use.
type commits struct {
	mu      sync.Mutex
	running int
	ended   bool
	none    chan struct{} // is closed when none runs any more; nil if nobody waits
}

// begin counts one more. errEnded once a wait is over.
func (c *commits) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return errEnded
	}
	c.running++
	return nil
}

func (c *commits) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 && c.none != nil {
		close(c.none)
		c.none, c.ended = nil, true
	}
}

// waiting returns what is closed when none runs any more, and how many do.
func (c *commits) waiting() (none <-chan struct{}, running int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == 0 {
		c.ended = true
		return nil, 0
	}
	if c.none == nil {
		c.none = make(chan struct{})
	}
	return c.none, c.running
}

// Wait waits until no upload is being put together, and for ctx at the longest: without
// their clients, too, Completes go on, and the end of the process would cut them off. It
// returns how many go on. It is for the end of a process: where it returns 0, no Complete
// gets so far any more.
func (v *Vault) Wait(ctx context.Context) int {
	none, running := v.commits.waiting()
	if running == 0 {
		return 0
	}
	v.log.Info("ending: MinIO puts uploads together, which are waited for", "uploads", running)
	select {
	case <-none:
	case <-ctx.Done():
	}
	_, running = v.commits.waiting()
	return running
}

// patiently does what may take long by way of long, which keeps a client waiting; nil
// does it at once.
func patiently(long func(do func() error) error, do func() error) error {
	if long == nil {
		return do()
	}
	return long(do)
}
