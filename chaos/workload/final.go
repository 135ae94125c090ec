package workload

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// Final reads everything that a history may have left, whole, through every target, and adds what it
// saw to the history, as of after the last operation: a check of that history then judges it as well.
func Final(ctx context.Context, c Config, h *history.History) error {
	r := &runner{Config: c, book: newBook(), history: h}
	type object struct{ bucket, key, version string }
	all, mortal := map[object]bool{}, map[object]bool{}
	for _, o := range h.Ops() {
		if o.Body != nil || o.Write != history.Absent {
			r.book.note(o.Write, o.Body)
		}
		r.offset = max(r.offset, o.End)
		if o.Outcome == history.Failed {
			continue
		}
		switch o.Kind {
		case history.Put, history.Copy, history.Complete:
			if strings.HasPrefix(o.Key, mortalClass) {
				mortal[object{o.Bucket, o.Key, ""}] = true
				continue
			}
			if !strings.HasPrefix(o.Key, "v/") {
				all[object{o.Bucket, o.Key, ""}] = true
			}
			if o.Saw != nil && o.Saw.Version != "" {
				all[object{o.Bucket, o.Key, o.Saw.Version}] = true
			}
		}
	}
	r.restart()
	for _, t := range c.Targets {
		r.ways = append(r.ways, newWay(t))
	}
	defer r.disconnect()
	for o := range mortal {
		if err := r.clear(ctx, o.bucket, o.key); err != nil {
			return err
		}
	}
	work := make(chan object)
	var readers sync.WaitGroup
	for i := range 8 {
		readers.Go(func() {
			cl := &client{r: r, id: i + 1, rng: seeded(c.Seed, uint64(i))}
			for o := range work {
				for i := range max(finalReads, len(r.ways)) {
					cl.readWhole(ctx, r.ways[i%len(r.ways)], o.bucket, o.key, o.version)
				}
			}
		})
	}
	for o := range all {
		if ctx.Err() == nil {
			work <- o
		}
	}
	close(work)
	readers.Wait()
	return ctx.Err()
}

// finalReads is how often an object is read at least: a storage whose drives disagree shows now one
// thing and now another.
const finalReads = 4

// finalTries is how often an object is read until it counts as unreadable: MinIO refuses reads for moments in
// which it is busy.
const finalTries = 5

func (c *client) readWhole(ctx context.Context, w *way, bucket, key, version string) {
	o := c.begin(history.Get, w, bucket, key)
	if o.Version = version; version != "" {
		o.Kind = history.GetVersion
	}
	h := http.Header{}
	if strings.HasPrefix(key, "c/") && len(c.r.Keys) > 0 {
		customerKey(h, ssecHeader, bucket, key)
	}
	for try := range finalTries {
		time.Sleep(time.Duration(try) * time.Second)
		if c.get(ctx, o, w, h, 0, 0) != nil {
			return
		}
	}
	// It cannot be read at all, by a cluster that is whole again.
	c.end(o, answer{outcome: history.Failed, code: history.Unreadable})
}
