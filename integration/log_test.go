package integration

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// What strangers send makes no long lines of the log, and not one line for each
// of their requests; whoever signs has each refusal in it.
func TestStrangersCannotFillTheLog(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "")
	c := e.client()
	bucket := newBucket(t, c)
	offset := e.seal.logSize()
	long := strings.Repeat("\x01", 10_000)
	for _, head := range []string{
		"GET /" + bucket + "/" + strings.Repeat("%01", 15_000) + " HTTP/1.1\r\nHost: x\r\n",
		"GET /" + strings.Repeat("%22", 15_000) + "/k HTTP/1.1\r\nHost: x\r\n",
		strings.Repeat("M", 50_000) + " /" + bucket + "/k HTTP/1.1\r\nHost: x\r\n",
		"GET /" + bucket + "/k?x=" + strings.Repeat("%22", 15_000) + " HTTP/1.1\r\nHost: x\r\n",
		"GET /" + bucket + "/k HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 Credential=" + strings.Repeat("ä", 20_000) + "/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=" + strings.Repeat("0", 64) + "\r\n",
		"GET /" + bucket + "/k HTTP/1.1\r\nHost: x\r\nUser-Agent: " + strings.Repeat("ä", 20_000) + "\r\nX-Amz-Date: " + strings.Repeat("z", 10_000) + "\r\n",
		"GET /" + bucket + "/k;" + long + " HTTP/1.1\r\nHost: x\r\n",
	} {
		conn := e.dial(t, "")
		send(conn, head+"Connection: close\r\n\r\n")
		buffer := make([]byte, 1000)
		_, _ = conn.Read(buffer)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				_, _ = c.anonymous().try(request{method: http.MethodGet, bucket: bucket, key: "k", query: "x;y"})
			}
		})
	}
	all.Wait()
	for i := range 100 {
		c.put(t, bucket, fmt.Sprint("signed", i), nil, map[string]string{"X-Amz-Server-Side-Encryption": "none"}).wantStatus(t, http.StatusBadRequest)
	}
	text := e.seal.logSince(offset)
	signed, others := 0, 0
	for line := range strings.Lines(text) {
		if len(line) > 16<<10 {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
		if strings.Contains(line, "signed") {
			signed++
		} else {
			others++
		}
	}
	t.Logf("%d bytes in %d and %d lines", len(text), signed, others)
	if signed != 100 || others < 20 || others > 150 {
		t.Errorf("%d lines of refusals that were signed, %d others", signed, others)
	}
}

// A key that is gone is a line in the log for each request that it fails.
func TestAKeyThatIsGoneIsInTheLog(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket := newBucket(t, c)
	c.put(t, bucket, "named", nil, kmsWith("no-such-key")).wantError(t, http.StatusNotFound, "kms:KeyNotFound", "")
	c.get(t, bucket, "nothing", nil).wantStatus(t, http.StatusNotFound)
	log := s.seal.logSince(0)
	if strings.Count(log, "kms:KeyNotFound") != 1 || !strings.Contains(log, "level=WARN") || !strings.Contains(log, "key=named") || strings.Contains(log, "key=nothing") {
		t.Errorf("the log: %s", log)
	}
}
