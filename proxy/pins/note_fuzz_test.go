package pins

import (
	"bytes"
	"testing"
	"time"
)

// What is read of a note is written, and read, as the same again.
func FuzzDecodePin(f *testing.F) {
	f.Add((&pin{Witness: []byte("w"), Digest: make([]byte, 32), Pinned: time.Unix(1, 0).UTC()}).encode())
	f.Add([]byte(`{"witness":"dw==","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","versions":{"1":"00112233445566778899aabbccddeeff"},"context":"e30="}`))
	f.Add([]byte(`{"witness":"dw==","digest":"AA=="}`))
	f.Add([]byte(`{"versions":{"-1":"","4294967296":"00"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodePin(data)
		if err != nil {
			return
		}
		if len(p.Witness) == 0 || len(p.Digest) != 32 || p.unkept || len(p.encode()) > 8*len(data)+512 {
			t.Fatalf("%q: %+v", data, p)
		}
		again, err := decodePin(p.encode())
		if err != nil || !bytes.Equal(again.encode(), p.encode()) || again.fingerprint() != p.fingerprint() {
			t.Fatalf("%q: %+v, then %+v: %v", data, p, again, err)
		}
	})
}
