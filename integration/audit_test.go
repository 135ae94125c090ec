package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// auditLine is what tests read of a line of the audit log.
type auditLine struct {
	Seq       uint64 `json:"seq"`
	Kind      string `json:"kind"`
	Request   string `json:"request"`
	Op        string `json:"op"`
	AccessKey string `json:"access_key"`
	Identity  string `json:"identity"`
	Source    string `json:"source"`
	Via       []struct {
		AccessKey string `json:"access_key"`
		Identity  string `json:"identity"`
	} `json:"via"`
	Claims     string `json:"claims"`
	Address    string `json:"address"`
	Bucket     string `json:"bucket"`
	Object     string `json:"object"`
	Version    string `json:"version"`
	Target     string `json:"target"`
	SSE        string `json:"sse"`
	KMSKey     string `json:"kms_key"`
	KMSVersion int    `json:"kms_version"`
	BytesIn    int64  `json:"bytes_in"`
	BytesOut   int64  `json:"bytes_out"`
	Outcome    string `json:"outcome"`
	Status     int    `json:"status"`
	Code       string `json:"code"`
	Reason     string `json:"reason"`
}

// auditLog is the audit log of a server of a test.
type auditLog struct {
	path string
}

// lines are those of the current file.
func (l *auditLog) lines(t *testing.T) []auditLine {
	t.Helper()
	data, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	var all []auditLine
	for text := range strings.Lines(string(data)) {
		var line auditLine
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		all = append(all, line)
	}
	return all
}

// of are the lines about the request that was answered with a. The last line of a read comes soon
// after its answer.
func (l *auditLog) of(t *testing.T, a answer) []auditLine {
	t.Helper()
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var found []auditLine
		for _, line := range l.lines(t) {
			if line.Request == a.header.Get("X-Amz-Request-Id") {
				found = append(found, line)
			}
		}
		if n := len(found); n > 0 && found[n-1].Kind == "request" || time.Now().After(end) {
			return found
		}
	}
}

// last is the last of those lines, which must be of a kind.
func (l *auditLog) last(t *testing.T, a answer, kind string) auditLine {
	t.Helper()
	found := l.of(t, a)
	if len(found) == 0 || found[len(found)-1].Kind != kind {
		t.Errorf("%s: the lines are %+v", a.what, found)
		return auditLine{}
	}
	return found[len(found)-1]
}

// kinds are the kinds of the lines about a request.
func (l *auditLog) kinds(t *testing.T, a answer) string {
	t.Helper()
	var kinds []string
	for _, line := range l.of(t, a) {
		if line.Kind != "key" {
			kinds = append(kinds, line.Kind)
		}
	}
	return strings.Join(kinds, " ")
}

// hook is a webhook that can be away.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	away bool
	got  []byte
}

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{away: true}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.away || err != nil || r.Header.Get("Authorization") != "Bearer hook-token" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.got = append(h.got, body...)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) lines(away bool) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = away
	return strings.Count(string(h.got), "\n")
}

// newAudited starts a server with an audit log.
func newAudited(t *testing.T, dir, more string) (*stack, *auditLog, string) {
	t.Helper()
	l := &auditLog{path: filepath.Join(dir, "audit", "audit.log")}
	yaml := string(writeFile(t, t.TempDir(), "bucketseal.yml", fmt.Appendf(nil, "data_dir: data\naudit:\n  file: {path: %q}\n%s", l.path, more)))
	s := newStack(t, stackOptions{args: []string{"--config", yaml}})
	return s, l, yaml
}

