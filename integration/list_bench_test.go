package integration

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkListObjectsV2 lists 1,000 encrypted objects through the proxy and, in
// turn, straight at MinIO with metadata=true, which is what the proxy has to
// ask. It reports both medians and their ratio.
func BenchmarkListObjectsV2(b *testing.B) {
	for _, mode := range sseModes()[:2] {
		b.Run(mode.name, func(b *testing.B) { benchmarkList(b, mode.put) })
	}
}

func benchmarkList(b *testing.B, header map[string]string) {
	s, err := startStack(b.TempDir(), stackOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.stop() }()
	c, raw := s.client(), s.raw()
	const bucket = "bench"
	ask := func(c *client, r request) {
		if a, err := c.try(r); err != nil || a.status != http.StatusOK {
			b.Fatal(a.status, a.code, a.message, err)
		}
	}
	ask(c, request{method: http.MethodPut, bucket: bucket})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < 1000; i += 8 {
				a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: fmt.Sprintf("dir/%04d", i), body: testData(1000, uint64(i)), header: header})
				if err != nil || a.status != http.StatusOK {
					b.Error(a.status, a.code, err)
				}
			}
		})
	}
	wg.Wait()
	var through, straight []time.Duration
	for b.Loop() {
		begin := time.Now()
		ask(c, request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
		middle := time.Now()
		ask(raw, request{method: http.MethodGet, bucket: bucket, query: "list-type=2&metadata=true"})
		through, straight = append(through, middle.Sub(begin)), append(straight, time.Since(middle))
	}
	median := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/2].Microseconds()) / 1000
	}
	b.ReportMetric(median(through), "ms/proxy")
	b.ReportMetric(median(straight), "ms/minio")
	b.ReportMetric(median(through)/median(straight), "ratio")
}
