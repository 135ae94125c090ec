package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashPoint is an instant of a write at which the proxy is killed, seen from
// where its upstream requests pass.
type crashPoint struct {
	name string
	// act is called for every upstream request; kill kills the proxy.
	act func(h *hostile, bucket, key string, kill func()) act
	// stored says that the write must have happened; otherwise it may have.
	stored bool
	// absent says that it must not have happened.
	absent bool
}

// isUpload says whether a request stores the object, isNoteWrite whether it
// stores its manifest.
func isUpload(r *http.Request, bucket, key string) bool {
	return r.Method == http.MethodPut && r.URL.Path == "/"+bucket+"/"+key
}

func isNoteWrite(r *http.Request, bucket, key string) bool {
	return r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/"+systemBucket+"/late/"+bucket+"/"+key)
}

func crashPoints() []crashPoint {
	abort := func() { panic(http.ErrAbortHandler) }
	upload := func(f func(h *hostile, w http.ResponseWriter, r *http.Request, kill func())) func(*hostile, string, string, func()) act {
		return func(h *hostile, bucket, key string, kill func()) act {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !isUpload(r, bucket, key) {
					return false
				}
				f(h, w, r, kill)
				return true
			}
		}
	}
	return []crashPoint{
		{name: "before the first byte", act: upload(func(_ *hostile, _ http.ResponseWriter, _ *http.Request, kill func()) {
			kill()
			abort()
		}), absent: true},
		{name: "in the middle", act: upload(func(h *hostile, w http.ResponseWriter, r *http.Request, kill func()) {
			r.Body = &tripwire{ReadCloser: r.Body, after: 200_000, trip: kill}
			h.up.lyingUpstream.ServeHTTP(w, r)
		}), absent: true},
		{name: "before the manifest", act: func(_ *hostile, bucket, key string, kill func()) act {
			return func(_ http.ResponseWriter, r *http.Request) bool {
				if !isNoteWrite(r, bucket, key) {
					return false
				}
				kill()
				abort()
				return true
			}
		}, absent: true},
		{name: "after the manifest", act: func(h *hostile, bucket, key string, kill func()) act {
			return func(_ http.ResponseWriter, r *http.Request) bool {
				if !isNoteWrite(r, bucket, key) {
					return false
				}
				h.passOn(r)
				kill()
				abort()
				return true
			}
		}, absent: true},
		{name: "after the last byte", act: upload(func(h *hostile, w http.ResponseWriter, r *http.Request, kill func()) {
			body, _ := io.ReadAll(r.Body)
			kill()
			_, _ = h.stack.raw().try(request{method: http.MethodPut, path: r.URL.EscapedPath(), query: r.URL.RawQuery, body: body})
			abort()
		}), stored: true},
		{name: "before the answer", act: upload(func(h *hostile, _ http.ResponseWriter, r *http.Request, kill func()) {
			h.passOn(r)
			kill()
			abort()
		}), stored: true},
	}
}

// tripwire calls trip once so many bytes were read.
type tripwire struct {
	io.ReadCloser
	after int
	trip  func()
	once  sync.Once
}

func (w *tripwire) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if w.after -= n; w.after <= 0 {
		w.once.Do(w.trip)
	}
	return n, err
}

// wantOneOf checks that GET, HEAD and LIST agree on an object and that it is one
// of the candidates, nil for none; it returns which. A machine that is busy with other tests may
// answer that it is too busy, for some time.
func wantOneOf(t *testing.T, c *client, bucket, key string, candidates ...[]byte) int {
	t.Helper()
	got := c.get(t, bucket, key, nil)
	for began := time.Now(); got.status == http.StatusServiceUnavailable && time.Since(began) < startLimit; {
		time.Sleep(200 * time.Millisecond)
		got = c.get(t, bucket, key, nil)
	}
	head := c.head(t, bucket, key, nil)
	list := c.list(t, bucket, "list-type", "2", "prefix", key)
	for i, data := range candidates {
		switch {
		case data == nil && got.status == http.StatusNotFound:
			if head.status != http.StatusNotFound || len(list.Contents) != 0 {
				t.Errorf("GET says 404, HEAD %d, LIST %v", head.status, list.Contents)
			}
			return i
		case data == nil || got.status != http.StatusOK || string(got.body) != string(data):
			continue
		}
		etag := md5ETag(data)
		if got.header.Get("Etag") != etag || head.status != http.StatusOK || head.header.Get("Etag") != etag || head.size(t) != int64(len(data)) {
			t.Errorf("GET says %s; HEAD %d, %s, %s bytes", got.header.Get("Etag"), head.status, head.header.Get("Etag"), head.header.Get("Content-Length"))
		}
		if len(list.Contents) != 1 || list.Contents[0].ETag != etag || list.Contents[0].Size != int64(len(data)) {
			t.Errorf("LIST says %v, want %s and %d bytes", list.Contents, etag, len(data))
		}
		return i
	}
	t.Fatalf("GET: status %d %s, %d bytes: none of what it may be", got.status, got.code, len(got.body))
	return -1
}

