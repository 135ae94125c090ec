package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newTLSEdge starts a stack whose proxy speaks TLS, and a client that speaks
// HTTP/2 to it. env is added to the proxy's environment.
func newTLSEdge(t *testing.T, env ...string) (*edge, *client, string) {
	t.Helper()
	needsSeal(t)
	dir := t.TempDir()
	certs := filepath.Join(dir, "certs")
	if err := os.MkdirAll(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	pool := writeCertificate(t, certs)
	s := newStack(t, stackOptions{liar: true})
	if err := s.seal.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	env = append(baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword, "BUCKETSEAL_METRICS_ADDRESS="+metrics), env...)
	p, err := startProcess("bucketseal", filepath.Join(dir, "bucketseal.log"), env, program, "server",
		"--address", addr, "--upstream", s.liar.endpoint(), "--data-dir", s.seal.dataDir, "--certs-dir", certs)
	if err != nil {
		t.Fatal(err)
	}
	s.seal = &sealServer{process: p, addr: addr, dataDir: s.seal.dataDir, upstream: s.liar.endpoint()}
	p.dumpOnFailure(t)
	if err := p.waitReady(http.DefaultClient, "http://"+metrics+"/minio/health/ready"); err != nil {
		t.Fatal(err)
	}
	c := newClient("https://"+addr, rootUser, rootPassword)
	c.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true, ForceAttemptHTTP2: true}
	return &edge{s, "http://" + metrics}, c, certs
}

func TestHTTP2CarriesObjectsAndTheirFailures(t *testing.T) {
	t.Parallel()
	e, c, _ := newTLSEdge(t)
	bucket := newBucket(t, c)
	data := testData(10<<20+3, 120)
	e.settles(t)
	for name, body := range map[string][]byte{"empty": {}, "small": data[:packageSize+1], "large": data} {
		a := c.put(t, bucket, name, body, nil).wantStatus(t, http.StatusOK)
		if got := a.header.Get("Etag"); got != md5ETag(body) {
			t.Errorf("%s: ETag %s", name, got)
		}
		c.get(t, bucket, name, nil).wantStatus(t, http.StatusOK).wantBody(t, body)
	}
	b := chunkedBody{data: data, chunk: packageSize, trailerName: "x-amz-checksum-crc32", trailerValue: crc32Of(data)}
	a, err := c.putChunked(bucket, "trailer", streamingUnsignedTrailer, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.wantStatus(t, http.StatusOK)
	c.get(t, bucket, "trailer", map[string]string{"Range": "bytes=100-200000"}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[100:200001])

	t.Run("a cut answer is a stream that was reset", func(t *testing.T) {
		e.liar.tell(lie{alter: func(r *http.Request, resp *http.Response) {
			if isGet(r, bucket, "large") {
				alterBody(resp, func(b []byte) []byte {
					b = slices.Clone(b)
					b[len(b)/2] ^= 1
					return b
				})
			}
		}})
		defer e.liar.tell(lie{})
		req, err := c.build(request{method: http.MethodGet, bucket: bucket, key: "large"})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		if resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK || n >= int64(len(data)) || err == nil || !strings.Contains(err.Error(), "stream error") {
			t.Errorf("%s %d, %d bytes, %v", resp.Proto, resp.StatusCode, n, err)
		}
	})
	// The connection serves on: only the stream had ended.
	c.get(t, bucket, "large", nil).wantStatus(t, http.StatusOK).wantBody(t, data)

	t.Run("a body that is cut stores nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		body, w := io.Pipe()
		go func() {
			_, _ = w.Write(data[:1<<20])
			cancel()
		}()
		req, err := c.build(request{method: http.MethodPut, bucket: bucket, key: "cut", stream: body, size: int64(len(data))})
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.http.Do(req.WithContext(ctx)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", resp, err)
		}
		w.CloseWithError(errors.New("cut"))
		waitUntil(t, "the request has ended", func() bool { return e.metric(t, "bucketseal_s3_requests_active") == 0 })
		c.head(t, bucket, "cut", nil).wantStatus(t, http.StatusNotFound)
		e.raw().head(t, bucket, "cut", nil).wantStatus(t, http.StatusNotFound)
	})
}

