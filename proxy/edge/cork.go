package edge

import (
	"net/http"
	"strconv"
	"sync"
)

const (
	// corkLeast and corkMost are between which sizes in bytes a whole body leaves together
	// with its headers. net/http sends a smaller one so by itself, and of a larger one the
	// copy would cost more than the second write.
	corkLeast = 1 << 10
	corkMost  = 16 << 10
	// corkBuffer holds such a body, its headers, and what TLS adds.
	corkBuffer = corkMost + 4<<10
)

// cork holds what is written to a connection until it is released: net/http sends an
// answer of a few KiB in two writes, of which each is a system call and a segment. The
// zero value holds nothing back.
type cork struct {
	mu     sync.Mutex
	buffer *[corkBuffer]byte // nil while nothing is held back
	n      int
}

// hold begins to hold back, in a buffer that release returns.
func (c *cork) hold(buffer *[corkBuffer]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buffer, c.n = buffer, 0
}

// take holds p back, and says whether there is room for it and it is to be.
func (c *cork) take(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buffer == nil || len(p) > corkBuffer-c.n {
		return false
	}
	c.n += copy(c.buffer[c.n:], p)
	return true
}

// release ends that, and returns what was held back, nil if nothing is.
func (c *cork) release() (buffer *[corkBuffer]byte, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buffer, n = c.buffer, c.n
	c.buffer, c.n = nil, 0
	return buffer, n
}

// Write writes, or holds back what is corked.
func (c *limitedConn) Write(p []byte) (int, error) {
	if c.cork.take(p) {
		return len(p), nil
	}
	if err := c.uncork(); err != nil { // no room: it goes first
		return 0, err
	}
	n, err := c.Conn.Write(p)
	c.listener.sent.Add(int64(n))
	return n, err
}

// uncork sends what was held back, if there is anything.
func (c *limitedConn) uncork() error {
	buffer, n := c.cork.release()
	if buffer == nil {
		return nil
	}
	var err error
	if n > 0 {
		c.listener.sent.Add(int64(n))
		if _, err = c.Conn.Write(buffer[:n]); err != nil {
			_ = c.Conn.Close() // net/http takes it for sent, and would wait for the next request
		}
	}
	clear(buffer[:n]) // plaintext
	c.listener.corks.Put(buffer)
	return err
}

// connectionOf is the connection of a request by HTTP/1, on which nothing else is
// answered meanwhile; nil if it is not known.
func connectionOf(r *http.Request) *limitedConn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*limitedConn)
	return c
}

// wholeBody says whether p is all of an answer's body, and of a size for which one write is
// worth a copy.
func (w *patientWriter) wholeBody(p []byte) bool {
	return !w.wrote && len(p) >= corkLeast && len(p) <= corkMost && w.request.Method != http.MethodHead &&
		w.Header().Get("Content-Length") == strconv.Itoa(len(p))
}

// writeTogether writes a whole body and its headers at once.
func (w *patientWriter) writeTogether(c *limitedConn, p []byte) (n int, err error) {
	buffer, _ := c.listener.corks.Get().(*[corkBuffer]byte)
	if buffer == nil {
		buffer = new([corkBuffer]byte)
	}
	c.cork.hold(buffer)
	defer func() {
		if sent := c.uncork(); err == nil {
			err = sent
		}
	}()
	if n, err = w.ResponseWriter.Write(p); err == nil {
		err = w.limits.control.Flush()
	}
	return n, err
}
