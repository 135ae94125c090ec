package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"testing"
	"time"
)

// median runs f so often and returns the middle of its times.
func median(times int, f func()) time.Duration {
	all := make([]time.Duration, times)
	for i := range all {
		began := time.Now()
		f()
		all[i] = time.Since(began)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	return all[times/2]
}

func BenchmarkListing(b *testing.B) {
	x := newBench(b)
	const objects, times = 1000, 41
	fill := func(prefix string, header map[string]string) {
		var wg sync.WaitGroup
		for worker := range 16 {
			wg.Go(func() {
				for i := worker; i < objects; i += 16 {
					if a, err := x.seal.try(request{method: http.MethodPut, bucket: x.bucket, key: fmt.Sprintf("%s%04d", prefix, i), body: []byte("x"), header: header}); err != nil || a.status != http.StatusOK {
						x.Errorf("PUT: %d %v", a.status, err)
					}
				}
			})
		}
		wg.Wait()
	}
	fill("s3/", sseModes()[0].put)
	fill("kms/", sseModes()[1].put)
	b.ResetTimer()
	x.say("ListObjectsV2 of %d objects, median of %d", objects, times)
	raw := x.stack.raw()
	for _, prefix := range []string{"s3/", "kms/"} {
		q := query("encoding-type", "url", "list-type", "2", "metadata", "true", "prefix", prefix)
		ours := query("list-type", "2", "prefix", prefix)
		list := func(c *client, q string) func() {
			return func() { x.must(c, request{method: http.MethodGet, bucket: x.bucket, query: q}) }
		}
		for range 5 {
			list(raw, q)()
			list(x.seal.client, ours)()
		}
		cpu := x.seal.cpu(b)
		upstream, seal := median(times, list(raw, q)), median(times, list(x.seal.client, ours))
		cpu = (x.seal.cpu(b) - cpu) / times
		x.say("  %-5s upstream metadata=true %6.1f ms, bucketseal %6.1f ms (%.1f ms of processor)   ratio %.2f", prefix,
			upstream.Seconds()*1e3, seal.Seconds()*1e3, cpu*1e3, seal.Seconds()/upstream.Seconds())
		b.ReportMetric(seal.Seconds()/upstream.Seconds(), prefix[:len(prefix)-1]+"-list-ratio")
	}
}

// BenchmarkSmallObjectThreshold compares an upload that is read whole first with
// one that is streamed and leaves a manifest.
func BenchmarkSmallObjectThreshold(b *testing.B) {
	x := newBench(b)
	second := func(name, size string) *client {
		file := filepath.Join(x.stack.dir, name+".yml")
		if err := os.WriteFile(file, []byte("small_object: {size: "+size+", budget: 512MiB}\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		s, err := startSeal(x.stack.dir, "", x.stack.minio.endpoint(), "--config", file)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(s.kill)
		return newClient(s.endpoint(), rootUser, rootPassword)
	}
	buffered, streamed := second("buffered", "64MiB"), second("streamed", "1KiB")
	b.ResetTimer()
	x.say("PUT latency of SSE-S3 by size, buffered and streamed with a manifest, median: one client, and 8 at a time")
	for _, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20} {
		times := min(31, max(7, 64<<20/size))
		data := testData(size, 3)
		put := func(c *client, n int) time.Duration {
			return median(times, func() {
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						a, err := c.try(request{method: http.MethodPut, bucket: x.bucket, key: fmt.Sprintf("p%d", i), body: data})
						if err != nil || a.status != http.StatusOK {
							x.Errorf("PUT: %d %s %v", a.status, a.code, err)
						}
					})
				}
				wg.Wait()
			})
		}
		one := [2]time.Duration{put(buffered, 1), put(streamed, 1)}
		many := [2]time.Duration{put(buffered, 8), put(streamed, 8)}
		x.say("  %6d KiB: %7.1f ms, %7.1f ms (%.2f)   8 at a time: %7.1f ms, %7.1f ms (%.2f)", size>>10,
			one[0].Seconds()*1e3, one[1].Seconds()*1e3, one[1].Seconds()/one[0].Seconds(),
			many[0].Seconds()*1e3, many[1].Seconds()*1e3, many[1].Seconds()/many[0].Seconds())
	}
}