// Streams that are opened and reset at once, thousands of them, over one
// connection (CVE-2023-44487) do not outgrow what a connection may hold.
func TestHTTP2RapidReset(t *testing.T) {
	t.Parallel()
	e, c, _ := newTLSEdge(t)
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", testData(5000, 121), nil).wantStatus(t, http.StatusOK)
	e.settles(t)
	most := 0.0
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, e.metric(t, "bucketseal_s3_requests_active"))
			}
		}
	})
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			for range 100 {
				req, err := c.build(request{method: http.MethodGet, bucket: bucket, key: "k"})
				if err != nil {
					t.Error(err)
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				if resp, err := c.http.Do(req.WithContext(ctx)); err == nil {
					resp.Body.Close()
				}
				cancel()
			}
		})
	}
	all.Wait()
	close(stop)
	watching.Wait()
	t.Logf("at most %v requests at once", most)
	if most > 200 {
		t.Errorf("%v requests at once over one connection", most)
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK)
}

func TestCertificatesAreServedByNameAndFollowed(t *testing.T) {
	t.Parallel()
	e, _, certs := newTLSEdge(t)
	served := func(name string) *x509.Certificate {
		conn, err := tls.Dial("tcp", e.seal.addr, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0]
	}
	first := served("localhost")
	host := filepath.Join(certs, "second")
	if err := os.Mkdir(host, 0o700); err != nil {
		t.Fatal(err)
	}
	writeCertificateFor(t, host, "s3.example", "*.s3.example")
	offset := e.seal.logSize()
	if err := e.seal.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the new certificate is served", func() bool { return !served("bucket.s3.example").Equal(first) })
	if !served("localhost").Equal(first) || !served("unknown.example").Equal(first) {
		t.Error("the default has changed")
	}
	writeFile(t, host, "public.crt", []byte("half"))
	if err := e.seal.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "it says that the file cannot be used", func() bool {
		return strings.Contains(e.seal.logSince(offset), "the old one stays")
	})
	if served("s3.example").Equal(first) {
		t.Error("half a certificate took the place of a whole one")
	}
}

