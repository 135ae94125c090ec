package upstream

import (
	"net/http"
	"sync"
)

// encryptionHeader is what an answer has whose object MinIO has encrypted by itself.
const encryptionHeader = "X-Amz-Server-Side-Encryption"

// maxNoticed bounds how many buckets are remembered.
const maxNoticed = 1024

// encrypted knows the buckets of which somebody was told that MinIO encrypts what is
// written there.
type encrypted struct {
	mu     sync.Mutex
	notice func(bucket string)
	told   map[string]bool
}

// OnEncrypted makes the client call notice, once for each bucket, when MinIO has
// encrypted what was written there: by a KMS and a rule of its own, of which the
// proxy asks for nothing. It must return soon.
func (c *Client) OnEncrypted(notice func(bucket string)) {
	c.encrypted.mu.Lock()
	defer c.encrypted.mu.Unlock()
	c.encrypted.notice = notice
}

func (c *Client) noteEncrypted(r *Request, resp *http.Response) {
	if r.Method != http.MethodPut || resp.StatusCode != http.StatusOK || resp.Header.Get(encryptionHeader) == "" || r.Header.Get(encryptionHeader) != "" {
		return
	}
	e := &c.encrypted
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.notice == nil || e.told[r.Bucket] || len(e.told) >= maxNoticed {
		return
	}
	if e.told == nil {
		e.told = make(map[string]bool)
	}
	e.told[r.Bucket] = true
	e.notice(r.Bucket)
}
