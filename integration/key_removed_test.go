package integration

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// remoteStack is two proxies over one MinIO and one key server.
type remoteStack struct {
	keys    *kmsServer
	meddler apiKey
	minio   *minioServer
	yaml    string // of both proxies
	proxies [2]*sealServer
	clients [2]*client
}

func newRemoteStack(t *testing.T) *remoteStack {
	t.Helper()
	needsSeal(t)
	proxy, meddler := newAPIKey(t), newAPIKey(t)
	k := startKMS(t, kesYAML+proxyPolicy+meddlerPolicy+"keystore: {fs: {path: DIR/keys, masterkey: {env: MASTER}}}\n",
		"PROXY="+proxy.id, "MEDDLER="+meddler.id, "MASTER="+strings.Repeat("0123456789abcdef", 4))
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(minio.kill)
	s := &remoteStack{keys: k, meddler: meddler, minio: minio, yaml: k.remoteYAML(t, dir, proxy, "small_object: {size: 256KiB}\n")}
	for i := range s.clients {
		s.proxies[i] = s.proxy(t)
		s.clients[i] = newClient(s.proxies[i].endpoint(), rootUser, rootPassword)
	}
	return s
}

// proxy starts one more.
func (s *remoteStack) proxy(t *testing.T) *sealServer {
	t.Helper()
	seal, err := startSealWith(t.TempDir(), s.minio.endpoint(), s.yaml)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	seal.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", seal.isReady)
	return seal
}

// accept makes the proxies take a key as it is now.
func (s *remoteStack) accept(t *testing.T, name string) string {
	t.Helper()
	return mustSeal(t, []string{"BUCKETSEAL_ROOT_USER=" + rootUser, "BUCKETSEAL_ROOT_PASSWORD=" + rootPassword}, "",
		"key", "accept", name, "--config", s.yaml, "--upstream", s.minio.endpoint())
}

// A KMS key that was removed, or made anew, opens nothing that was written before.
// What begins after that, and a second more, is acknowledged only if it can be read.
func TestNothingIsAcknowledgedUnderAKeyThatIsGone(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	k, clients := s.keys, s.clients
	bucket := newBucket(t, clients[0])
	const lease = 1200 * time.Millisecond
	type written struct {
		key   string
		began time.Time
		data  []byte
	}
	var mu sync.Mutex
	var acknowledged []written
	stop := make(chan struct{})
	var group sync.WaitGroup
	modes := []map[string]string{nil, {"X-Amz-Server-Side-Encryption": "aws:kms"}, {"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled": "true"}}
	for worker := range 6 {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				w := written{fmt.Sprintf("w%d-%d", worker, i), time.Now(), testData(4000+worker, uint64(i))}
				if i%7 == 0 {
					w.data = testData(300_000, uint64(i))
				}
				a, err := clients[worker%2].try(request{method: http.MethodPut, bucket: bucket, key: w.key, body: w.data, header: modes[worker%3]})
				if err == nil && a.status == http.StatusOK {
					mu.Lock()
					acknowledged = append(acknowledged, w)
					mu.Unlock()
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	time.Sleep(2 * time.Second) // every proxy shares DEKs now
	mustSeal(t, k.as(k.admin), "", "key", "rm", "--force", defaultKey)
	gone := time.Now()
	time.Sleep(2500 * time.Millisecond)
	mustSeal(t, k.as(k.admin), "", "key", "create", defaultKey)
	s.accept(t, defaultKey)
	time.Sleep(2500 * time.Millisecond)
	mustSeal(t, k.as(k.admin), "", "key", "rm", "--force", defaultKey) // and made anew at once
	mustSeal(t, k.as(k.admin), "", "key", "create", defaultKey)
	s.accept(t, defaultKey)
	again := time.Now()
	time.Sleep(2500 * time.Millisecond)
	close(stop)
	group.Wait()
	mu.Lock()
	defer mu.Unlock()
	late := 0
	for _, w := range acknowledged {
		between := w.began.After(gone.Add(lease)) && w.began.Before(gone.Add(2400*time.Millisecond))
		if !between && w.began.Before(again.Add(lease)) {
			continue // its key is gone by now
		}
		late++
		for i, c := range clients {
			if a := c.get(t, bucket, w.key, nil); a.status != http.StatusOK || !bytes.Equal(a.body, w.data) {
				t.Errorf("%s began %v after its key was gone and was acknowledged; proxy %d: %d %s", w.key, w.began.Sub(gone), i, a.status, a.code)
			}
		}
		if late > 20 {
			break
		}
	}
	if t.Logf("%d acknowledged, %d of them late", len(acknowledged), late); late == 0 {
		t.Error("nothing was written under the key that was accepted")
	}
}

// A write that lasts longer than its key is not acknowledged, and does not take the
// place of what can be read.
func TestWritesThatOutliveTheirKeyAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	s := newRemoteStack(t)
	k, c := s.keys, s.clients[0]
	bucket := newBucket(t, c)
	mustSeal(t, k.as(k.admin), "", "key", "create", "short-lived")
	old := []byte("what was there")
	sealed := kmsWith("short-lived")
	for _, key := range []string{"late", "streamed", "parts"} {
		c.put(t, bucket, key, old, nil).wantStatus(t, http.StatusOK) // under another key
	}
	u := c.createUpload(t, bucket, "parts", sealed)
	u.put(t, 1, testData(5000, 1))
	data := testData(600_000, 2)
	slow := func(key string, header map[string]string) (<-chan answer, func()) {
		in, out := io.Pipe()
		done := make(chan answer, 1)
		go func() {
			a, err := c.try(request{method: http.MethodPut, bucket: bucket, key: key, stream: in, size: int64(len(data)), header: header})
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
			done <- a
		}()
		_, _ = out.Write(data[:500_000])
		return done, func() { _, _ = out.Write(data[500_000:]); _ = out.Close() }
	}
	late, endLate := slow("late", with(sealed, "X-Amz-Sdk-Checksum-Algorithm", "CRC32")) // with a manifest
	streamed, endStreamed := slow("streamed", sealed)
	time.Sleep(300 * time.Millisecond)
	mustSeal(t, k.as(k.admin), "", "key", "rm", "--force", "short-lived")
	time.Sleep(1200 * time.Millisecond)
	endLate()
	endStreamed()
	for name, a := range map[string]answer{"late": <-late, "streamed": <-streamed, "parts": c.do(t, u.completeRequest(1))} {
		a.wantError(t, http.StatusNotFound, "kms:KeyNotFound", "")
		c.get(t, bucket, name, nil).wantStatus(t, http.StatusOK).wantBody(t, old)
	}
}
