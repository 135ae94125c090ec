package integration

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// observed is a proxy whose requests are counted and traced.
type observed struct {
	*stack
	metrics   string
	collector *traceCollector
}

func newObserved(t *testing.T) *observed {
	t.Helper()
	needsSeal(t)
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	c := newTraceCollector(t)
	file := writeFile(t, t.TempDir(), "observed.yml", fmt.Appendf(nil, `
metrics: {address: "%s"}
tracing: {endpoint: "%s", sample_ratio: 1.0, headers: ["Authorization=Bearer collector-token"]}
customer_keys_over_http: true
`, address, c.URL))
	return &observed{newStack(t, stackOptions{args: []string{"--config", file}}), "http://" + address, c}
}

// scrape returns what the metrics' address serves.
func (o *observed) scrape(t *testing.T) string {
	t.Helper()
	resp, err := http.Get(o.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %d, %v", resp.StatusCode, err)
	}
	return string(text)
}

// traceOf is a traceparent of a trace of its own.
func traceOf(n int) (header map[string]string, id string) {
	id = fmt.Sprintf("%032x", n+1)
	return map[string]string{"Traceparent": "00-" + id + "-00000000000000aa-00"}, id
}

func withAll(sets ...map[string]string) map[string]string {
	all := make(map[string]string)
	for _, m := range sets {
		maps.Copy(all, m)
	}
	return all
}

// One server's life: what it counts, what it traces, and what neither gives away.
func TestMetricsAndTraces(t *testing.T) {
	t.Parallel()
	o := newObserved(t)
	c := o.client()
	bucket := newBucket(t, c)
	const secretKey = "folder/secret-object-name"
	data := testData(200_000, 7)
	customer := customerKey(8)
	var puts, gets []string // traces
	for i, mode := range []map[string]string{
		nil, {"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Meta-Note": "user-metadata-text"}, customer,
	} {
		header, id := traceOf(i)
		c.put(t, bucket, secretKey, data, withAll(mode, header)).wantStatus(t, http.StatusOK)
		puts = append(puts, id)
		header, id = traceOf(100 + i)
		read := withAll(header)
		if i == 2 {
			read = withAll(header, customer)
		}
		c.get(t, bucket, secretKey, read).wantStatus(t, http.StatusOK).wantBody(t, data)
		gets = append(gets, id)
	}
	for i := range puts { // at the end: spans are sent every two seconds
		o.tree(t, puts[i], bucket, "PutObject", i != 2)
		o.tree(t, gets[i], bucket, "GetObject", i != 2)
	}
	o.damage(t, bucket)
	o.everyOperation(t, bucket)
	o.counts(t)
	o.secrets(t, secretKey, customer)
}

// tree checks the spans of a request that came with a trace of its own.
func (o *observed) tree(t *testing.T, id, bucket, op string, kms bool) {
	t.Helper()
	tree := o.collector.trace(t, id)
	request := tree.named(t, "request")
	if hex.EncodeToString(request.ParentSpanId) != "00000000000000aa" || attribute(request, "bucketseal.operation") != op ||
		attribute(request, "bucketseal.bucket") != bucket || attribute(request, "http.response.status_code") != "200" {
		t.Errorf("%s: %v", op, request)
	}
	below := tree.below(request)
	for _, name := range []string{"signature", "identity", "keys", "upstream"} {
		if !slices.Contains(below, name) {
			t.Errorf("%s: no span %s below the request's, but %q", op, name, below)
		}
	}
	call := map[string]string{"PutObject": "kms GenerateDEK", "GetObject": "kms DecryptDEK"}[op]
	if kms != slices.Contains(tree.below(tree.named(t, "keys")), call) {
		t.Errorf("%s: below keys are %q", op, tree.below(tree.named(t, "keys")))
	}
	for _, s := range tree {
		if s.StartTimeUnixNano == 0 || s.EndTimeUnixNano < s.StartTimeUnixNano {
			t.Errorf("%s: span %s from %d to %d", op, s.Name, s.StartTimeUnixNano, s.EndTimeUnixNano)
		}
	}
}

// damage puts at MinIO what no proxy wrote.
func (o *observed) damage(t *testing.T, bucket string) {
	t.Helper()
	c := o.client()
	c.put(t, bucket, "a", testData(2*packageSize, 1), nil).wantStatus(t, http.StatusOK)
	a := o.raw().get(t, bucket, "a", nil)
	a.body[packageSize/2] ^= 1
	storeRaw(t, o.stack, bucket, "damaged", a.body, a.header)
	storeRaw(t, o.stack, bucket, "plain", []byte("planted"), nil)
	for _, key := range []string{"damaged", "plain"} {
		got, err := c.try(request{method: http.MethodGet, bucket: bucket, key: key})
		got.notComplete(t, err)
	}
}

