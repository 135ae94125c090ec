package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A server in front that takes these for one request each is not to be surprised by a second.
func TestConnectionsEndAfterRequestsOfDoubtfulEnd(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, r, done := Patience{Stall: time.Second}.Apply(w, r)
		defer done()
		if r.Method != http.MethodPut { // which is refused unread
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})))
	defer server.Close()
	const next = "GET /second HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, tc := range []struct {
		wire    string
		answers int
	}{
		{"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + next, 2},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + next, 2},
		{"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + next, 2},
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + next, 2},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + next, 1},
		{"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + next, 1},
		{"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 70\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + next, 1},
		// In front: one request of a single chunk.
		{"PUT / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + next + "\r\n0\r\n\r\n", 1},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + next + "\r\n0\r\n\r\n", 1},
		{"PUT / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + next, 1},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, tc.wire)
		reader, answers := bufio.NewReader(conn), 0
		for answers < tc.answers {
			method, _, _ := strings.Cut(tc.wire, " ")
			resp, err := http.ReadResponse(reader, &http.Request{Method: method})
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			answers++
		}
		if answers != tc.answers {
			t.Errorf("%.60q: %d answers, want %d", tc.wire, answers, tc.answers)
		}
		if tc.answers == 1 {
			if _, err := reader.Peek(1); err != io.EOF {
				t.Errorf("%.60q: after the answer comes %v", tc.wire, err)
			}
		}
		_ = conn.Close()
	}
}

func TestRequestsOfSeveralLengthsAreRefused(t *testing.T) {
	t.Parallel()
	served := false
	h := Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
	for lengths, want := range map[string]int{"3": http.StatusOK, "3,4": http.StatusBadRequest, "3,3": http.StatusBadRequest} {
		r, w := httptest.NewRequest(http.MethodPut, "/b/k", strings.NewReader("abc")), httptest.NewRecorder()
		r.ProtoMajor, r.ProtoMinor, r.Header["Content-Length"] = 2, 0, strings.Split(lengths, ",")
		served = false
		if h.ServeHTTP(w, r); w.Code != want || served != (want == http.StatusOK) {
			t.Errorf("%s: %d, served %v", lengths, w.Code, served)
		}
	}
}
