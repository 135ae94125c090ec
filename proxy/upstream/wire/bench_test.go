//go:build unix

package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// canned answers every request at once, at little cost: with as many bytes as the path
// says.
func canned(b *testing.B) string {
	zeroes := make([]byte, 64<<20)
	return rawServer(b, func(_ int, conn net.Conn, r *bufio.Reader) {
		for {
			first, err := r.ReadString('\n')
			if err != nil {
				return
			}
			fields := strings.Fields(first)
			var length int64
			for {
				line, err := r.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
				if value, is := bytes.CutPrefix(line, []byte("Content-Length: ")); is {
					length, _ = strconv.ParseInt(string(value[:len(value)-2]), 10, 64)
				}
			}
			_, _ = io.CopyN(io.Discard, r, length)
			n, _ := strconv.Atoi(strings.TrimPrefix(fields[1], "/"))
			head := fmt.Sprintf("HTTP/1.1 200 OK\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\nContent-Type: binary/octet-stream\r\nETag: \"0123456789abcdef0123456789abcdef\"\r\nLast-Modified: Thu, 26 Nov 2026 20:00:00 GMT\r\nServer: MinIO\r\nVary: Origin\r\nX-Amz-Request-Id: 18A1B2C3D4E5F607\r\nX-Amz-Id-2: dd9025bab4ad464b049177c95eb6ebf374d3b3fd1af9251148b658df7ac2e3e8\r\nX-Content-Type-Options: nosniff\r\nX-Xss-Protection: 1; mode=block\r\nDate: Thu, 26 Nov 2026 20:00:00 GMT\r\n\r\n", n)
			if fields[0] == "HEAD" {
				n = 0
			}
			answer := net.Buffers{[]byte(head), zeroes[:n]}
			if _, err := answer.WriteTo(conn); err != nil {
				return
			}
		}
	})
}

func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkClient compares clients; the processor time includes that of the server.
func BenchmarkClient(b *testing.B) {
	for _, tt := range []struct {
		name, method string
		up, down     int
		memory       bool
	}{
		{"HEAD", "HEAD", 0, 4 << 10, false},
		{"GET4KiB", "GET", 0, 4 << 10, false},
		{"PUT4KiB", "PUT", 4 << 10, 0, true},
		{"PUT1MiB", "PUT", 1 << 20, 0, true},
		{"PUT1MiBread", "PUT", 1 << 20, 0, false},
		{"GET64MiB", "GET", 0, 64 << 20, false},
	} {
		for _, client := range []string{"nethttp", "wire"} {
			b.Run(tt.name+"/"+client, func(b *testing.B) {
				base := canned(b)
				var rt http.RoundTripper = newTransport(b, nil)
				if client == "nethttp" {
					standard := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, WriteBufferSize: 64 << 10, ReadBufferSize: 16 << 10, ResponseHeaderTimeout: time.Minute}
					b.Cleanup(standard.CloseIdleConnections)
					rt = standard
				}
				data := make([]byte, tt.up)
				scratch := make([]byte, 128<<10)
				b.SetBytes(int64(max(tt.up, tt.down)))
				b.ReportAllocs()
				start := processorTime()
				for b.Loop() {
					var body io.Reader
					if tt.up > 0 {
						if body = bytes.NewReader(data); !tt.memory {
							body = onlyReader{body}
						}
					}
					req := request(b, tt.method, base+"/"+strconv.Itoa(tt.down), body, tt.up)
					for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Forwarded-For"} {
						req.Header[name] = []string{"AWS4-HMAC-SHA256 Credential=access/20261126/us-east-1/s3/aws4_request"}
					}
					resp, err := rt.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					for err == nil {
						_, err = resp.Body.Read(scratch)
					}
					_ = resp.Body.Close()
					if err != io.EOF {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64((processorTime()-start).Nanoseconds())/float64(b.N), "cpu-ns/op")
			})
		}
	}
}
