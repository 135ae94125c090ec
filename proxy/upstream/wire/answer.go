package wire

import (
	"bytes"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const (
	// maxFields bounds how many fields a head has.
	maxFields = 4096
	// maxShared bounds heads whose values share one piece of memory, in bytes: one that
	// is kept keeps all of it.
	maxShared = 4 << 10
)

// framing says where an answer's body ends.
type framing struct {
	kind   kind
	length int64 // sized
}

type kind int

const (
	sized   kind = iota // after so many bytes
	chunked             // with the last chunk
	closing             // with the connection
)

// names has the canonical form of fields as servers send them.
var names = func() map[string]string {
	m := make(map[string]string)
	for _, name := range []string{
		"Accept-Ranges", "Cache-Control", "Connection", "Content-Disposition", "Content-Encoding", "Content-Language",
		"Content-Length", "Content-Range", "Content-Security-Policy", "Content-Type", "Date", "Etag", "Expires", "Last-Modified",
		"Location", "Server", "Strict-Transport-Security", "Trailer", "Transfer-Encoding", "Vary", "X-Amz-Bucket-Region",
		"X-Amz-Delete-Marker", "X-Amz-Id-2", "X-Amz-Mp-Parts-Count", "X-Amz-Object-Lock-Mode",
		"X-Amz-Object-Lock-Retain-Until-Date", "X-Amz-Replication-Status", "X-Amz-Request-Id", "X-Amz-Server-Side-Encryption",
		"X-Amz-Storage-Class", "X-Amz-Tagging-Count", "X-Amz-Version-Id", "X-Content-Type-Options", "X-Minio-Error-Code",
		"X-Minio-Error-Desc", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "X-Xss-Protection",
	} {
		m[name] = name
		m[strings.ToLower(name)] = name
	}
	m["ETag"] = "Etag"
	return m
}()

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// parseHead reads the head of an answer to a request of the method, its empty line not
// included. Each line ends with CRLF.
func parseHead(head []byte, method string) (*http.Response, framing, error) {
	status, fields, _ := bytes.Cut(head, headEnd[:2])
	resp := &http.Response{ProtoMajor: 1}
	if err := parseStatus(resp, status); err != nil {
		return nil, framing{}, err
	}
	if err := parseFields(resp, fields); err != nil {
		return nil, framing{}, err
	}
	f, err := frame(resp, method)
	return resp, f, err
}

// parseStatus reads the first line.
func parseStatus(resp *http.Response, line []byte) error {
	const proto = "HTTP/1.x "
	if len(line) < len(proto)+3 || string(line[:7]) != proto[:7] || line[8] != ' ' {
		return malformed("no status line")
	}
	switch line[7] {
	case '1':
		resp.Proto, resp.ProtoMinor = "HTTP/1.1", 1
	case '0':
		resp.Proto = "HTTP/1.0"
	default:
		return malformed("its version of HTTP")
	}
	rest := line[len(proto):]
	for _, b := range rest[:3] {
		if b < '0' || b > '9' {
			return malformed("its status")
		}
		resp.StatusCode = 10*resp.StatusCode + int(b-'0')
	}
	if resp.StatusCode < 100 || resp.StatusCode > 599 || resp.StatusCode == http.StatusSwitchingProtocols || len(rest) > 3 && rest[3] != ' ' {
		return malformed("its status")
	}
	if !validValue(rest) {
		return malformed("its reason")
	}
	if resp.StatusCode == http.StatusOK && string(rest) == "200 OK" {
		resp.Status = "200 OK"
	} else {
		resp.Status = string(rest)
	}
	return nil
}

// parseFields reads the lines after the first one.
func parseFields(resp *http.Response, fields []byte) error {
	n := bytes.Count(fields, headEnd[:2])
	if n > maxFields {
		return malformed("too many fields")
	}
	resp.Header = make(http.Header, n)
	values := make([]string, n)
	shared := ""
	if len(fields) <= maxShared {
		shared = string(fields)
	}
	for at := 0; at < len(fields); {
		end := at + bytes.Index(fields[at:], headEnd[:2])
		line := fields[at:end]
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		key, known := names[string(name)]
		if !known {
			key = textproto.CanonicalMIMEHeaderKey(string(name))
		}
		text := ""
		if shared != "" {
			from := at + len(line) - len(value)
			text = strings.TrimRight(shared[from:end], " \t")
		} else {
			text = string(bytes.TrimRight(value, " \t"))
		}
		if before, is := resp.Header[key]; is {
			resp.Header[key] = append(before, text)
		} else {
			values[0] = text
			resp.Header[key] = values[:1:1]
			values = values[1:]
		}
		at = end + 2
	}
	return nil
}

// splitField splits a line at its colon. The value may end with blanks, and ends the line.
func splitField(line []byte) (name, value []byte, err error) {
	colon := bytes.IndexByte(line, ':')
	if colon <= 0 {
		return nil, nil, malformed("a field without a name")
	}
	name, value = line[:colon], bytes.TrimLeft(line[colon+1:], " \t")
	for _, b := range name {
		if !httpguts.IsTokenRune(rune(b)) {
			return nil, nil, malformed("the name of a field")
		}
	}
	if !validValue(value) {
		return nil, nil, malformed("the value of a field")
	}
	return name, value, nil
}

// validValue says that no control character is in a value, tabs apart.
func validValue(value []byte) bool {
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return true
}

// frame finds out where the body ends, and whether the connection ends with it. What two
// readers could understand differently is refused.
func frame(resp *http.Response, method string) (framing, error) {
	h := resp.Header
	length, err := contentLength(h)
	if err != nil {
		return framing{}, err
	}
	coded, err := isChunked(resp, length)
	if err != nil {
		return framing{}, err
	}
	connection := h["Connection"]
	resp.Close = resp.ProtoMinor == 0
	if len(connection) > 0 && httpguts.HeaderValuesContainsToken(connection, "close") {
		resp.Close = true
		if resp.ProtoMinor == 1 {
			delete(h, "Connection") // as net/http does
		}
	}
	if pragma := h["Pragma"]; len(pragma) > 0 && pragma[0] == "no-cache" {
		if _, said := h["Cache-Control"]; !said {
			h["Cache-Control"] = []string{"no-cache"} // as net/http does
		}
	}
	resp.ContentLength = length
	status := resp.StatusCode
	if method == http.MethodHead || status < http.StatusOK || status == http.StatusNoContent || status == http.StatusNotModified {
		if method != http.MethodHead {
			resp.ContentLength = 0
		}
		return framing{kind: sized}, nil
	}
	switch {
	case coded:
		return framing{kind: chunked}, nil
	case length >= 0:
		return framing{kind: sized, length: length}, nil
	}
	resp.Close = true
	return framing{kind: closing}, nil
}

// contentLength returns the length that is announced, or -1.
func contentLength(h http.Header) (int64, error) {
	values, said := h["Content-Length"]
	if !said {
		return -1, nil
	}
	if len(values) != 1 || len(values[0]) == 0 || len(values[0]) > 18 {
		return 0, malformed("its length")
	}
	for i := range len(values[0]) {
		if b := values[0][i]; b < '0' || b > '9' {
			return 0, malformed("its length")
		}
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		return 0, malformed("its length")
	}
	return n, nil
}

// isChunked says whether the body comes in chunks.
func isChunked(resp *http.Response, length int64) (bool, error) {
	values, said := resp.Header["Transfer-Encoding"]
	if !said {
		return false, nil
	}
	if resp.ProtoMinor == 0 || length >= 0 || len(values) != 1 || !strings.EqualFold(values[0], "chunked") {
		return false, malformed("its transfer encoding")
	}
	delete(resp.Header, "Transfer-Encoding")
	resp.TransferEncoding = []string{"chunked"}
	for _, value := range resp.Header["Trailer"] {
		for name := range strings.SplitSeq(value, ",") {
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "transfer-encoding", "trailer", "content-length":
				return false, malformed("its trailer")
			}
		}
	}
	delete(resp.Header, "Trailer")
	return true, nil
}
