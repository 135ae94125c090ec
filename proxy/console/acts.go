package console

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 of a document
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bucketseal/bucketseal/bucketconfig"
)

// setRule sets a bucket's rule, or removes it.
func (c *Console) setRule(v *visit) error {
	bucket, mode := v.PostFormValue("bucket"), v.PostFormValue("mode")
	r := &request{method: http.MethodPut, path: objectPath(bucket, ""), query: url.Values{"encryption": {""}}, header: make(http.Header)}
	switch mode {
	case "s3":
		r.body = bucketconfig.Rule{Algorithm: bucketconfig.AES256}.XML()
	case "kms":
		r.body = bucketconfig.Rule{Algorithm: bucketconfig.AWSKMS, KMSKeyID: v.PostFormValue("key")}.XML()
	case "none":
		r.method = http.MethodDelete
	default:
		return errNothing
	}
	if !isBucket(bucket) || mode == "kms" && v.PostFormValue("key") == "" {
		return errNothing
	}
	if r.body != nil {
		sum := md5.Sum(r.body) //nolint:gosec // see above
		r.header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	}
	if err := c.askXML(v, r, nil); err != nil {
		return err
	}
	c.back(v, "/bucket", url.Values{"name": {bucket}, "done": {"rule"}})
	return nil
}

// back shows a page after an act, by its own address: to load it again does nothing again.
func (c *Console) back(v *visit, path string, q url.Values) {
	http.Redirect(v.ResponseWriter, v.Request, path+"?"+q.Encode(), http.StatusSeeOther)
}

// createKey creates a KMS key.
func (c *Console) createKey(v *visit) error {
	name := v.PostFormValue("name")
	if name == "" {
		return errNothing
	}
	a, err := c.ask(v, &request{method: http.MethodPost, path: "/minio/kms/v1/key/create", query: url.Values{"key-id": {name}}})
	if err == nil {
		err = a.failure()
	}
	if err != nil {
		return err
	}
	c.back(v, "/keys", url.Values{"done": {"key"}})
	return nil
}

const (
	uploadPath = "/bucket/upload"
	// uploadsAtOnce bounds the uploads, each of which has a buffer of partSize bytes.
	uploadsAtOnce = 4
	partSize      = 8 << 20
	maxParts      = 10_000
	// maxName bounds a field of the form in bytes.
	maxName = 4 << 10
)

var errUploadLength = errors.New("the file did not arrive whole, and nothing was stored")

// upload stores a file. It comes as the last field of the form, after those that say where
// to.
func (c *Console) upload(v *visit) error {
	select {
	case c.uploads <- struct{}{}:
		defer func() { <-c.uploads }()
	default:
		return errBusy
	}
	form, err := v.MultipartReader()
	if err != nil {
		return errForm
	}
	fields := make(map[string]string)
	for {
		part, err := form.NextPart()
		if err != nil {
			return errNothing
		}
		if part.FormName() == "file" {
			return c.uploadFile(v, fields, part)
		}
		value, err := io.ReadAll(io.LimitReader(part, maxName+1))
		if err != nil || len(value) > maxName || len(fields) > 8 {
			return errForm
		}
		fields[part.FormName()] = string(value)
	}
}

func (c *Console) uploadFile(v *visit, fields map[string]string, file *multipart.Part) error {
	if !v.session.validToken(uploadPath, fields["token"]) {
		discard(file)
		return errForm
	}
	bucket, key := fields["bucket"], fields["prefix"]+file.FileName()
	if !isBucket(bucket) || file.FileName() == "" {
		return errNothing
	}
	contentType := file.Header.Get("Content-Type")
	if err := c.store(v, bucket, key, contentType, file); err != nil {
		discard(file)
		return err
	}
	c.back(v, "/bucket", url.Values{"name": {bucket}, "prefix": {fields["prefix"]}, "done": {"upload"}})
	return nil
}

// store stores a body of unknown length: in one piece if it fits the buffer, else in parts.
// What breaks off stores nothing.
func (c *Console) store(v *visit, bucket, key, contentType string, body io.Reader) error {
	buffer := make([]byte, partSize)
	n, whole, err := fill(body, buffer)
	if err != nil {
		return err
	}
	header := make(http.Header)
	if contentType != "" {
		header.Set("Content-Type", contentType)
	}
	path := objectPath(bucket, key)
	if whole {
		return c.askXML(v, &request{method: http.MethodPut, path: path, header: header, body: buffer[:n]}, nil)
	}
	var begun struct{ UploadId string } //nolint:revive // S3's name
	if err := c.askXML(v, &request{method: http.MethodPost, path: path, query: url.Values{"uploads": {""}}, header: header}, &begun); err != nil {
		return err
	}
	err = c.storeParts(v, path, begun.UploadId, body, buffer, n)
	if err != nil { // also if the browser went away
		v.Request = v.WithContext(context.WithoutCancel(v.Context()))
		_, _ = c.ask(v, &request{method: http.MethodDelete, path: path, query: url.Values{"uploadId": {begun.UploadId}}})
	}
	return err
}

// completed is the document that ends an upload in parts.
type completed struct {
	XMLName xml.Name        `xml:"CompleteMultipartUpload"`
	Part    []completedPart `xml:"Part"`
}

type completedPart struct {
	PartNumber int
	ETag       string
}

// storeParts stores what is in the buffer, and then the rest.
func (c *Console) storeParts(v *visit, path, id string, body io.Reader, buffer []byte, n int) error {
	var all completed
	for whole := false; n > 0; {
		number := len(all.Part) + 1
		if number > maxParts {
			return errUploadLength
		}
		a, err := c.ask(v, &request{
			method: http.MethodPut, path: path, query: url.Values{"uploadId": {id}, "partNumber": {strconv.Itoa(number)}}, body: buffer[:n],
		})
		if err == nil {
			err = a.failure()
		}
		if err != nil {
			return err
		}
		all.Part = append(all.Part, completedPart{number, a.header.Get("Etag")})
		if whole {
			break
		}
		if n, whole, err = fill(body, buffer); err != nil {
			return err
		}
	}
	document, err := xml.Marshal(&all)
	if err != nil {
		return err
	}
	a, err := c.ask(v, &request{method: http.MethodPost, path: path, query: url.Values{"uploadId": {id}}, body: document})
	if err == nil {
		err = a.failure()
	}
	if err == nil && bytes.Contains(a.body.Bytes(), []byte("<Error>")) { // a Complete fails with 200 after a while
		err = &refusal{status: http.StatusInternalServerError, code: "InternalError", message: "the parts could not be put together"}
	}
	return err
}

// fill reads until the buffer is full, or the body ends: whole. A body that breaks off is
// errUploadLength.
func fill(body io.Reader, buffer []byte) (n int, whole bool, err error) {
	for n < len(buffer) {
		m, err := body.Read(buffer[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, errUploadLength
		}
	}
	return n, false, nil
}
