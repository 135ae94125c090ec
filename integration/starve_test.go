package integration

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// few are limits under which a handful of requests fill the proxy.
const few = `limits:
  stall: 20s
  max_requests: 4
  queue_wait: 4s
`

// quickly does a request that must not wait for anybody else.
func (e *edge) quickly(t *testing.T, c *client, r request) answer {
	t.Helper()
	began := time.Now()
	a := c.do(t, r)
	if took := time.Since(began); took > 3500*time.Millisecond { // less than queue_wait
		t.Errorf("%s took %v", a.what, took)
	}
	return a
}

// hang opens connections that send a text and then nothing.
func (e *edge) hang(t *testing.T, n int, text func() string) []net.Conn {
	t.Helper()
	var all []net.Conn
	for range n {
		conn := e.dial(t, "")
		send(conn, text())
		all = append(all, conn)
	}
	time.Sleep(300 * time.Millisecond) // they are all where they stall
	return all
}

// deletion is a DeleteObjects of many keys.
func deletion(bucket string) request {
	var b strings.Builder
	b.WriteString("<Delete>")
	for i := range 1000 {
		fmt.Fprintf(&b, "<Object><Key>%s-%d</Key></Object>", strings.Repeat("k", 100), i)
	}
	b.WriteString("</Delete>")
	return request{method: http.MethodPost, bucket: bucket, query: "delete=", header: map[string]string{"Content-Md5": contentMD5([]byte(b.String()))}, body: []byte(b.String())}
}

func TestSlowDocumentsDelayNobodyElse(t *testing.T) {
	e := newEdge(t, strings.Replace(few, "max_requests: 4", "max_requests: 200", 1))
	root := e.client()
	bucket := newBucket(t, root)
	newMC(t, e.stack).must(t, "admin", "user", "add", "seal", "slow-user", "slow-user-secret")
	weak := root.as("slow-user", "slow-user-secret")
	for name, head := range map[string]func() string{
		"of strangers": func() string { return "POST /" + bucket + "?delete HTTP/1.1\r\nHost: x\r\n" },
		"of a user without rights": func() string {
			return e.headOf(t, weak, request{method: http.MethodPost, bucket: bucket, query: "delete="})
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range e.hang(t, 60, func() string {
				return head() + "Content-Length: 4194304\r\n\r\n" + strings.Repeat("x", 17<<10)
			}) {
				defer c.Close()
			}
			e.quickly(t, root, deletion(bucket)).wantStatus(t, http.StatusOK)
		})
	}
}

func TestBodiesOfStrangersHoldNoPlaces(t *testing.T) {
	e := newEdge(t, few)
	root := e.client()
	bucket := newBucket(t, root)
	root.put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	var conns []net.Conn
	whole := t
	for name, text := range map[string]string{
		"STS calls":         "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\nAction=",
		"STS calls, signed": "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nAction=",
		"forms":             "POST /" + bucket + " HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 60000\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk",
		"documents":         "POST /" + bucket + "?delete HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n<Delete>",
		"asked to go on":    "POST /" + bucket + "?delete HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n",
		"bad signatures":    "PUT /" + bucket + "/k HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 x\r\nContent-Length: 5000\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			conns = append(conns, e.hang(whole, 16, func() string { return text })...)
			e.quickly(t, root, request{method: http.MethodGet, bucket: bucket, key: "k"}).wantStatus(t, http.StatusOK)
		})
	}
	t.Run("documents of a known caller", func(t *testing.T) {
		for _, c := range e.hang(t, 16, func() string {
			return e.head(t, request{method: http.MethodPost, bucket: bucket, query: "delete="}) + "Content-Length: 4194304\r\n\r\n<Delete>"
		}) {
			defer c.Close()
		}
		e.quickly(t, root, request{method: http.MethodGet, bucket: bucket, key: "k"}).wantStatus(t, http.StatusOK)
	})
	for _, c := range conns {
		endsWithin(t, c, 30*time.Second)
	}
	root.do(t, deletion(bucket)).wantStatus(t, http.StatusOK)
	root.anonymous().do(t, deletion(bucket)).wantStatus(t, http.StatusOK) // there is room again; each key has its error
}

