package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestUpstreamOutOfReachIsAPrompt503(t *testing.T) {
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(10_000, 30)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	s.minio.kill()
	from := s.seal.logSize()
	for _, r := range []request{
		{method: http.MethodGet, bucket: bucket, key: "k"},
		{method: http.MethodPut, bucket: bucket, key: "k2", body: data},
		{method: http.MethodHead, bucket: bucket, key: "k"},
		{method: http.MethodGet, bucket: bucket, query: "list-type=2"},
		{method: http.MethodGet},
	} {
		r.limit = 15 * time.Second
		began := time.Now()
		a, err := c.try(r)
		if err != nil {
			t.Fatalf("%s: no answer: %v", r.method, err)
		}
		if a.status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s %q, want 503", a.what, a.status, a.code, a.message)
		}
		if r.method != http.MethodHead && a.code != "SlowDown" && a.code != "ServiceUnavailable" && a.code != "SlowDownRead" && a.code != "SlowDownWrite" {
			t.Errorf("%s: code %q", a.what, a.code)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %v", a.what, took)
		}
		if strings.Contains(string(a.body), s.minio.addr) {
			t.Errorf("%s: the client is told the upstream's address: %s", a.what, a.body)
		}
	}
	if log := s.seal.logSince(from); !strings.Contains(strings.ToLower(log), "upstream") {
		t.Errorf("the log does not say that it is the upstream:\n%s", log)
	}

	var err error
	if s.minio, err = startMinIO(s.minio.dir, s.minio.addr, false); err != nil {
		t.Fatal(err)
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

func TestHealthEndpointsFollowTheUpstream(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client().anonymous()
	for _, path := range []string{"/minio/health/live", "/minio/health/ready"} {
		c.do(t, request{method: http.MethodGet, path: path}).wantStatus(t, http.StatusOK)
		c.do(t, request{method: http.MethodHead, path: path}).wantStatus(t, http.StatusOK)
	}
	s.minio.kill()
	c.do(t, request{method: http.MethodGet, path: "/minio/health/live"}).wantStatus(t, http.StatusOK)
	// An outcome is good for a moment, whoever asks.
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a := c.do(t, request{method: http.MethodGet, path: "/minio/health/ready"})
		if a.status == http.StatusServiceUnavailable {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("ready without an upstream: %d, want 503", a.status)
		}
	}
}
