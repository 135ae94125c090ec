package aftermath

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// Held is what a process holds.
type Held struct {
	Goroutines, Descriptors int
	// Heap is what of the heap is in use, in bytes.
	Heap int64
}

// How much more than before a proxy may hold at the end: connections that are kept, caches that are filled, a heap
// that was not collected for a while.
const (
	moreGoroutines  = 64
	moreDescriptors = 48
	moreHeap        = 256 << 20
)

// Holds asks each proxy what it holds.
func Holds(ctx context.Context, c *cluster.Cluster) (map[string]Held, error) {
	all := map[string]Held{}
	for _, s := range c.Proxies {
		h, err := Ask(ctx, s.Metrics)
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", s.Name, err)
		}
		all[s.Name] = h
	}
	return all, nil
}

// Ask asks one proxy, by the URL of its metrics, what it holds.
func Ask(ctx context.Context, url string) (Held, error) {
	var h Held
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return h, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return h, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	seen := 0
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		switch name {
		case "go_goroutines":
			h.Goroutines = int(value)
		case "process_open_fds":
			h.Descriptors = int(value)
		case "go_memstats_heap_inuse_bytes":
			h.Heap = int64(value)
		default:
			continue
		}
		seen++
	}
	if err := lines.Err(); err != nil {
		return h, err
	}
	if seen != 3 {
		return h, fmt.Errorf("%s tells %d of 3 values", url, seen)
	}
	return h, nil
}

// leaks compares what the proxies hold with what they held before, until it is little more or the time is over.
func leaks(ctx context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	end := time.Now().Add(o.Settle)
	for {
		now, err := Holds(ctx, c)
		if err != nil {
			return nil, err
		}
		found := compare(o.Before, now)
		if len(found) == 0 || time.Now().After(end) {
			c.Logf("aftermath: held before %v, now %v", o.Before, now)
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

func compare(before, now map[string]Held) []Finding {
	var found []Finding
	for name, n := range now {
		b := before[name]
		for _, one := range []struct {
			what            string
			had, has, bound int64
		}{
			{"goroutines", int64(b.Goroutines), int64(n.Goroutines), moreGoroutines},
			{"descriptors", int64(b.Descriptors), int64(n.Descriptors), moreDescriptors},
			{"bytes of heap", b.Heap, n.Heap, moreHeap},
		} {
			if one.has > one.had+one.bound {
				found = append(found, Finding{"leak", fmt.Sprintf("%s holds %d %s, and held %d", name, one.has, one.what, one.had)})
			}
		}
	}
	return found
}