func TestUploadsOfStrangersHoldNoPlaces(t *testing.T) {
	e := newEdge(t, few, "--allow-anonymous", "open-*")
	root := e.client()
	bucket, open := newBucket(t, root), "open-for-uploads"
	root.do(t, request{method: http.MethodPut, bucket: open}).wantStatus(t, http.StatusOK)
	allowEveryone(t, root, open)
	root.put(t, open, "large", testData(24<<20, 1), nil).wantStatus(t, http.StatusOK)
	put := func(bucket, more string) func() string {
		return func() string {
			return "PUT /" + bucket + "/new HTTP/1.1\r\nHost: x\r\n" + more + "Content-Length: 1000000\r\n\r\n"
		}
	}
	for name, text := range map[string]func() string{
		"refused":        put(bucket, ""),
		"asked to go on": put(bucket, "Expect: 100-continue\r\n"),
		"allowed":        put(open, ""),
		"answers that nobody takes": func() string {
			return "GET /" + open + "/large HTTP/1.1\r\nHost: x\r\n\r\n"
		},
	} {
		t.Run(name, func(t *testing.T) {
			conns := e.hang(t, 16, text)
			e.quickly(t, root, request{method: http.MethodPut, bucket: open, key: "mine", body: []byte("data")}).wantStatus(t, http.StatusOK)
			e.quickly(t, root, request{method: http.MethodGet, bucket: open, key: "mine"}).wantStatus(t, http.StatusOK)
			refused := 0
			for _, c := range conns {
				if name == "refused" || name == "asked to go on" {
					got := endsWithin(t, c, 15*time.Second)
					switch {
					case strings.HasPrefix(got, "HTTP/1.1 403"):
						refused++
					case !strings.HasPrefix(got, "HTTP/1.1 503"): // several came in one moment, and there are four places
						t.Errorf("%s", got)
					}
				}
				c.Close()
			}
			if (name == "refused" || name == "asked to go on") && refused == 0 {
				t.Error("nobody was told that it is not allowed")
			}
		})
	}
}

func TestUsersWithoutRightsDoNotHoldAllPlaces(t *testing.T) {
	e := newEdge(t, strings.Replace(few, "max_requests: 4", "max_requests: 16", 1))
	root := e.client()
	bucket := newBucket(t, root)
	newMC(t, e.stack).must(t, "admin", "user", "add", "seal", "placed-user", "placed-user-secret")
	weak := root.as("placed-user", "placed-user-secret")
	for name, more := range map[string]string{
		"a body that stalls": "Content-Length: 1000000\r\n\r\nabc",
		"asked to go on":     "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conns := e.hang(t, 40, func() string {
				return e.headOf(t, weak, request{method: http.MethodPut, bucket: bucket, key: "k"}) + more
			})
			waitUntil(t, "most places are taken", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") == 14 })
			e.quickly(t, root, request{method: http.MethodPut, bucket: bucket, key: "mine", body: []byte("data")}).wantStatus(t, http.StatusOK)
			e.quickly(t, root, request{method: http.MethodGet, bucket: bucket, key: "mine"}).wantStatus(t, http.StatusOK)
			for _, c := range conns {
				c.Close()
			}
			waitUntil(t, "they are gone", func() bool { return e.metric(t, "bucketseal_s3_requests_in_flight") == 0 })
		})
	}
}

func TestSealedPayloadsDelayNobodyElse(t *testing.T) {
	e := newEdge(t, "")
	mc := newMC(t, e.stack)
	mc.must(t, "admin", "user", "add", "seal", "costly-user", "costly-user-secret")
	weak := e.client().as("costly-user", "costly-user-secret")
	began := time.Now()
	mc.must(t, "admin", "user", "add", "seal", "first-user", "first-user-secret")
	limit := max(3*time.Second, 4*time.Since(began))                       // on a busy machine mc alone may take seconds
	payload := append(make([]byte, 41), bytes.Repeat([]byte("x"), 100)...) // AES-GCM, under another key
	for name, r := range map[string]request{
		"without rights": {method: http.MethodPut, path: "/minio/admin/v3/add-user", query: "accessKey=new-user"},
		"with rights":    {method: http.MethodPut, path: "/minio/admin/v3/add-service-account"},
	} {
		t.Run(name, func(t *testing.T) {
			r.body, r.payload = payload, sha256Hex(payload)
			var all sync.WaitGroup
			for range 40 {
				all.Go(func() {
					a, err := weak.try(r)
					if err != nil || name == "without rights" && a.status != http.StatusForbidden {
						t.Errorf("%d %s, %v", a.status, a.body, err)
					}
				})
			}
			time.Sleep(200 * time.Millisecond)
			began := time.Now()
			mc.must(t, "admin", "user", "add", "seal", "quick-user", "quick-user-secret")
			if took := time.Since(began); took > limit {
				t.Errorf("root's took %v, at most %v allowed", took, limit)
			} else {
				t.Logf("root's took %v", took)
			}
			all.Wait()
		})
	}
}