func TestKillAtEachStepOfAnUploadLeavesItWholeOrAbsent(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	for i, point := range crashPoints() {
		for _, kind := range []struct {
			name string
			size int
			old  []byte
		}{
			{"small", 9000, nil}, {"streamed", 1_000_001, nil}, {"streamed over another", 1_000_001, testData(300_000, 8)},
		} {
			manifest := strings.HasSuffix(point.name, "the manifest")
			if kind.name == "small" && (manifest || point.name == "in the middle") {
				continue
			}
			t.Run(point.name+"/"+kind.name, func(t *testing.T) {
				key := fmt.Sprintf("k%d-%s", i, kind.name)
				if kind.old != nil {
					h.root.put(t, bucket, key, kind.old, nil).wantStatus(t, http.StatusOK)
				}
				data := testData(kind.size, uint64(i))
				killed := make(chan struct{})
				var once sync.Once
				h.up.order(point.act(h, bucket, key, func() {
					once.Do(func() { h.seal.kill(); close(killed) })
				}))
				if a, err := h.root.try(request{method: http.MethodPut, bucket: bucket, key: key, body: data, limit: hostileLimit}); err == nil {
					t.Errorf("an answer: %d %s", a.status, a.code)
				}
				<-killed
				h.up.honest()
				h.stack.restart(t)
				h.settled(t)
				switch which := wantOneOf(t, h.root, bucket, key, kind.old, data); {
				case point.absent && which != 0:
					t.Error("the object was replaced")
				case point.stored && which != 1:
					t.Error("the object was not stored, although MinIO had accepted it")
				}
				h.root.put(t, bucket, key, data, nil).wantStatus(t, http.StatusOK)
				wantOneOf(t, h.root, bucket, key, data)
			})
		}
	}
}

// settled waits until MinIO has dealt with the connections of a killed proxy.
func (h *hostile) settled(t *testing.T) {
	t.Helper()
	h.root.http.CloseIdleConnections()
	time.Sleep(100 * time.Millisecond)
}

func TestKillDuringAChangeOfABucketRule(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "auto_encryption: off\n")
	// Another proxy over the same upstream and keys; it is never killed.
	file := filepath.Join(h.dir, "second.yml")
	if err := os.WriteFile(file, []byte(hostileConfig+"auto_encryption: off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	second, err := startSeal(h.dir, "", "http://"+h.up.at, "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	other := newClient(second.endpoint(), rootUser, rootPassword)
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("index stored %t", after), func(t *testing.T) {
			bucket := newBucket(t, h.root)
			h.root.putEncryption(t, bucket, encryptionRule("AES256", "")).wantStatus(t, http.StatusOK)
			encryptionOf := func(c *client, key string) string {
				return c.put(t, bucket, key, []byte("x"), nil).wantStatus(t, http.StatusOK).header.Get("X-Amz-Server-Side-Encryption")
			}
			if got := encryptionOf(other, "acknowledged"); got != "AES256" {
				t.Errorf("the other proxy writes with %q after the rule was acknowledged", got)
			}
			killed := make(chan struct{})
			h.up.order(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPut || r.URL.Path != indexPath {
					return false
				}
				if after {
					h.passOn(r)
				}
				h.seal.kill()
				close(killed)
				panic(http.ErrAbortHandler)
			})
			rule := encryptionRule("aws:kms", defaultKey)
			if a, err := h.root.try(request{method: http.MethodPut, bucket: bucket, query: "encryption=", body: []byte(rule), header: map[string]string{"Content-Md5": contentMD5([]byte(rule))}}); err == nil {
				t.Errorf("an answer: %d", a.status)
			}
			<-killed
			h.up.honest()
			h.stack.restart(t)
			h.settled(t)
			time.Sleep(700 * time.Millisecond) // two leases: whatever holds, holds everywhere
			want := map[bool]string{false: "AES256", true: "aws:kms"}[after]
			for name, c := range map[string]*client{"the one": h.root, "the other": other} {
				if got := encryptionOf(c, "later"); got != want {
					t.Errorf("%s proxy writes with %q, want %q", name, got, want)
				}
			}
			h.root.putEncryption(t, bucket, rule).wantStatus(t, http.StatusOK)
			if got := encryptionOf(other, "repeated"); got != "aws:kms" {
				t.Errorf("the other proxy writes with %q after the repeat was acknowledged", got)
			}
		})
	}
}
