package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// The client costs as little as it can, for it shares the processors with what is
// measured: HTTP/1.1 over a connection of its own, requests made beforehand,
// answers read as far as is needed, bodies thrown away.

// inline is the size up to which a body is sent in one piece with its head.
const inline = 64 << 10

// request is one that is ready to be sent, any number of times.
type request struct {
	// head is what is sent first, small bodies included; body is what follows.
	head, body []byte
	// want is the status that is right; length is how long the body must then be,
	// or less than 0 if that is not known.
	want   int
	length int64
	// bodyless says that the answer has no body, whatever its length says: HEAD.
	bodyless bool
}

// ready makes a request of a signed head and a body.
func ready(head, body []byte, want int, length int64) *request {
	if len(body) <= inline {
		return &request{head: append(head, body...), want: want, length: length}
	}
	return &request{head: head, body: body, want: want, length: length}
}

// connection is one to a server. Not for concurrent use.
type connection struct {
	net.Conn
	// buf holds what was read; buf[from:to] is not yet looked at.
	buf      []byte
	from, to int
	// keep, if set, is given what arrives of a body.
	keep func([]byte)
}

// requestLimit is how long one request may take.
const requestLimit = 2 * time.Minute

func dial(ctx context.Context, addr string, secure *tls.Config) (*connection, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if secure != nil {
		s := tls.Client(c, secure)
		if err := s.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		c = s
	}
	return &connection{Conn: c, buf: make([]byte, 256<<10)}, nil
}

// answer is what is looked at of an answer's head.
type answer struct {
	status int
	// length is the body's, less than 0 if it is chunked.
	length int64
	etag   string
}

// do sends a request, reads the answer to its end, and returns how long its body
// was. A status or a length other than wanted is an error that quotes the answer.
func (c *connection) do(r *request) (answer, int64, error) {
	if err := c.send(r); err != nil {
		return answer{}, 0, err
	}
	a, err := c.head()
	if err != nil {
		return a, 0, err
	}
	if a.status != r.want {
		return a, 0, c.unexpected(a, r)
	}
	if r.bodyless || a.status == 204 || a.status == 304 {
		return a, 0, nil
	}
	n, err := c.discard(a)
	if err == nil && r.length >= 0 && n != r.length {
		err = fmt.Errorf("answer of %d bytes, want %d", n, r.length)
	}
	return a, n, err
}

func (c *connection) send(r *request) error {
	if err := c.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return err
	}
	if r.body == nil {
		_, err := c.Write(r.head)
		return err
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		parts := net.Buffers{r.head, r.body}
		_, err := parts.WriteTo(tcp)
		return err
	}
	if _, err := c.Write(r.head); err != nil {
		return err
	}
	_, err := c.Write(r.body)
	return err
}

func (c *connection) unexpected(a answer, r *request) error {
	var said bytes.Buffer
	keep := c.keep
	c.keep = func(b []byte) { said.Write(b[:min(len(b), 600-min(said.Len(), 600))]) }
	if !r.bodyless {
		_, _ = c.discard(a)
	}
	c.keep = keep
	line, _, _ := bytes.Cut(r.head, []byte("\r\n"))
	return fmt.Errorf("%s: status %d, want %d: %s", line, a.status, r.want, said.Bytes())
}

// fill reads more; what was not yet looked at moves to the front if there is no
// room behind it.
func (c *connection) fill() error {
	if c.from == c.to {
		c.from, c.to = 0, 0
	} else if c.to == len(c.buf) {
		if c.from == 0 {
			return errors.New("an answer's head is too long")
		}
		c.to = copy(c.buf, c.buf[c.from:c.to])
		c.from = 0
	}
	n, err := c.Read(c.buf[c.to:])
	c.to += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// head reads the head of an answer, past any 1xx.
func (c *connection) head() (answer, error) {
	for {
		end := bytes.Index(c.buf[c.from:c.to], []byte("\r\n\r\n"))
		if end < 0 {
			if err := c.fill(); err != nil {
				return answer{}, err
			}
			continue
		}
		a, err := parseHead(c.buf[c.from : c.from+end+2])
		c.from += end + 4
		if err != nil || a.status >= 200 {
			return a, err
		}
	}
}

// parseHead reads the lines of a head, each with its line break.
func parseHead(lines []byte) (answer, error) {
	a := answer{length: 0}
	first, rest, _ := bytes.Cut(lines, []byte("\r\n"))
	if len(first) < len("HTTP/1.1 200") || !bytes.HasPrefix(first, []byte("HTTP/1.1 ")) {
		return a, fmt.Errorf("not an answer: %.60q", first)
	}
	var err error
	if a.status, err = strconv.Atoi(string(first[9:12])); err != nil {
		return a, fmt.Errorf("not an answer: %.60q", first)
	}
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case is(name, "content-length"):
			if a.length, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return a, fmt.Errorf("content-length: %w", err)
			}
		case is(name, "transfer-encoding"):
			a.length = -1
		case is(name, "etag"):
			a.etag = string(value)
		}
	}
	return a, nil
}

func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// discard reads a body to its end and returns its length.
func (c *connection) discard(a answer) (int64, error) {
	if a.length >= 0 {
		return a.length, c.take(a.length)
	}
	total := int64(0)
	for {
		line, err := c.line()
		if err != nil {
			return total, err
		}
		hex, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(hex), 16, 64)
		if err != nil {
			return total, fmt.Errorf("chunk: %w", err)
		}
		if n == 0 {
			return total, c.trailer()
		}
		if err := c.take(n); err != nil {
			return total, err
		}
		total += n
		if _, err := c.line(); err != nil {
			return total, err
		}
	}
}

// trailer reads lines until an empty one.
func (c *connection) trailer() error {
	for {
		line, err := c.line()
		if err != nil || len(line) == 0 {
			return err
		}
	}
}

// line reads one line and returns it without its end, valid until the next call.
func (c *connection) line() ([]byte, error) {
	for {
		if i := bytes.IndexByte(c.buf[c.from:c.to], '\n'); i >= 0 {
			line := c.buf[c.from : c.from+i]
			c.from += i + 1
			return bytes.TrimSuffix(line, []byte("\r")), nil
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// take reads n bytes of a body.
func (c *connection) take(n int64) error {
	for n > 0 {
		if c.from == c.to {
			if err := c.fill(); err != nil {
				return err
			}
		}
		have := min(int64(c.to-c.from), n)
		if c.keep != nil {
			c.keep(c.buf[c.from : c.from+int(have)])
		}
		c.from += int(have)
		n -= have
	}
	return nil
}
