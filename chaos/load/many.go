package load

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/chaos/workload"
)

// Many is a bucket of many small objects. Each Nth of them is an upload of one part, which has a manifest.
type Many struct {
	Target  workload.Target
	Size    int64 // of each object, in bytes
	Uploads int   // how manyth is an upload; 0 for none
	Workers int
	client  *http.Client
}

// NewMany returns the bucket. Close ends its connections.
func NewMany(t workload.Target, size int64, uploads, workers int) *Many {
	return &Many{Target: t, Size: size, Uploads: uploads, Workers: workers, client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: workers, DisableCompression: true}, Timeout: time.Minute,
	}}
}

// Close ends its connections.
func (m *Many) Close() { m.client.CloseIdleConnections() }

// key is the name of an object. A thousand lie in a folder; names are in the order of the numbers.
func key(number int) string { return fmt.Sprintf("many/%05d/%08d", number/1000, number) }

func (m *Many) isUpload(number int) bool { return m.Uploads > 0 && number%m.Uploads == 0 }

// content is what lies in an object.
func (m *Many) content(number int) []byte { return Content(int64(number), m.Size) }

// etag is the object's.
func (m *Many) etag(number int) string {
	sum := md5.Sum(m.content(number))
	if m.isUpload(number) {
		sum = md5.Sum(sum[:])
		return hex.EncodeToString(sum[:]) + "-1"
	}
	return hex.EncodeToString(sum[:])
}

// Write writes the objects from first up to, not including, end.
func (m *Many) Write(ctx context.Context, first, end int, tell func(done int)) error {
	var next, done atomic.Int64
	next.Store(int64(first))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	for range m.Workers {
		all.Go(func() {
			for ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if n >= end {
					return
				}
				if err := m.put(ctx, n); err != nil {
					stop(err)
					return
				}
				if d := done.Add(1); d%10_000 == 0 && tell != nil {
					tell(int(d))
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// ask sends a request and returns the answer's body.
func (m *Many) ask(ctx context.Context, method, path, query string, body []byte, header http.Header) ([]byte, error) {
	status, _, text, err := Do(ctx, m.client, m.Target, method, "/"+Bucket+path, query, body, header)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s %s?%s: status %d %s", method, path, query, status, text)
	}
	return text, err
}

func (m *Many) put(ctx context.Context, number int) error {
	path, sealed := "/"+key(number), http.Header{"X-Amz-Server-Side-Encryption": {"AES256"}}
	if !m.isUpload(number) {
		_, err := m.ask(ctx, http.MethodPut, path, "", m.content(number), sealed)
		return err
	}
	text, err := m.ask(ctx, http.MethodPost, path, "uploads=", nil, sealed)
	if err != nil {
		return err
	}
	var begun struct {
		UploadID string `xml:"UploadId"`
	}
	if err := xml.Unmarshal(text, &begun); err != nil {
		return err
	}
	id := url.QueryEscape(begun.UploadID)
	if _, err := m.ask(ctx, http.MethodPut, path, "partNumber=1&uploadId="+id, m.content(number), nil); err != nil {
		return err
	}
	sum := md5.Sum(m.content(number))
	list := fmt.Sprintf("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>%x</ETag></Part></CompleteMultipartUpload>", sum)
	_, err = m.ask(ctx, http.MethodPost, path, "uploadId="+id, []byte(list), nil)
	return err
}

// List lists all objects, of which there are so many, page by page, and looks at each entry.
func (m *Many) List(ctx context.Context, objects int) (pages int, err error) {
	number := 0
	for token := ""; ; pages++ {
		query := "list-type=2&max-keys=1000&prefix=many%2F"
		if token != "" {
			query = "continuation-token=" + url.QueryEscape(token) + "&" + query
		}
		text, err := m.ask(ctx, http.MethodGet, "", query, nil, nil)
		if err != nil {
			return pages, err
		}
		var page struct {
			IsTruncated           bool
			NextContinuationToken string
			Contents              []struct {
				Key, ETag string
				Size      int64
			}
		}
		if err := xml.Unmarshal(text, &page); err != nil {
			return pages, err
		}
		for _, e := range page.Contents {
			if e.Key != key(number) || e.Size != m.Size || e.ETag != `"`+m.etag(number)+`"` {
				return pages, fmt.Errorf("object %d is listed as %+v: %w", number, e, ErrListing)
			}
			number++
		}
		if !page.IsTruncated {
			break
		}
		token = page.NextContinuationToken
	}
	if number != objects {
		return pages, fmt.Errorf("%d of %d objects are listed: %w", number, objects, ErrListing)
	}
	return pages + 1, nil
}

// ErrListing is a listing that is not what was written.
var ErrListing = errors.New("the listing is wrong")

// Get reads an object.
func (m *Many) Get(ctx context.Context, number int) error {
	got, err := m.ask(ctx, http.MethodGet, "/"+key(number), "", nil, nil)
	if err == nil && string(got) != string(m.content(number)) {
		err = fmt.Errorf("object %d has other bytes", number)
	}
	return err
}
