package vault

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/sse"
)

// mayPut asks upstream, as the caller, whether it may write so. It returns upstream's
// refusal.
func (v *Vault) mayPut(ctx context.Context, c *caller.Caller, w *Write) error {
	return c.MayWrite(ctx, v.o.Storage, w.Name, w.Meta)
}

// refusal returns the answer to a write that a rule, a key or the access to it
// forbids: upstream's own refusal, if the caller may not write there at all.
func (v *Vault) refusal(ctx context.Context, c *caller.Caller, w *Write, err error) error {
	return c.Refusal(ctx, v.o.Storage, w.Name, w.Meta, err)
}

// askedTTL is how long upstream's word holds that a caller may send parts of an
// upload. The parts themselves upstream judges one by one.
const askedTTL = 10 * time.Second

// maxAsked bounds the uploads whose callers are remembered.
const maxAsked = 10_000

// partSender is a digest of all of a request that policies commonly look at: its
// texts may be long.
type partSender [sha256.Size]byte

func partSenderOf(c *caller.Caller, name sse.Name, uploadID string) partSender {
	texts := []string{c.Name, c.Actor.Addr.String(), c.Actor.Agent, c.Actor.Referer, name.Bucket, name.Key, uploadID}
	h := sha256.New()
	for _, text := range texts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(text)))
		_, _ = io.WriteString(h, text)
	}
	return partSender(h.Sum(nil))
}

// partSenders remembers which callers upstream lately let send parts. The zero
// value is ready.
type partSenders struct {
	mu   sync.Mutex
	till map[partSender]time.Time
}

func (p *partSenders) has(c partSender) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.till[c])
}

func (p *partSenders) add(c partSender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.till == nil || len(p.till) >= maxAsked { // asking again is cheap
		p.till = make(map[partSender]time.Time)
	}
	p.till[c] = time.Now().Add(askedTTL)
}