func TestTrustedProxiesSayWhoTheClientIs(t *testing.T) {
	t.Parallel()
	e := newEdge(t, "trusted_proxies: [127.0.0.9]\n")
	c := e.client()
	bucket := newBucket(t, c)
	key := customerHeaders(testData(32, 122))
	for _, tc := range []struct {
		from    string
		forward map[string]string
		addr    string
		secure  bool
	}{
		{"127.0.0.9", nil, "127.0.0.9", false},
		{"127.0.0.9", map[string]string{"X-Forwarded-For": "198.51.100.7, 192.0.2.1", "X-Forwarded-Proto": "https"}, "192.0.2.1", true},
		{"127.0.0.9", map[string]string{"X-Forwarded-For": "2001:db8::7", "X-Forwarded-Proto": "http"}, "2001:db8::7", false},
		{"127.0.0.9", map[string]string{"X-Forwarded-For": "nonsense", "X-Real-Ip": "192.0.2.1"}, "127.0.0.9", false},
		{"127.0.0.2", map[string]string{"X-Forwarded-For": "192.0.2.1", "X-Real-Ip": "192.0.2.1", "Forwarded": "for=192.0.2.1", "X-Forwarded-Proto": "https"}, "127.0.0.2", false},
	} {
		c, mark := e.clientFrom(tc.from), e.liar.mark()
		unsigned := []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded"}
		c.do(t, request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x"), header: tc.forward, unsigned: unsigned}).wantStatus(t, http.StatusOK)
		for _, r := range e.liar.since(mark, "/"+bucket+"/k") {
			if got := fmt.Sprint(r.header["X-Forwarded-For"], r.header["X-Real-Ip"], r.header["Forwarded"]); got != fmt.Sprintf("[%s] [%s] []", tc.addr, tc.addr) {
				t.Errorf("from %s with %v: MinIO is told %s", tc.from, tc.forward, got)
			}
		}
		a := c.do(t, request{method: http.MethodPut, bucket: bucket, key: "c", body: []byte("x"), header: with(key, pairs(tc.forward)...), unsigned: unsigned})
		if (a.status == http.StatusOK) != tc.secure {
			t.Errorf("from %s with %v: SSE-C gets %d %s", tc.from, tc.forward, a.status, a.code)
		}
	}
}

func pairs(m map[string]string) (all []string) {
	for name, value := range m {
		all = append(all, name, value)
	}
	return all
}

// A MinIO by TLS is trusted when its authority lies in the folder of the server's
// own certificates, from when it does, and only under the name in its certificate.
func TestUpstreamByTLSIsTrustedByItsAuthority(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	dir := t.TempDir()
	minioCerts, certs := filepath.Join(dir, "minio-certs"), filepath.Join(dir, "certs")
	for _, d := range []string{minioCerts, certs} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	minioPool, pool := writeCertificateFor(t, minioCerts, "minio.example"), writeCertificate(t, certs)
	program, err := tool("MINIO_BIN", "minio")
	if err != nil {
		t.Fatal(err)
	}
	var addrs [3]string
	for i := range addrs {
		if addrs[i], err = freeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	minio, err := startProcess("minio", filepath.Join(dir, "minio.log"),
		baseEnv("MINIO_ROOT_USER="+rootUser, "MINIO_ROOT_PASSWORD="+rootPassword, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_CI_CD=on"),
		program, "server", "--quiet", "--certs-dir", minioCerts, "--address", addrs[0], filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	direct := newClient("https://"+addrs[0], rootUser, rootPassword)
	direct.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: minioPool}}
	if err := minio.waitReady(direct.http, direct.endpoint+"/minio/health/live"); err != nil {
		t.Fatal(err)
	}
	if err := waitServing(direct); err != nil {
		t.Fatal(err)
	}

	seal, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	start := func(name, upstream, address, metrics string) *process {
		p, err := startProcess("bucketseal", filepath.Join(dir, name+".log"),
			baseEnv("BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword, "BUCKETSEAL_METRICS_ADDRESS="+metrics),
			seal, "server", "--address", address, "--upstream", upstream, "--data-dir", filepath.Join(dir, name), "--certs-dir", certs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.kill)
		p.dumpOnFailure(t)
		waitUntil(t, "it lives", func() bool { return askedStatus("http://"+metrics+"/minio/health/live") == http.StatusOK })
		return p
	}
	p := start("seal", "https://"+addrs[0], addrs[1], addrs[2])
	ready := "http://" + addrs[2] + "/minio/health/ready"
	if got := askedStatus(ready); got != http.StatusServiceUnavailable {
		t.Errorf("ready with a MinIO that nobody vouches for: %d", got)
	}
	if !strings.Contains(p.logSince(0), "unknown authority") {
		t.Error("the log does not say that MinIO's authority is unknown")
	}
	if err := os.Mkdir(filepath.Join(certs, "CAs"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(certs, "CAs"), "minio.crt", readFile(t, filepath.Join(minioCerts, "public.crt")))
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "MinIO is trusted", func() bool { return askedStatus(ready) == http.StatusOK })
	c := newClient("https://"+addrs[1], rootUser, rootPassword)
	c.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableCompression: true}
	bucket, data := newBucket(t, c), testData(9<<20, 123)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)

	// The same MinIO under a name that its certificate does not bear.
	_, port, _ := strings.Cut(addrs[0], ":")
	other, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	q := start("other", "https://localhost:"+port, other, metrics)
	if got := askedStatus("http://" + metrics + "/minio/health/ready"); got != http.StatusServiceUnavailable {
		t.Errorf("ready with a MinIO of another name: %d", got)
	}
	if !strings.Contains(q.logSince(0), "not localhost") {
		t.Error("the log does not say that the name is another")
	}
}

// askedStatus asks a URL and returns the status, 0 if there is no answer.
func askedStatus(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}
