package integration

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// sealedDEK is what a client keeps of a DEK, and the DEK.
type sealedDEK struct{ plaintext, ciphertext, context []byte }

// load is clients that use one key all the time.
type load struct {
	client *kesClient
	stop   chan struct{}
	wait   sync.WaitGroup
	done   atomic.Int64

	mu     sync.Mutex
	deks   []sealedDEK
	failed []error
	// slowest is the longest that making and opening a DEK took.
	slowest time.Duration
}

func startLoad(c *kesClient, workers int, key string) *load {
	l := &load{client: c, stop: make(chan struct{})}
	for worker := range workers {
		l.wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				l.once(key, fmt.Appendf(nil, `{"worker":"%d-%d"}`, worker, i))
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return l
}

func (l *load) once(key string, context []byte) {
	start := time.Now()
	plaintext, ciphertext, err := l.client.generate(key, context)
	if err == nil {
		var opened []byte
		if opened, err = l.client.decrypt(key, ciphertext, context); err == nil && !bytes.Equal(opened, plaintext) {
			err = errors.New("a DEK opened as another")
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed = append(l.failed, err)
		return
	}
	l.done.Add(1)
	l.slowest = max(l.slowest, time.Since(start))
	l.deks = append(l.deks, sealedDEK{plaintext, ciphertext, context})
}

// failures are those since the last call.
func (l *load) failures() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.failed
	l.failed = nil
	return failed
}

func (l *load) end() {
	close(l.stop)
	l.wait.Wait()
}

func TestKeyServerOutlivesItsStoreUnderLoad(t *testing.T) {
	t.Parallel()
	addr := moto(t)
	const region = "us-west-1"
	g := newGate(t, addr)
	k := startKMS(t, kesYAML+"cache: {expiry: {any: 1s, unused: 1s, offline: 4s}}\nkeys: [{name: used}, {name: unused}]\n"+
		secretsStore("http://"+g.addr, region))
	c := k.clientOf(t, k.admin)
	l := startLoad(c, 4, "used")
	during := func(what string, limit time.Duration) {
		t.Helper()
		before := l.done.Load()
		time.Sleep(limit)
		if failed := l.failures(); len(failed) > 0 {
			t.Errorf("%s: %d calls failed, the first: %v", what, len(failed), failed[0])
		}
		if l.done.Load() == before {
			t.Errorf("%s: nothing was done", what)
		}
	}
	want := func(method, path string, in any, status int, message string) {
		t.Helper()
		if a := c.do(t, method, path, in); a.status != status || a.message() != message {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, a.status, a.message(), status, message)
		}
	}
	during("with the store", 500*time.Millisecond)
	want(http.MethodGet, "/v1/ready", nil, http.StatusOK, "")

	g.shut()
	// Beyond what any and unused allow: the offline period counts.
	during("without the store", 3*time.Second)
	l.mu.Lock()
	if l.slowest > 4*time.Second {
		t.Errorf("cached keys were held up for %v", l.slowest)
	}
	l.mu.Unlock()
	want(http.MethodGet, "/v1/ready", nil, http.StatusGatewayTimeout, "key store is not reachable")
	g.reopen(t)
	waitFor(t, 15*time.Second, "the server to be ready", func() bool { return c.do(t, http.MethodGet, "/v1/ready", nil).status == http.StatusOK })
	// A read that began in the outage may hold up the key's users for a second.
	during("with the store again", 3*time.Second)

	// Longer than the offline period: keys may not be used any more, and that is
	// the server's failure, so that clients go to another one.
	g.shut()
	var others sync.WaitGroup
	other := k.clientOf(t, k.admin)
	others.Go(func() { refusesWhileDown(t, other) })
	waitFor(t, 20*time.Second, "the key to be refused", func() bool {
		_, _, err := c.generate("used", nil)
		return err != nil
	})
	want(http.MethodPost, "/v1/key/generate/used", nil, http.StatusBadGateway, "failed to read key")
	l.end()
	others.Wait()
	g.reopen(t)
	waitFor(t, 20*time.Second, "the key to work", func() bool {
		_, _, err := c.generate("used", nil)
		return err == nil
	})
	want(http.MethodPost, "/v1/key/create/after", nil, http.StatusOK, "")
	want(http.MethodPost, "/v1/key/generate/no-such-key", nil, http.StatusNotFound, "key does not exist")

	// Nothing that was handed out is lost.
	for i, d := range l.deks {
		if i%17 != 0 {
			continue
		}
		if got, err := c.decrypt("used", d.ciphertext, d.context); err != nil || !bytes.Equal(got, d.plaintext) {
			t.Fatalf("DEK %d of %d: %v", i, len(l.deks), err)
		}
	}
	t.Logf("%d DEKs were made and opened", len(l.deks))
}

// refusesWhileDown checks what a server without its store says.
func refusesWhileDown(t *testing.T, c *kesClient) {
	a, err := c.try(http.MethodPost, "/v1/key/create/k", nil)
	if err != nil || a.status != http.StatusBadGateway || a.message() != "failed to create key" {
		t.Errorf("create: %d %q, %v", a.status, a.message(), err)
	}
	var status struct {
		Unavailable bool `json:"keystore_unavailable"`
		Unreachable bool `json:"keystore_unreachable"`
	}
	if a, err = c.try(http.MethodGet, "/v1/status", nil); err == nil {
		err = unmarshal(a, &status)
	}
	if err != nil || !status.Unavailable || !status.Unreachable {
		t.Errorf("status: %v %s", err, a.body)
	}
}
