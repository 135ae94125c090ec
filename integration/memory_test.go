package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// generator is a stream of size bytes that costs next to nothing to make and
// whose every MiB differs.
type generator struct {
	block         []byte
	offset, total int64
}

func newGenerator(size int64) *generator { return &generator{block: testData(1<<20, 31), total: size} }

func (g *generator) Read(p []byte) (int, error) {
	if g.offset == g.total {
		return 0, io.EOF
	}
	const mark = 1024
	n := copy(p, g.block[g.offset%int64(len(g.block)):])
	n = int(min(int64(n), g.total-g.offset))
	// One byte in 1024 tells the repetitions of the block apart, wherever a read begins.
	for i := (mark - g.offset%mark) % mark; i < int64(n); i += mark {
		p[i] ^= byte((g.offset + i) >> 20)
	}
	g.offset += int64(n)
	return n, nil
}

// memory is what /proc says of a process, in bytes.
type memory struct{ rss, peak int64 }

func memoryOf(t *testing.T, pid int) memory {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) int64 {
		_, rest, _ := strings.Cut(string(data), name+":")
		n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n << 10
	}
	return memory{rss: field("VmRSS"), peak: field("VmHWM")}
}

// resetPeak makes the kernel count the peak of a process anew.
func resetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600); err != nil {
		t.Skipf("cannot reset the peak memory of the server: %v", err)
	}
}

func TestALargeObjectPassesInConstantMemory(t *testing.T) {
	needsSeal(t)
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	if testing.Short() {
		t.Skip("writes 512 MiB")
	}
	size, limit := int64(512<<20), int64(64<<20)
	if os.Getenv("BUCKETSEAL_LONG") != "" {
		size = 2 << 30
	}
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "warm", testData(1<<20, 32), nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "warm", nil).wantStatus(t, http.StatusOK)

	before := memoryOf(t, s.seal.pid())
	resetPeak(t, s.seal.pid())
	began := time.Now()
	c.do(t, request{
		method: http.MethodPut, bucket: bucket, key: "big", stream: newGenerator(size), size: size, limit: 4 * time.Minute,
	}).wantStatus(t, http.StatusOK)
	put, putTime := memoryOf(t, s.seal.pid()), time.Since(began)

	began = time.Now()
	readBack(t, c, bucket, size)
	get, getTime := memoryOf(t, s.seal.pid()), time.Since(began)
	t.Logf("PUT %v, GET %v; resident before %d KiB, peak of PUT %d KiB, of both %d KiB", putTime, getTime, before.rss>>10, put.peak>>10, get.peak>>10)
	if grown := get.peak - before.rss; grown > limit {
		t.Errorf("the server grew by %d MiB, at most %d allowed", grown>>20, limit>>20)
	}
	if n := s.raw().head(t, bucket, "big", nil).size(t); n != size+size/packageSize*packageOverhead {
		t.Errorf("%d bytes in MinIO", n)
	}
}

// readBack compares the object with what the generator made, as it comes.
func readBack(t *testing.T, c *client, bucket string, size int64) {
	t.Helper()
	req, err := c.build(request{method: http.MethodGet, bucket: bucket, key: "big"})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != size {
		t.Fatalf("status %d, length %d", resp.StatusCode, resp.ContentLength)
	}
	want, got := make([]byte, 1<<20), make([]byte, 1<<20)
	for g, offset := newGenerator(size), int64(0); offset < size; offset += int64(len(got)) {
		if _, err := io.ReadFull(resp.Body, got); err != nil {
			t.Fatalf("at %d: %v", offset, err)
		}
		if _, err := io.ReadFull(g, want); err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Fatalf("the object differs between %d and %d", offset, offset+int64(len(got)))
		}
	}
	if n, err := resp.Body.Read(got[:1]); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
}
