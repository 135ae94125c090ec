package listing

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	// factBytes and writtenBytes are what a remembered object takes in memory, at most: 64
	// and 80 bytes in a map that is at worst half full.
	factBytes    = 128
	writtenBytes = 160
	// maxVouchers, maxBuckets and maxPages bound what else is remembered.
	maxVouchers = 1024
	maxBuckets  = 4096
	maxPages    = 4096
	// unprovenFor is how long is believed what no key vouches for.
	unprovenFor = 10 * time.Minute
)

// statementID is a keyed hash of all that the storage states of an object in a plain
// listing: whoever lacks the process's secret finds no two statements with one id.
type statementID [16]byte

// fact is what was found out about an object. It holds no pointers, so that a garbage
// collection need not look at all of them.
type fact struct {
	// known is false for the zero value, and for nothing else.
	known bool
	// mode is that of the record, told the one that clients are told: the object may have been
	// re-keyed.
	mode, told sse.Mode
	sum        sse.ChecksumType // 0 for none
	flags      factFlags
	parts      uint16
	// voucher is an index, where needsVoucher.
	voucher uint32
	size    int64
	// until is when it is no longer believed, in seconds of the cache's clock; 0 is never.
	until int64
	// tag is what the ETag says, with hasMD5 or isOpaque.
	tag [16]byte
}

type factFlags uint8

const (
	hasMD5 factFlags = 1 << iota
	isComposite
	// oneStream says that only who may use the key is told of the checksum of an object of
	// SSE-S3.
	oneStream
	// isOpaque says that the ETag follows from the record, whoever may open it.
	isOpaque
)

// needsVoucher says whether only who may use the KMS key is shown the fact.
func (f *fact) needsVoucher() bool { return f.mode == sse.ModeS3 && f.flags&isOpaque == 0 }

// facts returns what clients are shown of it.
func (f *fact) facts() sse.Facts {
	facts := sse.Facts{Parts: int(f.parts), PlainSize: f.size}
	if f.flags&hasMD5 != 0 {
		facts.MD5 = f.tag[:]
	}
	if f.sum != 0 {
		facts.Checksum = &sse.Checksum{Type: f.sum, Composite: f.flags&isComposite != 0}
	}
	return facts
}

// voucher is a record that was opened. Whether its KMS key still opens it says whether the
// key still opens the others of the bucket that are sealed as it is.
type voucher struct {
	name   sse.Name
	record *sse.Record
	under  under // as which it was opened
}

// under is how a key was sealed.
type under struct {
	mode    sse.Mode
	kmsKey  string
	version uint32
}

func underOf(as *sse.Encryption) under { return under{as.Mode, as.KMSKey, as.KMSKeyVersion} }

// vouchedFor is what a voucher stands for: what was found out of a bucket in one epoch, of
// records that name one KMS key and are sealed alike.
type vouchedFor struct {
	bucket  string
	epoch   uint64
	kmsKey  string
	version uint32
	under
}

// cache is what was found out about listed objects, by what the storage states of them. It
// is safe for concurrent use.
type cache struct {
	secret [32]byte
	began  time.Time
	// limit is of facts, writtenLimit of written.
	limit, writtenLimit int

	mu       sync.RWMutex
	facts    map[statementID]fact
	written  map[statementID]written
	age      int       // how often all was forgotten
	vouchers []voucher // a fact's voucher is an index
	voucher  map[vouchedFor]uint32
	buckets  map[string]struct{} // of which there are facts
	pages    map[statementID]struct{}
}

// newCache returns one of at most so many bytes, nil for none.
func newCache(bytes int64) *cache {
	c := &cache{limit: int(bytes / 4 * 3 / factBytes), writtenLimit: int(bytes / 4 / writtenBytes), began: time.Now()}
	if c.limit == 0 || c.writtenLimit == 0 {
		return nil
	}
	_, _ = rand.Read(c.secret[:])
	c.clear()
	return c
}

func (c *cache) clear() {
	c.facts, c.voucher = make(map[statementID]fact), make(map[vouchedFor]uint32)
	c.written = make(map[statementID]written)
	c.buckets, c.pages = make(map[string]struct{}), make(map[statementID]struct{})
	c.vouchers = nil
	c.age++
}

// now is the cache's clock, in seconds; never 0.
func (c *cache) now() int64 { return int64(time.Since(c.began)/time.Second) + 1 }

// hasher makes ids out of texts.
type hasher struct {
	secret *[32]byte
	epoch  uint64 // of the bucket
	text   []byte
}

func (h *hasher) of(kind byte, parts ...string) (id statementID) {
	h.text = append(append(h.text[:0], h.secret[:]...), kind)
	h.text = binary.BigEndian.AppendUint64(h.text, h.epoch)
	for _, part := range parts {
		h.text = binary.AppendUvarint(h.text, uint64(len(part)))
		h.text = append(h.text, part...)
	}
	sum := sha256.Sum256(h.text)
	return statementID(sum[:len(id)])
}

