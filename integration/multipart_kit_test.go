package integration

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// minPart is the smallest part that may have another behind it.
const minPart = 5 << 20

// partData is testData that is made once for each size and seed.
func partData(size int, seed uint64) []byte {
	key := [2]uint64{uint64(size), seed}
	if data, ok := partCache.Load(key); ok {
		return data.([]byte)
	}
	data := testData(size, seed)
	partCache.Store(key, data)
	return data
}

var partCache sync.Map // of []byte, by size and seed

// mp is an upload on its way through one client.
type mp struct {
	c           *client
	bucket, key string
	id          string
	// read is what each part and each read must carry: a customer key.
	read map[string]string
	// etags are the parts' ETags, by number.
	etags map[int]string
}

// createUpload begins an upload.
func (c *client) createUpload(t *testing.T, bucket, key string, header map[string]string) *mp {
	t.Helper()
	return uploadOf(t, c, bucket, key, c.do(t, request{method: http.MethodPost, bucket: bucket, key: key, query: "uploads=", header: header}).wantStatus(t, http.StatusOK))
}

// uploadOf reads the answer to a Create.
func uploadOf(t *testing.T, c *client, bucket, key string, a answer) *mp {
	t.Helper()
	var answer struct{ UploadId string } //nolint:revive // S3's name
	if err := xml.Unmarshal(a.body, &answer); err != nil || answer.UploadId == "" {
		t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return &mp{c: c, bucket: bucket, key: key, id: answer.UploadId, etags: map[int]string{}}
}

// via is the same upload through another client.
func (u *mp) via(c *client) *mp {
	other := *u
	other.c = c
	return &other
}

func (u *mp) request(method string, pairs ...string) request {
	return request{method: method, bucket: u.bucket, key: u.key, query: query(append(pairs, "uploadId", u.id)...)}
}

func (u *mp) partRequest(number int, data []byte) request {
	r := u.request(http.MethodPut, "partNumber", strconv.Itoa(number))
	r.body, r.header = data, u.read
	return r
}

// put uploads a part, which must work.
func (u *mp) put(t *testing.T, number int, data []byte) string {
	t.Helper()
	a := u.c.do(t, u.partRequest(number, data)).wantStatus(t, http.StatusOK)
	u.etags[number] = a.header.Get("Etag")
	return u.etags[number]
}

// list returns the body of a Complete of some of the parts, all if none is named.
func (u *mp) list(numbers ...int) []byte {
	if len(numbers) == 0 {
		for n := range u.etags {
			numbers = append(numbers, n)
		}
		slices.Sort(numbers)
	}
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for _, n := range numbers {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", n, u.etags[n])
	}
	b.WriteString("</CompleteMultipartUpload>")
	return []byte(b.String())
}

func (u *mp) completeRequest(numbers ...int) request {
	r := u.request(http.MethodPost)
	r.body = u.list(numbers...)
	return r
}

// complete puts the parts together, which must work, and returns the ETag.
func (u *mp) complete(t *testing.T, numbers ...int) string {
	t.Helper()
	return completedETag(t, u.c.do(t, u.completeRequest(numbers...)).wantStatus(t, http.StatusOK))
}

func completedETag(t *testing.T, a answer) string {
	t.Helper()
	var answer struct{ ETag string }
	if err := xml.Unmarshal(a.body, &answer); err != nil || answer.ETag == "" {
		t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return answer.ETag
}

// multipartETag is the ETag of an SSE-S3 object of these parts.
func multipartETag(parts ...[]byte) string {
	all := md5.New()
	for _, p := range parts {
		one := md5.Sum(p)
		all.Write(one[:])
	}
	return `"` + hex.EncodeToString(all.Sum(nil)) + "-" + strconv.Itoa(len(parts)) + `"`
}

// wantObject checks that GET, HEAD, LIST, a range and GetObjectAttributes agree on
// an object of parts.
func wantObject(t *testing.T, c *client, bucket, key, etag string, read map[string]string, parts ...[]byte) {
	t.Helper()
	data := bytes.Join(parts, nil)
	size := strconv.Itoa(len(data))
	c.get(t, bucket, key, read).wantStatus(t, http.StatusOK).wantBody(t, data).
		wantHeader(t, map[string]string{"Etag": etag, "Content-Length": size})
	c.head(t, bucket, key, read).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"Etag": etag, "Content-Length": size})
	l := c.list(t, bucket, "list-type", "2", "prefix", key)
	if len(l.Contents) == 0 || l.Contents[0].ETag != etag || l.Contents[0].Size != int64(len(data)) {
		t.Errorf("LIST says %v, want %s and %s bytes", l.Contents, etag, size)
	}
	if len(data) > 2 {
		from, to := len(parts[0])/2, len(data)-2
		c.get(t, bucket, key, with(read, "Range", fmt.Sprintf("bytes=%d-%d", from, to))).wantStatus(t, http.StatusPartialContent).
			wantBody(t, data[from:to+1]).wantHeader(t, map[string]string{"Etag": etag, "Content-Range": fmt.Sprintf("bytes %d-%d/%s", from, to, size)})
	}
}

// listedPart is a part as ListParts shows it.
type listedPart struct {
	PartNumber int
	ETag       string
	Size       int64
}

func (u *mp) parts(t *testing.T, pairs ...string) (parts []listedPart, truncated bool, next int) {
	t.Helper()
	a := u.c.do(t, u.request(http.MethodGet, pairs...)).wantStatus(t, http.StatusOK)
	var l struct {
		Part                 []listedPart
		IsTruncated          bool
		NextPartNumberMarker int
	}
	if err := xml.Unmarshal(a.body, &l); err != nil {
		t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return l.Part, l.IsTruncated, l.NextPartNumberMarker
}

// upload is an upload as ListMultipartUploads shows it.
type upload struct{ Key, UploadId string } //nolint:revive // S3's name

type uploadsPage struct {
	Upload                                                               []upload
	CommonPrefixes                                                       []struct{ Prefix string }
	NextKeyMarker, NextUploadIdMarker, KeyMarker, UploadIdMarker, Prefix string //nolint:revive // S3's names
	IsTruncated                                                          bool
	MaxUploads                                                           int
}

func (c *client) uploads(t *testing.T, bucket string, pairs ...string) uploadsPage {
	t.Helper()
	a := c.do(t, request{method: http.MethodGet, bucket: bucket, query: query(append(pairs, "uploads", "")...)}).wantStatus(t, http.StatusOK)
	var l uploadsPage
	if err := xml.Unmarshal(a.body, &l); err != nil {
		t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	return l
}

// combinedETag is the ETag of an object whose parts have these.
func combinedETag(t *testing.T, etags ...string) string {
	t.Helper()
	etag, err := combineETags(etags...)
	if err != nil {
		t.Fatal(err)
	}
	return etag
}

func combineETags(etags ...string) (string, error) {
	all := md5.New()
	for _, etag := range etags {
		raw, err := hex.DecodeString(strings.Trim(etag, `"`))
		if err != nil {
			return "", err
		}
		all.Write(raw)
	}
	return `"` + hex.EncodeToString(all.Sum(nil)) + "-" + strconv.Itoa(len(etags)) + `"`, nil
}
