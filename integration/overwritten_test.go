package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// Requests that read an object in more than one step begin anew when it is
// overwritten between two of them: the client has set no condition.
func TestReadsBeginAnewWhenTheObjectIsOverwritten(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	c := h.root
	parts := oddParts()
	whole := bytes.Join(parts, nil)
	second := request{method: http.MethodGet, key: "k", query: query("partNumber", "6")}
	middle := request{method: http.MethodGet, key: "k", header: map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", len(parts[0])+1000, len(parts[0])+70_999)}}
	source := func(bucket string) map[string]string {
		return map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/k"}
	}
	for name, test := range map[string]struct {
		ask func(t *testing.T, bucket string) request
		// step says which of MinIO's requests comes too late.
		step func(r *http.Request) bool
		want []byte
	}{
		"a part": {
			func(*testing.T, string) request { return second },
			func(r *http.Request) bool { return r.Method == http.MethodGet && r.Header.Get("If-Match") != "" },
			parts[1],
		},
		"a range over odd parts": {
			func(*testing.T, string) request { return middle },
			func(r *http.Request) bool { return r.Method == http.MethodGet && r.Header.Get("If-Match") != "" },
			whole[len(parts[0])+1000 : len(parts[0])+71_000],
		},
		"a copy of the ciphertext": {
			func(_ *testing.T, bucket string) request {
				return request{method: http.MethodPut, key: "copy", header: source(bucket)}
			},
			func(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" },
			nil,
		},
		"a copy that is encrypted anew": {
			func(_ *testing.T, bucket string) request {
				header := source(bucket)
				for name, value := range customerKey(3) {
					header[name] = value
				}
				return request{method: http.MethodPut, key: "copy", header: header}
			},
			func(r *http.Request) bool {
				return r.Method == http.MethodGet && r.Header.Get("If-Match") != "" && strings.HasSuffix(r.URL.Path, "/k")
			},
			nil,
		},
		"a part that is copied": {
			func(t *testing.T, bucket string) request {
				u := c.createUpload(t, bucket, "parts", nil)
				r := u.partRequest(1, nil)
				r.header = source(bucket)
				return r
			},
			func(r *http.Request) bool {
				return r.Method == http.MethodGet && r.Header.Get("If-Match") != "" && strings.HasSuffix(r.URL.Path, "/k")
			},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, always := range []bool{false, true} {
				bucket := newBucket(t, c)
				uploadParts(t, c, bucket, "k", sseModes()[0], parts...)
				r := test.ask(t, bucket)
				r.bucket = bucket
				var busy atomic.Bool
				times := 0
				h.up.order(func(_ http.ResponseWriter, got *http.Request) bool {
					if !test.step(got) || !busy.CompareAndSwap(false, true) {
						return false
					}
					defer busy.Store(false)
					if times++; times == 1 || always {
						uploadParts(t, c, bucket, "k", sseModes()[0], parts...) // the same data under another key
					}
					return false
				})
				a := c.do(t, r)
				h.up.honest()
				switch {
				case times == 0:
					t.Fatal("the step to overtake never came")
				case always && times < 3:
					t.Errorf("%d tries", times)
				case always:
					a.wantError(t, http.StatusServiceUnavailable, "SlowDown", "The object is being overwritten. Please try again.")
				case a.status != http.StatusOK && a.status != http.StatusPartialContent:
					t.Errorf("status %d %s", a.status, a.code)
				case test.want != nil:
					a.wantBody(t, test.want)
				}
			}
		})
	}
}
