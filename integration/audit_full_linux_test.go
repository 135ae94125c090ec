package integration

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// While the disk of a required audit log is full nothing is served, and nothing changes. When
// there is room again it is, and the log says that lines are missing.
func TestAFullDiskOfTheAuditLogRefusesRequests(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	disk := smallDisk(t, 256<<10)
	s, l, yaml := newAudited(t, disk, "  required: true\n")
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", []byte("before"), nil).wantStatus(t, http.StatusOK)
	ballast := filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	// What fits into the file's last page is still written.
	end := time.Now().Add(20 * time.Second)
	for c.get(t, bucket, "k", nil).status == http.StatusOK && time.Now().Before(end) {
		continue
	}
	c.get(t, bucket, "k", nil).wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", "")
	c.put(t, bucket, "k", []byte("unaudited"), nil).wantError(t, http.StatusServiceUnavailable, "ServiceUnavailable", "")
	c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "k"}).wantStatus(t, http.StatusServiceUnavailable)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	becomes(t, c, request{method: http.MethodGet, bucket: bucket, key: "k"}, http.StatusOK).wantBody(t, []byte("before"))
	gaps := 0
	for _, line := range l.lines(t) {
		if line.Kind == "gap" {
			gaps++
		}
	}
	if gaps == 0 {
		t.Error("no line says that lines are missing")
	}
	if err := s.seal.stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	mustSeal(t, []string{"BUCKETSEAL_DATA_DIR=" + s.seal.dataDir}, "", "audit", "verify", "--config", yaml)
}
