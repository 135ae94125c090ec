package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkOverTLS is what a client with a kept connection gets. "nothing" is
// the transport alone: the difference to it is what the service costs.
func BenchmarkOverTLS(b *testing.B) {
	k := start(b)
	client := k.asKey(k.admin)
	context := base64.StdEncoding.EncodeToString([]byte(`{"bucket":"bucket/some/object.bin"}`))
	k.do(client, "POST", "/v1/key/create/k", "")
	a := k.do(client, "POST", "/v1/key/generate/k", fmt.Sprintf(`{"context":%q}`, context))
	var dek struct{ Ciphertext []byte }
	if err := json.Unmarshal([]byte(a.body), &dek); err != nil {
		b.Fatal(err)
	}
	for _, call := range []struct{ name, method, path, body string }{
		{"nothing", "GET", "/version", ""},
		{"generate", "POST", "/v1/key/generate/k", fmt.Sprintf(`{"context":%q}`, context)},
		{"decrypt", "POST", "/v1/key/decrypt/k", fmt.Sprintf(`{"ciphertext":%q,"context":%q}`, base64.StdEncoding.EncodeToString(dek.Ciphertext), context)},
	} {
		b.Run(call.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, err := http.NewRequest(call.method, k.url+call.path, strings.NewReader(call.body))
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
					}
				}
			})
		})
	}
}
