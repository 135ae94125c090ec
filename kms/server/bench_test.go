package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	benchWorkers = 16  // clients at work at once
	benchTurn    = 400 // requests to one server, before it is the other's turn
)

// BenchmarkOverTLS measures what clients with kept connections get: calls of the
// service beside an echo that does nothing but read a body and write an answer
// of the same sizes, over the same TLS. "of-echo" is the part of the echo's
// requests a second that the service reaches: 1 would be all that TLS and
// net/http allow.
func BenchmarkOverTLS(b *testing.B) {
	k := start(b)
	client := k.asKey(k.admin)
	context := base64.StdEncoding.EncodeToString([]byte(`{"bucket":"bucket/some/object.bin"}`))
	k.do(client, "POST", "/v1/key/create/k", "")
	generate := fmt.Sprintf(`{"context":%q}`, context)
	generated := k.do(client, "POST", "/v1/key/generate/k", generate).body
	var dek struct{ Ciphertext []byte }
	if err := json.Unmarshal([]byte(generated), &dek); err != nil {
		b.Fatal(err)
	}
	decrypt := fmt.Sprintf(`{"ciphertext":%q,"context":%q}`, base64.StdEncoding.EncodeToString(dek.Ciphertext), context)
	decrypted := k.do(client, "POST", "/v1/key/decrypt/k", decrypt).body
	for _, protocol := range []string{"http2", "http1"} {
		client := k.asKey(k.admin)
		transport := client.Transport.(*http.Transport)
		transport.MaxIdleConnsPerHost = benchWorkers
		transport.ForceAttemptHTTP2 = protocol == "http2"
		for _, call := range []struct{ name, path, body, answer string }{
			{"generate", "/v1/key/generate/k", generate, generated},
			{"decrypt", "/v1/key/decrypt/k", decrypt, decrypted},
		} {
			b.Run(protocol+"/"+call.name, func(b *testing.B) {
				echo := startEcho(b, k, call.answer, protocol == "http2")
				requests(b, client, echo+call.path, call.body, benchWorkers) // connections and their handshakes
				requests(b, client, k.url+call.path, call.body, benchWorkers)
				b.ResetTimer()
				// In turns, so that what else the machine does hits both.
				var served, echoed time.Duration
				for done := 0; done < b.N; done += benchTurn {
					n := min(benchTurn, b.N-done)
					served += requests(b, client, k.url+call.path, call.body, n)
					b.StopTimer()
					echoed += requests(b, client, echo+call.path, call.body, n)
					b.StartTimer()
				}
				b.StopTimer()
				b.ReportMetric(float64(b.N)/served.Seconds(), "req/s")
				b.ReportMetric(float64(b.N)/echoed.Seconds(), "echo-req/s")
				b.ReportMetric(echoed.Seconds()/served.Seconds(), "of-echo")
			})
		}
	}
}

// startEcho serves one answer over k's TLS.
func startEcho(b *testing.B, k *kit, answer string, http2 bool) string {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	s.TLS = k.serverTLS()
	s.EnableHTTP2 = http2
	s.StartTLS()
	b.Cleanup(s.Close)
	return s.URL
}

// requests makes n of them and returns how long that took.
func requests(b *testing.B, client *http.Client, url, body string, n int) time.Duration {
	var wait sync.WaitGroup
	var next atomic.Int64
	start := time.Now()
	for range benchWorkers {
		wait.Go(func() {
			for next.Add(1) <= int64(n) {
				req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader([]byte(body)))
				if err != nil {
					b.Error(err)
					return
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					b.Error(resp.Status)
					return
				}
			}
		})
	}
	wait.Wait()
	return time.Since(start)
}
