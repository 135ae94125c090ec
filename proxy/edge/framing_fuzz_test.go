package edge

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// heardRequest is a request as somebody understands it.
type heardRequest struct{ method, target, body string }

// strict reads requests as a balancer in front does that keeps to RFC 9112 and takes nothing
// that it need not: it stops where one is not written so. closed says that no request may
// follow the last one.
func strict(data string) (all []heardRequest, closed bool) {
	for {
		head, rest, whole := strings.Cut(data, "\r\n\r\n")
		if !whole || strings.Trim(head, "\r\n") != head {
			return all, false
		}
		lines := strings.Split(head, "\r\n")
		words := strings.Split(lines[0], " ")
		if len(words) != 3 || !isToken(words[0]) || words[0] == "CONNECT" || !strings.HasPrefix(words[1], "/") || !isValue(words[1]) ||
			words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0" {
			return all, false
		}
		fields := make(map[string][]string)
		for _, line := range lines[1:] {
			name, value, ok := strings.Cut(line, ":")
			if !ok || !isToken(name) || !isValue(value) {
				return all, false
			}
			fields[strings.ToLower(name)] = append(fields[strings.ToLower(name)], strings.ToLower(strings.Trim(value, " \t")))
		}
		r := heardRequest{method: words[0], target: words[1]}
		coding, lengths := fields["transfer-encoding"], fields["content-length"]
		old := words[2] == "HTTP/1.0"
		var ok bool
		switch {
		case len(coding) > 0 && old: // its framing is faulty: nothing is said of its body, and nothing may follow
			return all, true
		case len(coding) == 1 && coding[0] == "chunked":
			r.body, data, ok = strictChunks(rest)
		case len(coding) > 0 || len(lengths) > 1:
			return all, false
		default:
			r.body, data, ok = strictLength(rest, lengths)
		}
		if !ok {
			return all, false
		}
		all = append(all, r)
		ends := func(v string) bool { return strings.Contains(v, "close") }
		if len(coding) > 0 && len(lengths) > 0 || slices.ContainsFunc(fields["connection"], ends) || old && len(fields["connection"]) == 0 {
			return all, true
		}
	}
}

func strictLength(rest string, lengths []string) (body, after string, ok bool) {
	if len(lengths) == 0 {
		return "", rest, true
	}
	n, err := strconv.ParseUint(lengths[0], 10, 31)
	if err != nil || strings.HasPrefix(lengths[0], "+") || n > uint64(len(rest)) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

func strictChunks(rest string) (body, after string, ok bool) {
	for {
		line, data, whole := strings.Cut(rest, "\r\n")
		digits, extension, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(digits, 16, 31)
		if !whole || err != nil || !isToken(digits) || strings.ContainsAny(digits, "+_xX") || !isValue(extension) {
			return "", "", false
		}
		if n == 0 {
			for {
				line, data, whole = strings.Cut(data, "\r\n")
				if line == "" || !whole {
					return body, data, whole
				}
				if name, value, is := strings.Cut(line, ":"); !is || !isToken(name) || !isValue(value) {
					return "", "", false
				}
			}
		}
		if n+2 > uint64(len(data)) || data[n:n+2] != "\r\n" {
			return "", "", false
		}
		body, rest = body+data[:n], data[n+2:]
	}
}

func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

func isValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// once is a listener of one connection, which says something and ends.
type once struct {
	net.Conn
	says   *bytes.Reader
	taken  bool
	closed chan struct{}
	close  sync.Once
}

func (o *once) Accept() (net.Conn, error) {
	if !o.taken {
		o.taken = true
		return o, nil
	}
	<-o.closed
	return nil, net.ErrClosed
}
func (o *once) Addr() net.Addr                   { return &net.TCPAddr{} }
func (o *once) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (o *once) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (o *once) Read(p []byte) (int, error)       { return o.says.Read(p) }
func (o *once) Write(p []byte) (int, error)      { return len(p), nil }
func (o *once) SetDeadline(time.Time) error      { return nil }
func (o *once) SetReadDeadline(time.Time) error  { return nil }
func (o *once) SetWriteDeadline(time.Time) error { return nil }
func (o *once) Close() error {
	o.close.Do(func() { close(o.closed) })
	return nil
}

// served are the requests that a server behind Handler takes from a connection, whose bodies
// are whole.
func served(data []byte) (all []heardRequest) {
	conn := &once{says: bytes.NewReader(data), closed: make(chan struct{})}
	server := http.Server{Handler: Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil {
			all = append(all, heardRequest{r.Method, r.RequestURI, string(body)})
		}
	}))}
	_ = server.Serve(conn) // until the connection ends
	return all
}

// Whatever is sent, no request is served that a balancer in front, which keeps to RFC 9112,
// has not seen as one; and what it has seen is not served as another.
func FuzzFraming(f *testing.F) {
	const next = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, body := range []string{
		"Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n", "\r\n", "Connection: close\r\n\r\n",
		"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + next + "\r\n0\r\n\r\n", "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"Content-Length: +3\r\n\r\nabc", "Transfer-Encoding: xchunked\r\n\r\n", "Content-Length : 3\r\n\r\nabc", "X: y\n z\r\n\r\n", "Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
		"Connection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + next + "\r\n0\r\n\r\n",
	} {
		f.Add([]byte("PUT /first HTTP/1.1\r\nHost: x\r\n" + body + next))
		f.Add([]byte("POST /first HTTP/1.0\r\n" + body + next + next))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		seen, closed := strict(string(data))
		got := served(data)
		for i, r := range got {
			switch {
			case i < len(seen) && r != seen[i]:
				t.Fatalf("%q: request %d is %q, and %q in front", data, i, r, seen[i])
			case i > len(seen) && closed, i == len(seen) && closed && len(seen) > 0 && !faulty(data):
				t.Fatalf("%q: request %d is %q, and none may follow the %d in front", data, i, r, len(seen))
			}
		}
	})
}

// faulty says whether a coding of HTTP/1.0 may be among the requests: the one that has it may
// be served, and is none that strict lists.
func faulty(data []byte) bool { return bytes.Contains(data, []byte("HTTP/1.0")) }
