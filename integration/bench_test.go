package integration

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The benchmarks compare bucketseal with the plainest proxy that Go can make,
// over the same MinIO. What counts is processor time, which a busy machine does
// not falsify as it does wall time.
//
//	go test ./integration -run '^$' -bench . -benchtime 1x
//
// BUCKETSEAL_BENCH_SIZE is the size of the large object in MiB, 1024 if not set.

// plainProxyEnv makes TestPlainProxyProcess the plain proxy: LISTEN TARGET.
const plainProxyEnv = "BUCKETSEAL_TEST_PLAIN_PROXY"

// TestPlainProxyProcess is no test: the benchmarks run it as a process of its
// own, whose processor time can be read.
func TestPlainProxyProcess(t *testing.T) {
	listen, target, ok := strings.Cut(os.Getenv(plainProxyEnv), " ")
	if !ok {
		t.Skip("a process of the benchmarks")
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
	proxy.Transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1024}
	server := &http.Server{Addr: listen, Handler: proxy, ReadHeaderTimeout: time.Minute}
	t.Fatal(server.ListenAndServe())
}

// contender is a proxy that is measured.
type contender struct {
	*client
	*process
}

// cpu is the processor time that a process has used, in seconds.
func (c contender) cpu(b *testing.B) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.pid()))
	if err != nil {
		b.Skipf("cannot read processor times: %v", err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	const utime, stime, ticks = 11, 12, 100
	user, _ := strconv.ParseFloat(fields[utime], 64)
	system, _ := strconv.ParseFloat(fields[stime], 64)
	return (user + system) / ticks
}

// bench is one MinIO with a plain proxy and bucketseal in front.
type bench struct {
	*testing.B
	stack       *stack
	plain, seal contender
	bucket      string
}

func newBench(b *testing.B) *bench {
	b.Helper()
	s, err := startStack(b.TempDir(), stackOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.stop() })
	addr, err := freeAddress()
	if err != nil {
		b.Fatal(err)
	}
	p, err := startProcess("plain proxy", filepath.Join(s.dir, "plain.log"), baseEnv(plainProxyEnv+"="+addr+" "+s.minio.addr),
		os.Args[0], "-test.run", "^TestPlainProxyProcess$", "-test.timeout", "0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.kill)
	if err := p.waitReady(http.DefaultClient, "http://"+addr+"/minio/health/live"); err != nil {
		b.Fatal(err)
	}
	x := &bench{B: b, stack: s, bucket: "bench"}
	x.plain = contender{newClient("http://"+addr, rootUser, rootPassword), p}
	x.seal = contender{s.client(), s.seal.process}
	x.must(x.seal.client, request{method: http.MethodPut, bucket: x.bucket})
	return x
}

func (x *bench) must(c *client, r request) answer {
	x.Helper()
	r.limit = 5 * time.Minute
	a, err := c.try(r)
	if err != nil || a.status >= 300 || a.bodyErr != nil {
		x.Fatalf("%s %s/%s: %d %s %v %v", r.method, r.bucket, r.key, a.status, a.code, err, a.bodyErr)
	}
	return a
}

// cost is what something took.
type cost struct{ wall, cpu float64 }

func (x *bench) measure(c contender, f func()) cost {
	cpu, began := c.cpu(x.B), time.Now()
	f()
	return cost{time.Since(began).Seconds(), c.cpu(x.B) - cpu}
}

func (x *bench) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// digestCosts measures what must be computed, in seconds for size bytes: AES-256-GCM
// in packages, and MD5.
func digestCosts(size int64) (gcm, md float64) {
	block, _ := aes.NewCipher(make([]byte, 32))
	aead, _ := cipher.NewGCM(block)
	data, out, nonce := testData(packageSize, 1), make([]byte, 0, packageSize+16), make([]byte, 12)
	began := time.Now()
	for n := int64(0); n < size; n += packageSize {
		aead.Seal(out, nonce, data, nil)
	}
	gcm = time.Since(began).Seconds()
	began = time.Now()
	h := md5.New()
	for n := int64(0); n < size; n += packageSize {
		h.Write(data)
	}
	return gcm, time.Since(began).Seconds()
}

// readAll reads an object and throws it away.
func (x *bench) readAll(c *client, key string, size int64) {
	req, err := c.build(request{method: http.MethodGet, bucket: x.bucket, key: key})
	if err != nil {
		x.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		x.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK || n < size {
		x.Fatalf("GET %s: %d, %d bytes, %v", key, resp.StatusCode, n, err)
	}
}

func BenchmarkLargeObjects(b *testing.B) {
	x := newBench(b)
	size := int64(1024)
	if v, err := strconv.ParseInt(os.Getenv("BUCKETSEAL_BENCH_SIZE"), 10, 64); err == nil {
		size = v
	}
	size <<= 20
	perGiB := float64(1<<30) / float64(size)
	put := func(c contender, header map[string]string) func() {
		return func() {
			x.must(c.client, request{method: http.MethodPut, bucket: x.bucket, key: "large", stream: newGenerator(size), size: size, header: header})
		}
	}
	get := func(c contender) func() { return func() { x.readAll(c.client, "large", size) } }
	gcm, md := digestCosts(size)
	const rounds = 2
	best := func(c contender, f func()) cost {
		all := make([]cost, rounds)
		for i := range all {
			all[i] = x.measure(c, f)
		}
		sort.Slice(all, func(i, j int) bool { return all[i].cpu < all[j].cpu })
		return all[0]
	}
	b.ResetTimer()
	plainPut := best(x.plain, put(x.plain, nil))
	plainGet := best(x.plain, get(x.plain))
	s3Put := best(x.seal, put(x.seal, sseModes()[0].put))
	s3Get := best(x.seal, get(x.seal))
	kmsPut := best(x.seal, put(x.seal, sseModes()[1].put))
	kmsGet := best(x.seal, get(x.seal))
	x.say("large objects, %d MiB, best of %d: processor seconds per GiB of the proxy, MiB/s, and the ratio to plain proxy + AES-256-GCM (%.2f) [+ MD5 (%.2f)]",
		size>>20, rounds, gcm*perGiB, md*perGiB)
	row := func(name string, c cost, floor float64) {
		x.say("  %-24s %6.2f s/GiB %7.0f MiB/s   ratio %.2f", name, c.cpu*perGiB, float64(size>>20)/c.wall, c.cpu/floor)
	}
	row("plain PUT", plainPut, plainPut.cpu)
	row("plain GET", plainGet, plainGet.cpu)
	row("SSE-KMS PUT", kmsPut, plainPut.cpu+gcm)
	row("SSE-S3 PUT (with MD5)", s3Put, plainPut.cpu+gcm+md)
	row("SSE-S3 GET", s3Get, plainGet.cpu+gcm)
	row("SSE-KMS GET", kmsGet, plainGet.cpu+gcm)
	b.ReportMetric(s3Put.cpu/(plainPut.cpu+gcm+md), "put-ratio")
	b.ReportMetric(s3Get.cpu/(plainGet.cpu+gcm), "get-ratio")
}

func BenchmarkSmallObjects(b *testing.B) {
	x := newBench(b)
	const requests, workers, rounds = 2000, 16, 4
	data := testData(4096, 2)
	type row struct {
		name, method string
		proxy        contender
		header       map[string]string
	}
	var rows []row
	for _, method := range []string{http.MethodPut, http.MethodGet} {
		rows = append(rows, row{"plain", method, x.plain, nil}, row{"SSE-S3", method, x.seal, sseModes()[0].put}, row{"SSE-KMS", method, x.seal, sseModes()[1].put})
	}
	best := make([]cost, len(rows))
	b.ResetTimer()
	for round := range rounds { // by turns, so that other work on the machine meets all alike
		for i, r := range rows {
			// What is read was written the same way just before.
			var next, failed atomic.Int64
			x.each(workers, 200, &next, &failed, r.proxy.client, http.MethodPut, data, r.header)
			header := r.header
			if r.method == http.MethodGet {
				header = nil
			}
			next.Store(0)
			got := x.measure(r.proxy, func() { x.each(workers, requests, &next, &failed, r.proxy.client, r.method, data, header) })
			if n := failed.Load(); n > 0 {
				x.Fatalf("%d requests failed", n)
			}
			if round == 0 || got.wall < best[i].wall {
				best[i].wall = got.wall
			}
			if round == 0 || got.cpu < best[i].cpu {
				best[i].cpu = got.cpu
			}
		}
	}
	x.say("4 KiB objects, %d clients, best of %d times %d: requests per second, processor microseconds per request of the proxy", workers, rounds, requests)
	for i, r := range rows {
		floor := best[i/3*3]
		x.say("  %-8s %s %7.0f/s %6.0f µs   ratio of rates %.2f, of processor time %.2f", r.name, r.method, requests/best[i].wall, best[i].cpu/requests*1e6,
			floor.wall/best[i].wall, best[i].cpu/floor.cpu)
		b.ReportMetric(floor.wall/best[i].wall, strings.ToLower(r.name+"-"+r.method)+"-rate")
	}
}

// each lets workers send requests until there were enough.
func (x *bench) each(workers int, requests int64, next, failed *atomic.Int64, c *client, method string, data []byte, header map[string]string) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1); i <= requests; i = next.Add(1) {
				r := request{method: method, bucket: x.bucket, key: fmt.Sprintf("s/%03d", i%200), header: header}
				if method == http.MethodPut {
					r.body = data
				}
				if a, err := c.try(r); err != nil || a.status != http.StatusOK {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
}