// statements returns the ids of what the storage states of each entry. With another epoch
// they are others: what was found out before is forgotten.
func (c *cache) statements(bucket string, epoch uint64, entries []storage.Entry) []statementID {
	h := hasher{secret: &c.secret, epoch: epoch}
	ids := make([]statementID, len(entries))
	var size [8]byte
	for i := range entries {
		e := &entries[i]
		binary.BigEndian.PutUint64(size[:], uint64(e.Size)) //nolint:gosec // any number
		ids[i] = h.of('e', bucket, e.Key, e.VersionID, e.ETag, string(size[:]), e.LastModified)
	}
	return ids
}

// recalled is what is known of a page.
type recalled struct {
	facts    []fact // of its entries
	n        int    // how many of them are known
	vouchers map[uint32]voucher
}

// get returns what is known of a page's entries, whose ids are given.
func (c *cache) get(bucket string, epoch uint64, entries []storage.Entry, ids []statementID) *recalled {
	r := &recalled{facts: make([]fact, len(ids)), vouchers: make(map[uint32]voucher)}
	h := hasher{secret: &c.secret, epoch: epoch}
	now := c.now()
	var promotions []promotion
	age := 0
	defer func() { c.promote(age, promotions) }()
	c.mu.RLock()
	defer c.mu.RUnlock()
	age = c.age
	for i, id := range ids {
		f, ok := c.facts[id]
		if !ok && len(c.written) > 0 && !entries[i].DeleteMarker {
			var from statementID
			if from, f, ok = c.listed(&h, bucket, &entries[i]); ok {
				f.until = now + int64(unprovenFor/time.Second)
				promotions = append(promotions, promotion{from, id, f})
			}
		}
		if !ok || f.until != 0 && f.until < now {
			continue
		}
		r.facts[i] = f
		r.n++
		if f.needsVoucher() {
			r.vouchers[f.voucher] = c.vouchers[f.voucher]
		}
	}
	return r
}

// learned is a fact that was found out.
type learned struct {
	id      statementID
	fact    fact
	voucher voucher // where fact.needsVoucher
}

// put remembers facts of a bucket in an epoch. What a key vouches for is not replaced by what none
// does, but where a write may have been taken for another.
func (c *cache) put(bucket string, epoch uint64, all []learned) {
	until := c.now() + int64(unprovenFor/time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		f := all[i].fact
		old, known := c.facts[all[i].id]
		if f.needsVoucher() {
			f.voucher = c.vouch(epoch, all[i].voucher)
		} else {
			f.until = until
		}
		if known && old.needsVoucher() && (f.mode == sse.ModeNone || old.until == 0 && !f.needsVoucher()) {
			continue
		}
		if !known {
			makeRoom(c.facts, c.limit)
		}
		c.facts[all[i].id] = f
	}
	if len(all) > 0 {
		c.knowBucket(bucket)
	}
}

// knowBucket notes that there are facts of a bucket.
func (c *cache) knowBucket(bucket string) {
	if _, known := c.buckets[bucket]; !known {
		makeRoom(c.buckets, maxBuckets)
		c.buckets[strings.Clone(bucket)] = struct{}{}
	}
}

// vouch returns the index of the voucher that stands for a record.
func (c *cache) vouch(epoch uint64, v voucher) uint32 {
	what := vouchedFor{v.name.Bucket, epoch, v.record.KMSKey, v.record.KMSKeyVersion, v.under}
	n, ok := c.voucher[what]
	if !ok {
		if len(c.vouchers) == maxVouchers {
			c.clear()
		}
		n = uint32(len(c.vouchers)) //nolint:gosec // at most maxVouchers
		// Copies: the record is part of what a write needs, and the name of a whole page.
		own, name := *v.record, v.name.Clone()
		what.bucket = name.Bucket
		c.vouchers = append(c.vouchers, voucher{name, &own, v.under})
		c.voucher[what] = n
	}
	return n
}

// makeRoom drops entries, any of them, until one more fits. A map's order is random, and
// so a listing that is longer than the cache still finds some of it there.
func makeRoom[K comparable, V any](m map[K]V, limit int) {
	for victim := range m {
		if len(m) < limit {
			return
		}
		delete(m, victim)
	}
}

// promises says whether a page is likely to be known: something is of its bucket, and
// it was not marked.
func (c *cache) promises(bucket string, page statementID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, known := c.buckets[bucket]
	_, marked := c.pages[page]
	return known && !marked
}

// mark notes that a page is not likely to be known, or forgets that.
func (c *cache) mark(page statementID, unknown bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !unknown {
		delete(c.pages, page)
		return
	}
	makeRoom(c.pages, maxPages)
	c.pages[page] = struct{}{}
}
