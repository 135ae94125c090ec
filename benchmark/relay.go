package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// relay passes connections on to a server and counts what goes by: HTTP/1.1
// requests, and the bytes of requests and answers. It stands between a proxy and
// MinIO where nothing is timed.
type relay struct {
	listener net.Listener
	upstream string

	mu sync.Mutex
	// learning is set while no client asks for anything: what is asked then, the
	// proxy asks by itself. ownWork has those requests, which are not counted.
	learning bool
	ownWork  map[string]bool
	counted  traffic
	// failed is what the relay could not follow; it then counts wrongly.
	failed error
}

// traffic is what was counted.
type traffic struct {
	requests, bytes int64
}

func (t traffic) minus(u traffic) traffic {
	return traffic{t.requests - u.requests, t.bytes - u.bytes}
}

// newRelay listens and learns, until count is called.
func newRelay(upstream string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, upstream: upstream, learning: true, ownWork: map[string]bool{policyRead: true}}
	go r.serve()
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) close() { r.listener.Close() }

// count ends the learning.
func (r *relay) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.learning = false
}

// read returns what was counted so far.
func (r *relay) read() (traffic, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counted, r.failed
}

func (r *relay) serve() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		go r.pass(c)
	}
}

func (r *relay) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", r.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	var counts atomic.Bool // whether the request that is being answered does
	go func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if counts.Load() {
				r.add(traffic{bytes: int64(n)})
			}
			if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	follow := &requestReader{begin: func(head []byte) bool {
		yes := r.begin(head)
		counts.Store(yes)
		return yes
	}, bytes: func(n int64) { r.add(traffic{bytes: n}) }}
	if _, err := io.Copy(server, io.TeeReader(client, follow)); follow.err != nil {
		r.mu.Lock()
		r.failed = follow.err
		r.mu.Unlock()
	} else if err != nil {
		return
	}
}

func (r *relay) add(t traffic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counted.requests += t.requests
	r.counted.bytes += t.bytes
}

// begin is told the head of each request and says whether it counts.
func (r *relay) begin(head []byte) bool {
	name := requestName(head)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.learning {
		r.ownWork[name] = true
	}
	if r.ownWork[name] {
		return false
	}
	r.counted.requests++
	return true
}

// policyRead names the reading of any bucket's policy, which proxies do ahead of need,
// once a second.
const policyRead = "policy"

// requestName is a request's method and path, or policyRead.
func requestName(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, _, _ := bytes.Cut(rest, []byte(" "))
	p, query, _ := bytes.Cut(target, []byte("?"))
	if bytes.HasPrefix(query, []byte("policy")) {
		return policyRead
	}
	return string(method) + " " + string(p)
}

// requestReader follows the requests of a connection as they are written to it.
type requestReader struct {
	// begin is called with each head and says whether the request counts; bytes
	// with the length of what was sent of one that does.
	begin func(head []byte) bool
	bytes func(n int64)
	// head is what has arrived of a head, left what is missing of a body.
	head   []byte
	left   int64
	counts bool
	err    error
}

// maxHead is how long a head may be.
const maxHead = 256 << 10

// Write takes what a client sent. It never fails; err has why requests can no more
// be told apart.
func (r *requestReader) Write(b []byte) (int, error) {
	all := len(b)
	for len(b) > 0 && r.err == nil {
		if r.left > 0 {
			n := min(r.left, int64(len(b)))
			if r.counts {
				r.bytes(n)
			}
			r.left, b = r.left-n, b[n:]
			continue
		}
		b = r.takeHead(b)
	}
	return all, nil
}

// takeHead takes what belongs to a head and returns the rest.
func (r *requestReader) takeHead(b []byte) []byte {
	before := len(r.head)
	r.head = append(r.head, b...)
	end := bytes.Index(r.head, []byte("\r\n\r\n"))
	if end < 0 {
		if len(r.head) > maxHead {
			r.err = fmt.Errorf("a head of more than %d bytes", maxHead)
		}
		return nil
	}
	end += 4
	head := r.head[:end]
	r.counts = r.begin(head)
	if r.counts {
		r.bytes(int64(end))
	}
	r.left, r.err = bodyLength(head)
	r.head = r.head[:0]
	return b[end-before:]
}

// bodyLength reads the length of a request's body from its head.
func bodyLength(head []byte) (int64, error) {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch value = bytes.TrimSpace(value); {
		case is(name, "content-length"):
			return strconv.ParseInt(string(value), 10, 64)
		case is(name, "transfer-encoding"):
			return 0, fmt.Errorf("a body of unknown length: %.80q", head)
		}
	}
	return 0, nil
}
