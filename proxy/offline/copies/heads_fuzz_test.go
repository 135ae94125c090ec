package copies

import (
	"errors"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Saved HEADs name objects of buckets, or are refused, by line; what they say of reserved
// metadata comes apart from the client's own.
func FuzzHeads(f *testing.F) {
	f.Add(`{"status":"success","name":"bucket/a/b","size":3,"etag":"e","type":"file","metadata":{"X-Amz-Meta-Bucketseal":"AQ","Content-Type":"t"}}`)
	f.Add(`{"ContentLength":3,"LastModified":"2026-01-01T00:00:00+00:00","ETag":"\"e\"","Metadata":{"bucketseal":"AQ","x":"y"}}`)
	f.Add("\n{\"status\":\"error\"}\n")
	f.Add(`{"name":"bucket/../x","size":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		err := parseHeads(strings.NewReader(text), func(name sse.Name, info storage.Info) error {
			if !objectname.ValidBucket(name.Bucket) || name.Key == "" {
				t.Fatalf("%q names %q", text, name)
			}
			for header := range info.Meta {
				if storage.IsReserved(header) {
					t.Fatalf("%q: %q is the client's", text, header)
				}
			}
			for _, e := range info.Reserved {
				if !storage.IsReserved(e.Name) {
					t.Fatalf("%q: %q is not", text, e.Name)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrHead) {
			t.Fatal(err)
		}
		if h, err := parseHead([]byte(text)); err == nil {
			_ = h.info()
		} else if !errors.Is(err, ErrHead) {
			t.Fatal(err)
		}
	})
}