// The audit trail of an object's life: who did what, with which key, and how it ended. It is
// complete after a kill, delivered to a webhook that was away, and one line that is changed is
// named.
func TestTheAuditTrail(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	h := newHook(t)
	s, l, yaml := newAudited(t, t.TempDir(), fmt.Sprintf(
		"  required: true\n  webhook: {url: %q, token: hook-token, queue: %q}\nsignature_v2: true\n", h.URL, filepath.Join(t.TempDir(), "queue")))
	s.auditRequests(t, l)

	// Each line before the answer: what a killed server has answered is there.
	c := s.client()
	bucket := newBucket(t, c)
	var answers []answer
	for i := range 20 {
		answers = append(answers, c.put(t, bucket, fmt.Sprint("k", i), testData(4096, uint64(i)), nil).wantStatus(t, http.StatusOK))
	}
	s.seal.kill()
	for _, a := range answers {
		if kinds := l.kinds(t, a); kinds != "intent request" {
			t.Errorf("%s: the lines are %q", a.what, kinds)
		}
	}
	if f, err := os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString(`{"seq":`)
		_ = f.Close()
	}
	s.restart(t)
	h.lines(false)
	c.get(t, bucket, "k1", nil).wantStatus(t, http.StatusOK)
	lines := l.lines(t)
	for end := time.Now().Add(20 * time.Second); h.lines(false) < len(lines) && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	if got := h.lines(false); got < len(lines) {
		t.Errorf("the webhook has %d of %d lines", got, len(lines))
	}
	if err := s.seal.stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	root := []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword, "BUCKETSEAL_DATA_DIR=" + s.seal.dataDir}
	out := mustSeal(t, root, "", "audit", "verify", "--config", yaml)
	if !strings.Contains(out, "bytes of a line without an end were cut off") || !strings.Contains(out, "in 1 chains") {
		t.Errorf("audit verify says\n%s", out)
	}
	_, public, _ := strings.Cut(out, "public key: ")
	public, _, _ = strings.Cut(public, "\n")
	mustSeal(t, nil, "", "audit", "verify", "--public-key", public, l.path)
	refusedSeal(t, "no key to verify with", nil, "", "audit", "verify", l.path)
	if found := mustSeal(t, nil, "", "audit", "search", "--object", "k1", "--bucket", bucket, l.path); strings.Count(found, "\n") < 4 {
		t.Errorf("audit search found\n%s", found)
	}
	data, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(data), `"object":"k7"`, `"object":"k8"`, 1)
	number := strings.Count(changed[:strings.Index(changed, `"object":"k8"`)], "\n") + 1
	saveFile(t, l.path, []byte(changed))
	refusedSeal(t, fmt.Sprintf("audit.log:%d: changed: line ", number), root, "", "audit", "verify", "--config", yaml)
	webhook := filepath.Join(t.TempDir(), "webhook")
	saveFile(t, webhook, h.got)
	mustSeal(t, root, "", "audit", "verify", "--config", yaml, webhook)
}

// A server is killed while many read and write. What it has answered has its lines: of a read who
// was let in to which object, of a change also how it ended.
func TestAKilledServerHasALineForEachAnswer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s, l, yaml := newAudited(t, t.TempDir(), "  required: true\n")
	c := s.client()
	bucket := newBucket(t, c)
	const clients = 16
	for i := range clients {
		c.put(t, bucket, fmt.Sprint("k", i), testData(4096, uint64(i)), nil).wantStatus(t, http.StatusOK)
	}
	var answered [clients][]string // ids of requests
	var all sync.WaitGroup
	for i := range clients {
		r := request{method: http.MethodGet, bucket: bucket, key: fmt.Sprint("k", i)}
		if i%4 == 0 {
			r.method, r.body = http.MethodPut, testData(4096, uint64(i))
		}
		all.Go(func() {
			for {
				a, err := s.client().try(r)
				if err != nil || a.status != http.StatusOK {
					return
				}
				answered[i] = append(answered[i], a.header.Get("X-Amz-Request-Id"))
			}
		})
	}
	time.Sleep(time.Second)
	s.seal.kill()
	all.Wait()
	data, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	saveFile(t, l.path, data[:strings.LastIndexByte(string(data), '\n')+1]) // a torn line is cut off
	about := make(map[string][]auditLine)
	for _, line := range l.lines(t) {
		if line.Kind != "key" {
			about[line.Request] = append(about[line.Request], line)
		}
	}
	n := 0
	for i, ids := range answered {
		kind, least := "begin", 1
		if i%4 == 0 {
			kind, least = "intent", 2
		}
		for _, id := range ids {
			n++
			lines := about[id]
			if len(lines) < least || lines[0].Kind != kind || lines[0].AccessKey != rootUser || lines[0].Bucket != bucket || lines[0].Object != fmt.Sprint("k", i) {
				t.Errorf("client %d, request %s: answered, and the lines are %+v", i, id, lines)
			}
		}
	}
	if n < clients { // a busy machine answers few
		t.Errorf("only %d requests were answered", n)
	}
	s.restart(t)
	if err := s.seal.stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	root := []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword, "BUCKETSEAL_DATA_DIR=" + s.seal.dataDir}
	mustSeal(t, root, "", "audit", "verify", "--config", yaml)
}

