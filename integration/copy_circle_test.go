package integration

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// Two copies in opposite directions have a MinIO alone wait for itself: each holds what the other
// needs. A proxy has one wait until the other is done.
func TestCopiesInOppositeDirections(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	c := newStack(t, stackOptions{}).client()
	one, two := newBucket(t, c), newBucket(t, c)
	data := testData(1_000_000, 7) // not inline in MinIO's metadata, which nobody holds
	c.put(t, one, "a", data, nil).wantStatus(t, http.StatusOK)
	c.put(t, two, "b", data, nil).wantStatus(t, http.StatusOK)
	const slow = 5 * time.Second // MinIO alone: minutes
	copies := func(from, to string, bucket, key string) {
		for i := range 25 {
			began := time.Now()
			a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: key, header: map[string]string{
				"X-Amz-Copy-Source": "/" + from + "/" + to, "X-Amz-Metadata-Directive": "REPLACE",
			}})
			refused := a.status == http.StatusServiceUnavailable && (a.code == "SlowDown" || a.code == "SlowDownRead") // overwritten meanwhile
			if err != nil || a.status != http.StatusOK && !refused {
				t.Errorf("copy %d to %s: %d %s %v", i, key, a.status, a.code, err)
				return
			}
			if took := time.Since(began); took > slow {
				t.Errorf("copy %d to %s took %v", i, key, took)
				return
			}
		}
	}
	var both sync.WaitGroup
	both.Go(func() { copies(one, "a", two, "b") })
	both.Go(func() { copies(two, "b", one, "a") })
	both.Wait()
	for bucket, key := range map[string]string{one: "a", two: "b"} {
		if a := c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK); string(a.body) != string(data) {
			t.Errorf("%s has other bytes", key)
		}
	}
}
