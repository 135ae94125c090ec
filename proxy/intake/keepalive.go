package intake

import (
	"encoding/xml"
	"net/http"
	"sync"
	"time"
)

const (
	// keepAliveAfter is how long a copy or a Complete may take before its answer
	// begins all the same: SDKs give up after 60 s of silence, and so do many load
	// balancers.
	keepAliveAfter = 20 * time.Second
	// keepAliveEvery is how often white space follows.
	keepAliveEvery = 10 * time.Second
)

// keepAlive tells a client that waits for a long operation that it goes on, as
// AWS does: the answer begins with status 200, and white space comes before its
// document. If the operation fails after that, the connection is cut: a document
// that says so, as AWS sends it, is taken for success by minio-go, which mc is
// made of.
type keepAlive struct {
	w     *Answer
	every time.Duration

	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

// keepAlive begins to wait. Until end is called, nobody else may touch the answer
// or its headers.
func (w *Answer) keepAlive(after, every time.Duration) *keepAlive {
	k := &keepAlive{w: w, every: every}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.timer = time.AfterFunc(after, k.beat)
	return k
}

func (k *keepAlive) beat() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return
	}
	text := " "
	if !k.w.document {
		k.w.document, text = true, xml.Header
		k.w.Header().Set("Content-Type", "application/xml")
	}
	if _, err := k.w.Write([]byte(text)); err != nil {
		return // the client is gone, which the request's context says too
	}
	_ = http.NewResponseController(k.w.ResponseWriter).Flush()
	k.timer.Reset(k.every)
}

// end says that the operation is over. It may be called again.
func (k *keepAlive) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	k.timer.Stop()
}

// Patiently does what may take long while the client is kept waiting.
func Patiently(w http.ResponseWriter, do func() error) error {
	if answer, ok := w.(*Answer); ok {
		defer answer.keepAlive(keepAliveAfter, keepAliveEvery).end()
	}
	return do()
}