// everyOperation asks for many things, most of which fail.
func (o *observed) everyOperation(t *testing.T, bucket string) {
	t.Helper()
	clients := []*client{o.client(), o.client().anonymous()}
	_, _ = o.client().as("nobody", "no-secret-0123456789").try(request{method: http.MethodGet})
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "BREW"} {
		for _, sub := range []string{
			"", "acl=", "policy=", "tagging=", "versioning=", "lifecycle=", "encryption=", "cors=", "uploads=", "list-type=2", "versions=", "object-lock=",
			"retention=", "legal-hold=", "torrent=", "select=&select-type=2", "attributes=", "uploadId=x&partNumber=1", "restore=", "made-up=1",
		} {
			for i, c := range clients {
				key := []string{"", "k"}[i]
				if method == http.MethodDelete && sub == "" && key == "" || method == http.MethodPut && i == 0 && sub == "encryption=" {
					continue
				}
				_, _ = c.try(request{method: method, bucket: bucket, key: key, query: sub})
			}
		}
	}
	for _, path := range []string{"admin/v3/info", "admin/v3/list-users", "kms/v1/status", "admin/v3/no-such-thing"} {
		_, _ = o.client().try(request{method: http.MethodGet, path: "/minio/" + path})
	}
}

// counts checks what was counted, that it is documented, and how many series there are.
func (o *observed) counts(t *testing.T) {
	t.Helper()
	text := o.scrape(t)
	for _, want := range []string{
		`bucketseal_s3_requests_total{operation="PutObject",sse="SSE-KMS",status="2xx"} 1`,
		`bucketseal_s3_requests_total{operation="PutObject",sse="SSE-C",status="2xx"} 1`,
		`bucketseal_s3_requests_total{operation="GetObject",sse="SSE-C",status="2xx"} 1`,
		`bucketseal_s3_requests_total{operation="GetObject",sse="",status="4xx"} `,
		`bucketseal_s3_integrity_failures_total{kind="data"} 1`, `bucketseal_s3_plain_refused_total 1`,
		`bucketseal_ready 1`, `bucketseal_storage_usable 1`, `bucketseal_keys_usable 1`, `bucketseal_upstream_failures_total{kind="connect"} 0`,
		`bucketseal_kms_calls_total{call="DecryptDEK",result="done"} `, `bucketseal_build_info{`, `bucketseal_rules_age_seconds `,
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no line begins with %s", want)
		}
	}
	if skew := metric(t, o.metrics, "bucketseal_upstream_clock_skew_seconds"); skew < -2 || skew > 2 {
		t.Errorf("the clock of this machine differs from itself by %v s", skew)
	}
	for _, direction := range []string{"sent", "received"} {
		for _, side := range []string{"client", "upstream"} {
			if n := metric(t, o.metrics, "bucketseal_"+side+`_bytes_total{direction="`+direction+`"}`); n < 600_000 {
				t.Errorf("%s %s: %v bytes", side, direction, n)
			}
		}
	}
	page, err := os.ReadFile(filepath.Join("..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			series++
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE bucketseal_"); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if !bytes.Contains(page, []byte("| `bucketseal_"+name+"` | "+kind+" |")) {
				t.Errorf("docs/metrics.md does not have bucketseal_%s as a %s", name, kind)
			}
		}
	}
	if t.Logf("%d series", series); series > 2000 {
		t.Errorf("%d series, more than 2,000", series)
	}
}

// secrets looks for what neither metrics nor traces may hold.
func (o *observed) secrets(t *testing.T, objectKey string, customer map[string]string) {
	t.Helper()
	text, spans, auth := o.collector.seen()
	if len(spans) < 50 || !slices.Contains(auth, "Bearer collector-token") {
		t.Errorf("%d spans, by %q", len(spans), slices.Compact(auth))
	}
	if bytes.Contains(text, []byte(defaultKey)) { // metrics have it
		t.Error("traces give a KMS key's name away")
	}
	text = append(text, o.scrape(t)...)
	for name, secret := range map[string]string{
		"the object's key": objectKey, "a secret key": rootPassword, "an access key": rootUser, "a stranger's access key": "nobody",
		"a customer key": customer["X-Amz-Server-Side-Encryption-Customer-Key"], "its MD5": customer["X-Amz-Server-Side-Encryption-Customer-Key-Md5"],
		"metadata": "user-metadata-text", "a header": "AWS4-HMAC-SHA256", "a query": "list-type", "the collector's token": "collector-token",
	} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s is given away", name)
		}
	}
}
