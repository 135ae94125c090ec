package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// mortalKeys is how many KMS keys there are at a time that will be deleted, and mortalClass begins the names of
// the objects under them.
const (
	mortalKeys  = 2
	mortalClass = "k/"
	mortalMost  = 4 // objects under one of them
	mortalTries = 3
)

// mortal is a KMS key that clients make, use, have deleted, and see to be gone. One client at a time has it.
type mortal struct {
	mu      sync.Mutex
	name    string // "" before it is made
	made    int    // how many there were before, in this place
	objects []string
	tries   int
	ended   time.Time // when its deletion was acknowledged
}

// mortalKey goes one step on in the life of a KMS key.
func (c *client) mortalKey(ctx context.Context) {
	if c.r.EndKey == nil {
		return
	}
	n := c.rng.IntN(mortalKeys)
	m := &c.r.mortals[n]
	if !m.mu.TryLock() {
		return
	}
	defer m.mu.Unlock()
	over := !m.ended.IsZero() && time.Since(m.ended) > c.r.KeyGrace+time.Second
	switch pick := c.rng.IntN(3); {
	case m.name == "":
		c.createMortal(ctx, m, n)
	case over:
		for _, key := range m.objects {
			c.getMortal(ctx, key)
		}
		c.putMortal(ctx, m)
		c.forgetMortal(ctx, m)
	case len(m.objects) == 0 || pick == 0 && len(m.objects) < mortalMost:
		c.putMortal(ctx, m)
	case pick == 1 && m.ended.IsZero():
		c.endMortal(ctx, m)
	default:
		c.getMortal(ctx, m.objects[c.rng.IntN(len(m.objects))])
	}
}

func (c *client) createMortal(ctx context.Context, m *mortal, n int) {
	w := c.way()
	o := c.begin(history.CreateKey, w, "", "")
	m.made++
	name := fmt.Sprintf("chaos-mortal-%d-%d", n, m.made)
	o.Seal = kmsSeal(name)
	a := w.do(ctx, request{
		method: http.MethodPost, bucket: "minio", key: "kms/v1/key/create", query: url.Values{"key-id": {name}}, limit: shortLimit,
	})
	if c.end(o, a); a.outcome == history.OK {
		m.name, m.objects, m.tries, m.ended = name, nil, 0, time.Time{}
	}
}

// putMortal writes an object under the key. After the key's end it is to be refused.
func (c *client) putMortal(ctx context.Context, m *mortal) {
	w := c.way()
	key := fmt.Sprintf("%s%s-%d", mortalClass, m.name, len(m.objects))
	m.objects = append(m.objects, key)
	o := c.begin(history.Put, w, bucketS3, key)
	o.Seal = kmsSeal(m.name)
	h := http.Header{}
	askFor(h, o.Seal)
	c.put(ctx, o, w, 1+c.rng.Int64N(100_000), h)
}

func (c *client) getMortal(ctx context.Context, key string) {
	w := c.way()
	c.get(ctx, c.begin(history.Get, w, bucketS3, key), w, http.Header{}, 0, 0)
}

func (c *client) endMortal(ctx context.Context, m *mortal) {
	limited, cancel := context.WithTimeout(ctx, longLimit)
	defer cancel()
	o := c.begin(history.DeleteKey, c.r.ways[0], "", "")
	o.Seal, o.Grace, o.By, o.Via = kmsSeal(m.name), c.r.KeyGrace, "bucketseal", "key servers"
	a := answer{outcome: history.OK}
	if err := c.r.EndKey(limited, m.name); err != nil {
		a = answer{outcome: history.Unknown, code: complaint(err)}
	}
	c.end(o, a)
	if m.tries++; a.outcome == history.OK {
		m.ended = time.Now()
	} else if m.tries == mortalTries {
		c.forgetMortal(ctx, m)
	}
}

// forgetMortal deletes what lies under the key, which needs no key, and makes room for the next one.
func (c *client) forgetMortal(ctx context.Context, m *mortal) {
	for _, key := range m.objects {
		c.delete(ctx, bucketS3, key)
	}
	m.name, m.objects = "", nil
}

// clear deletes an object that lies under a key that may be gone: nobody reads it in the end.
func (r *runner) clear(ctx context.Context, bucket, key string) error {
	var a answer
	for range 5 {
		if a = r.ways[0].do(ctx, request{method: http.MethodDelete, bucket: bucket, key: key, limit: shortLimit}); a.outcome == history.OK {
			return nil
		}
		time.Sleep(time.Second)
	}
	return fmt.Errorf("%s/%s is not deleted: status %d %s", bucket, key, a.status, a.code)
}
