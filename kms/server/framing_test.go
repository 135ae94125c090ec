package server_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A TLS proxy in front that takes these for one request each is not to be surprised by a second.
func TestConnectionsEndAfterRequestsOfDoubtfulEnd(t *testing.T) {
	t.Parallel()
	k := start(t)
	const next = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, tc := range []struct {
		wire    string
		answers int
	}{
		{"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" + next, 2},
		{"POST /version HTTP/1.1\r\nHost: x\r\nContent-Length: 70\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next, 1},
		{"POST /version HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n24\r\n" + next + "\r\n0\r\n\r\n", 1},
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(k.url, "https://"), &tls.Config{ //nolint:gosec // see kit.as
			InsecureSkipVerify: true, Certificates: []tls.Certificate{certOf(t, k.user)},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(conn, tc.wire)
		reader, answers := bufio.NewReader(conn), 0
		for answers < tc.answers {
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				break
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			answers++
		}
		if tc.answers == 1 {
			if _, err := reader.Peek(1); err != io.EOF {
				t.Errorf("%.70q: after the answer comes %v", tc.wire, err)
			}
		}
		if answers != tc.answers {
			t.Errorf("%.70q: %d answers, want %d", tc.wire, answers, tc.answers)
		}
		_ = conn.Close()
	}
}
