package listing

import (
	"encoding/binary"
	"net/url"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Written is an object that the storage has just stored.
type Written struct {
	Name sse.Name
	// Record is the object's, nil for a plain one, and Facts are what is known of its
	// plaintext.
	Record *sse.Record
	Facts  sse.Facts
	// Size is the plaintext's length in bytes, EncSize that of what the storage has.
	Size, EncSize int64
	// Stored is what the storage said of it.
	Stored *storage.Stored
}

// Learn remembers an object that was written, until a listing shows when it was stored. It
// remembers nothing where the storage did not say at all when that was.
func (s *Lister) Learn(w *Written) {
	if s.cache == nil || w.Stored.After.IsZero() || w.Stored.Before.IsZero() {
		return
	}
	f := fact{known: true, size: w.Size}
	if w.Record != nil {
		f.shape(w.Record, w.Record.Mode)
		if (f.needsVoucher() || w.Record.Layout != sse.OneStream) && !f.take(&w.Facts) {
			return
		}
	}
	s.cache.wrote(w, f, s.o.Keys.Rekeyed().Seen(w.Name.Bucket))
}

// written is a fact about an object that was stored between two times, in milliseconds
// since 1970 by the storage's clock.
type written struct {
	fact
	after, before int64
}

// wrote remembers what was written, as long as the bucket's epoch is the one that is given: it
// may be out of date, and then nothing asks for it.
func (c *cache) wrote(w *Written, f fact, epoch uint64) {
	h := hasher{secret: &c.secret, epoch: epoch}
	id := h.written(w.Name, w.Stored.ETag, w.EncSize)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.needsVoucher() {
		as := w.Record.Encryption()
		f.voucher = c.vouch(epoch, voucher{w.Name, w.Record, underOf(&as)})
	}
	if _, known := c.written[id]; !known {
		makeRoom(c.written, c.writtenLimit)
	}
	c.written[id] = written{f, w.Stored.After.UnixMilli(), w.Stored.Before.UnixMilli()}
	c.knowBucket(w.Name.Bucket)
}

// written returns the id of what the storage says of a write.
func (h *hasher) written(name sse.Name, etag string, encSize int64) statementID {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(encSize)) //nolint:gosec // any number
	return h.of('w', name.Bucket, name.Key, strings.Trim(etag, `"`), string(size[:]))
}

// promotion is a fact about a write that a listing has shown.
type promotion struct {
	from, to statementID
	fact     fact
}

// listed finds what is known of an entry from its write. Its caller holds the lock.
func (c *cache) listed(h *hasher, bucket string, e *storage.Entry) (statementID, fact, bool) {
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return statementID{}, fact{}, false
	}
	id := h.written(objectname.Listed(bucket, key), e.ETag, e.Size)
	w, ok := c.written[id]
	if !ok {
		return id, fact{}, false
	}
	stored, err := time.Parse(time.RFC3339Nano, e.LastModified)
	if ms := stored.UnixMilli(); err != nil || ms < w.after || ms > w.before {
		return id, fact{}, false
	}
	return id, w.fact, true
}

// promote remembers what writes told of the statements that a listing brought. The time of
// a write is known within some milliseconds only, and so this is believed for a while.
func (c *cache) promote(age int, all []promotion) {
	if len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if age != c.age { // vouchers have other indices now
		return
	}
	for i := range all {
		p := &all[i]
		if _, known := c.facts[p.to]; known {
			continue
		}
		makeRoom(c.facts, c.limit)
		c.facts[p.to] = p.fact
		delete(c.written, p.from)
	}
}