// auditRequests makes requests of many kinds and looks what the log says of each.
func (s *stack) auditRequests(t *testing.T, l *auditLog) {
	t.Helper()
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(1<<20, 1)
	put := c.put(t, bucket, "file \"ü\n", data[:5000], map[string]string{"X-Amz-Meta-Private": "metadata-of-the-client"}).wantStatus(t, http.StatusOK)
	if kinds := l.kinds(t, put); kinds != "intent request" {
		t.Errorf("the lines of a PUT are %q", kinds)
	}
	line := l.last(t, put, "request")
	if line.Op != "PutObject" || line.Bucket != bucket || line.Object != "file \"ü\n" || line.AccessKey != rootUser || line.Identity != "configured" ||
		line.Address != "127.0.0.1" || line.SSE != "SSE-S3" || line.KMSKey != "bucketseal-default" || line.KMSVersion != 1 || line.BytesIn != 5000 ||
		line.Outcome != "ok" || line.Status != 200 {
		t.Errorf("a PUT: %+v", line)
	}
	keys := 0
	for _, line := range l.of(t, put) {
		if line.Kind == "key" && line.Op == "kms:GenerateDEK" && line.KMSKey == "bucketseal-default" && line.AccessKey == rootUser && line.Bucket == bucket {
			keys++
		}
	}
	if keys != 1 {
		t.Errorf("%d uses of the key for a PUT: %+v", keys, l.of(t, put))
	}
	get := c.get(t, bucket, "file \"ü\n", nil).wantStatus(t, http.StatusOK).wantBody(t, data[:5000])
	if kinds := l.kinds(t, get); kinds != "begin request" {
		t.Errorf("the lines of a small GET are %q", kinds)
	}
	if line := l.last(t, get, "request"); line.BytesOut != 5000 || line.SSE != "SSE-S3" {
		t.Errorf("a GET: %+v", line)
	}
	c.put(t, bucket, "large", data, nil).wantStatus(t, http.StatusOK)
	get = c.get(t, bucket, "large", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	if line := l.last(t, get, "request"); line.BytesOut != 1<<20 || l.kinds(t, get) != "begin request" {
		t.Errorf("a large GET: %s, %+v", l.kinds(t, get), line)
	}
	missing := c.get(t, bucket, "none", nil).wantStatus(t, http.StatusNotFound)
	if line := l.last(t, missing, "request"); line.Outcome != "failed" || line.Code != "NoSuchKey" || line.Status != 404 || line.Reason == "" {
		t.Errorf("what does not exist: %+v", line)
	}
	refused := newClient(c.endpoint, rootUser, "another secret").get(t, bucket, "large", nil).wantStatus(t, http.StatusForbidden)
	if line := l.last(t, refused, "request"); line.Outcome != "refused" || line.Code != "SignatureDoesNotMatch" || line.AccessKey != "" || line.Claims != rootUser {
		t.Errorf("a wrong signature: %+v", line)
	}
	anonymous := c.anonymous().get(t, bucket, "large", nil).wantStatus(t, http.StatusForbidden)
	if line := l.last(t, anonymous, "request"); line.Outcome != "refused" || line.AccessKey != "" {
		t.Errorf("a caller without a signature: %+v", line)
	}
	s.auditSession(t, l, bucket)

	link := c.presign(http.MethodGet, bucket, "large", time.Minute)
	resp, err := http.Get(link) //nolint:gosec // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	_, signature, _ := strings.Cut(link, "X-Amz-Signature=")
	text, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{signature, "metadata-of-the-client", "X-Amz-Signature", rootPassword} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the audit log holds %q", secret)
		}
	}
}

// auditSession looks who vouches for a session.
func (s *stack) auditSession(t *testing.T, l *auditLog, bucket string) {
	t.Helper()
	c := s.client()
	session := assumeRole(t, c)
	get := newClient(c.endpoint, session.AccessKey, session.SecretKey).do(t, request{
		method: http.MethodGet, bucket: bucket, key: "large", token: session.Token, header: map[string]string{"Range": "bytes=0-9"},
	}).wantStatus(t, http.StatusPartialContent)
	line := l.last(t, get, "request")
	if line.Identity != "temporary" || line.Source != "assume-role" || len(line.Via) != 1 || line.Via[0].AccessKey != rootUser || line.Via[0].Identity != "configured" {
		t.Errorf("a session: %+v", line)
	}
}
