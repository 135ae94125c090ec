package edge

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Hurry gives the client of r a time limit for all that is read of its body until
// done is called. Reads beyond it are ErrStalled. w must be that of r.
func Hurry(w http.ResponseWriter, r *http.Request, limit time.Duration) (done func()) {
	if r.Body == nil || r.Body == http.NoBody {
		return func() {}
	}
	body := &hurriedBody{ReadCloser: r.Body}
	served := &deadlines{control: http.NewResponseController(w)}
	timer := time.AfterFunc(limit, func() {
		body.late.Store(true)
		served.read(time.Unix(1, 0))
	})
	r.Body = body
	return func() {
		timer.Stop()
		served.end()
	}
}

// hurriedBody tells a time that is over from a connection that broke.
type hurriedBody struct {
	io.ReadCloser
	late atomic.Bool
}

// Read reads. ErrStalled once the time is over.
func (b *hurriedBody) Read(p []byte) (int, error) {
	if b.late.Load() {
		return 0, ErrStalled
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.late.Load() {
		err = fmt.Errorf("%w (%w)", ErrStalled, err)
	}
	return n, err
}
