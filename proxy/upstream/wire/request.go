package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

const (
	// gathered is up to which length a body is read whole before anything is sent, so
	// that it goes with the head in one write and cannot break off. In bytes.
	gathered = 64 << 10
	// sendBuffer is the room for a head and what is sent at once of a larger body.
	sendBuffer = gathered + 4<<10
	// keptBuffer bounds the buffers that are used again.
	keptBuffer = sendBuffer + 32<<10
)

// outgoing is a request as it is sent.
type outgoing struct {
	req *http.Request
	// server names the pool of connections, address is where to dial.
	server, address string
	secure          bool
	// data begins with the head, of which head bytes there are.
	data *[]byte
	head int
	// body is what was not gathered; nil if there is nothing.
	body   io.ReadCloser
	length int64
	// expects: the server is asked whether it wants the body.
	expects bool
}

var outBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, sendBuffer)
	return &b
}}

// discard closes the body and gives the buffer back.
func (o *outgoing) discard() {
	if o.body != nil {
		_ = o.body.Close()
		o.body = nil
	}
	o.free()
}

func (o *outgoing) free() {
	if o.data != nil && cap(*o.data) <= keptBuffer {
		outBuffers.Put(o.data)
	}
	o.data = nil
}

// newOutgoing writes the head of a request. What it returns has the body even after an
// error.
func newOutgoing(req *http.Request) (*outgoing, error) {
	o := &outgoing{req: req, body: req.Body, length: req.ContentLength}
	if req.Body == http.NoBody {
		o.body = nil
	}
	if req.URL == nil || req.Header == nil {
		return o, errors.New("a request without URL or header")
	}
	if err := o.measure(); err != nil {
		return o, err
	}
	if err := o.where(); err != nil {
		return o, err
	}
	o.expects = o.body != nil && httpguts.HeaderValuesContainsToken(req.Header["Expect"], "100-continue")
	return o, o.write()
}

// measure makes sure that the length of the body is known.
func (o *outgoing) measure() error {
	switch {
	case len(o.req.TransferEncoding) > 0 || len(o.req.Trailer) > 0:
		return errors.New("a request in chunks is not sent")
	case o.body == nil:
		if o.length > 0 {
			return fmt.Errorf("%w: there is none of %d bytes", ErrBodyLength, o.length)
		}
		o.length = 0
	case o.length < 0:
		return fmt.Errorf("%w: none", ErrBodyLength)
	case o.length == 0:
		if !ended(o.body) {
			return fmt.Errorf("%w: none", ErrBodyLength)
		}
		_ = o.body.Close()
		o.body = nil
	}
	return nil
}

// ended says that nothing is left to read.
func ended(r io.Reader) bool {
	var b [1]byte
	n, err := io.ReadFull(r, b[:])
	return n == 0 && err == io.EOF //nolint:errorlint // as io.ReadFull returns it
}

// where finds the server.
func (o *outgoing) where() error {
	u := o.req.URL
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("no HTTP: %q", u.Scheme)
	}
	host, err := httpguts.PunycodeHostPort(u.Host)
	if err != nil || host == "" {
		return fmt.Errorf("host %q is none", u.Host)
	}
	o.secure = u.Scheme == "https"
	o.address = host
	if !hasPort(host) {
		port := "80"
		if o.secure {
			port = "443"
		}
		o.address = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	o.server = o.address
	if o.secure {
		o.server = "https " + o.address
	}
	return nil
}

func hasPort(host string) bool {
	colon := strings.LastIndexByte(host, ':')
	return colon > strings.LastIndexByte(host, ']') && colon < len(host)-1
}

