package integration

import (
	"net/http"
	"strings"
	"testing"
)

func TestPlainObjectsAreReadableOnlyWhereConfigured(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{args: []string{"--plain-read", "old-*"}})
	c, raw := s.client(), s.raw()
	data := testData(70_000, 60)
	for _, bucket := range []string{"old-data", "new-data"} {
		raw.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
		raw.put(t, bucket, "plain", data, map[string]string{"X-Amz-Meta-Colour": "blue"}).wantStatus(t, http.StatusOK)
		c.put(t, bucket, "sealed", data, nil).wantStatus(t, http.StatusOK)
	}

	none := map[string]string{"X-Amz-Server-Side-Encryption": "", "X-Amz-Meta-Colour": "blue", "Etag": md5ETag(data)}
	c.get(t, "old-data", "plain", nil).wantStatus(t, http.StatusOK).wantBody(t, data).wantHeader(t, none)
	c.get(t, "old-data", "plain", map[string]string{"Range": "bytes=5-9"}).wantStatus(t, http.StatusPartialContent).wantBody(t, data[5:10])
	c.head(t, "old-data", "plain", nil).wantStatus(t, http.StatusOK).wantHeader(t, none)
	c.get(t, "old-data", "sealed", nil).wantStatus(t, http.StatusOK).wantBody(t, data)

	a := c.get(t, "new-data", "plain", nil)
	if a.status < 400 || a.status == http.StatusNotFound || !strings.Contains(a.message, "plain_read") {
		t.Errorf("plain object in a bucket that plain_read does not list: %d %s %q; want an error that names the setting", a.status, a.code, a.message)
	}
	if a := c.get(t, "new-data", "plain", map[string]string{"Range": "bytes=0-3"}); a.status < 400 {
		t.Errorf("a range of it: %d", a.status)
	}
	if a := c.head(t, "new-data", "plain", nil); a.status < 400 {
		t.Errorf("HEAD of it: %d", a.status)
	}
	// A listing has no bytes of the object to give away.
	if l := c.list(t, "new-data", "list-type", "2"); len(l.Contents) != 2 {
		t.Errorf("listing: %+v", l)
	}
	for _, o := range c.list(t, "old-data", "list-type", "2").Contents {
		if o.Size != int64(len(data)) {
			t.Errorf("%s: size %d, want %d", o.Key, o.Size, len(data))
		}
	}
	// Written anew, it is encrypted.
	c.put(t, "old-data", "plain", data, nil).wantStatus(t, http.StatusOK)
	wantSealed(t, s, "old-data", "plain", data)
}