// write writes the head. What could end a line in it is refused.
func (o *outgoing) write() error {
	req := o.req
	o.data = outBuffers.Get().(*[]byte)
	b := (*o.data)[:0]
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	if !httpguts.ValidHeaderFieldName(method) || method == http.MethodConnect {
		return fmt.Errorf("method %q is none", method)
	}
	uri := req.URL.RequestURI()
	if !printable(uri) || uri == "" {
		return errors.New("the URL has a control character")
	}
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	host, err := httpguts.PunycodeHostPort(host)
	if err != nil || !httpguts.ValidHostHeader(host) {
		return errors.New("the host is none")
	}
	b = append(append(append(b, method...), ' '), uri...)
	b = append(append(b, " HTTP/1.1\r\nHost: "...), withoutZone(host)...)
	b = append(b, "\r\n"...)
	if agents, said := req.Header["User-Agent"]; !said {
		b = append(b, "User-Agent: Go-http-client/1.1\r\n"...)
	} else if len(agents) > 0 && agents[0] != "" {
		if b, err = field(b, "User-Agent", agents[0]); err != nil {
			return err
		}
	}
	if o.length > 0 || method == http.MethodPut || method == http.MethodPost || method == http.MethodPatch {
		b = strconv.AppendInt(append(b, "Content-Length: "...), o.length, 10)
		b = append(b, "\r\n"...)
	}
	if req.Close {
		b = append(b, "Connection: close\r\n"...)
	}
	for name, values := range req.Header {
		switch name {
		case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer":
			continue // they are this function's to say
		}
		for _, value := range values {
			if b, err = field(b, name, value); err != nil {
				return err
			}
		}
	}
	b = append(b, "\r\n"...)
	*o.data, o.head = b, len(b)
	return nil
}

// field appends a header field.
func field(b []byte, name, value string) ([]byte, error) {
	if !httpguts.ValidHeaderFieldName(name) {
		return b, fmt.Errorf("header name %q is none", name)
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return b, fmt.Errorf("the value of header %q cannot be sent", name) // it may be secret
	}
	b = append(append(b, name...), ": "...)
	b = append(b, strings.Trim(value, " \t")...)
	return append(b, "\r\n"...), nil
}

// printable says that nothing in a URI could end it.
func printable(uri string) bool {
	for i := range len(uri) {
		if uri[i] <= ' ' || uri[i] == 0x7f {
			return false
		}
	}
	return true
}

// withoutZone removes the zone of an IPv6 address, which is of this machine only.
func withoutZone(host string) string {
	if !strings.HasPrefix(host, "[") {
		return host
	}
	end := strings.LastIndexByte(host, ']')
	if end < 0 {
		return host
	}
	zone := strings.LastIndexByte(host[:end], '%')
	if zone < 0 {
		return host
	}
	return host[:zone] + host[end:]
}

// gather reads a short body, so that a request whose body fails is not begun.
func (o *outgoing) gather() error {
	if o.body == nil || o.expects || o.length > gathered {
		return nil
	}
	b := *o.data
	if need := o.head + int(o.length); need > cap(b) {
		larger := make([]byte, o.head, need)
		copy(larger, b)
		b = larger
		*o.data = larger
	}
	whole := b[:o.head+int(o.length)]
	if n, err := io.ReadFull(o.body, whole[o.head:]); err != nil {
		return shortBody(err, int64(n), o.length)
	}
	if err := atEnd(o.body); err != nil {
		return err
	}
	err := o.body.Close()
	o.body = nil
	*o.data = whole
	return err
}

// shortBody is the error of a body of which n bytes were read.
func shortBody(err error, n, length int64) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // as io.ReadFull returns them
		return fmt.Errorf("%w: %d bytes of %d", ErrBodyLength, n, length)
	}
	return err
}

// atEnd says whether a body ends here, and ends well.
func atEnd(body io.Reader) error {
	var b [1]byte
	switch n, err := io.ReadFull(body, b[:]); {
	case n > 0:
		return fmt.Errorf("%w: there is more", ErrBodyLength)
	case err != io.EOF: //nolint:errorlint // as io.ReadFull returns it
		return err
	}
	return nil
}

// again returns the request to be sent once more after an exchange that failed, or nil.
// A fresh connection is not tried twice.
func (o *outgoing) again(x *exchange, fresh bool) *outgoing {
	if fresh || !x.c.reused || x.began || x.ctx.Err() != nil {
		return nil
	}
	req := o.req
	bodiless := req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0
	switch {
	case x.unsent && (bodiless || req.GetBody != nil):
	case x.lost && bodiless && (req.Method == "" || req.Method == http.MethodGet || req.Method == http.MethodHead):
	default:
		return nil
	}
	if !bodiless {
		body, err := req.GetBody()
		if err != nil {
			return nil
		}
		once := *req
		once.Body = body
		req = &once
	}
	next, err := newOutgoing(req)
	if err == nil {
		err = next.gather()
	}
	if err != nil {
		next.discard()
		return nil
	}
	return next
}
