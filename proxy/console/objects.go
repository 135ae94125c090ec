package console

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxRules bounds the buckets whose rules one page asks for.
const maxRules = 100

// bucketRow is a bucket as the list shows it.
type bucketRow struct {
	Name    string
	Created time.Time
	Rule    string
	Share   *Share // nil if it is unknown, or not for this caller
}

// scanOf returns the last scan for operators, nil for others or without one.
func (c *Console) scanOf(v *visit) (*Scan, error) {
	if !c.o.Facts.IsOperator(v.Context(), v.session.who.AccessKey) {
		return nil, nil
	}
	scan, err := c.o.Facts.Scan(v.Context())
	if errors.Is(err, ErrNoScan) {
		return nil, nil
	}
	return scan, err
}

// buckets shows the caller's buckets.
func (c *Console) buckets(v *visit) error {
	var list struct {
		Buckets struct {
			Bucket []struct {
				Name         string
				CreationDate time.Time
			}
		}
	}
	err := c.askXML(v, &request{method: http.MethodGet, path: "/"}, &list)
	said := new(refusal)
	denied := errors.As(err, &said) && said.status == http.StatusForbidden
	if err != nil && !denied {
		return err
	}
	scan, err := c.scanOf(v)
	if err != nil {
		c.log.Warn("the console cannot read what the buckets hold", "error", err)
	}
	var rows []bucketRow
	for i, b := range list.Buckets.Bucket {
		row := bucketRow{Name: b.Name, Created: b.CreationDate, Rule: "not asked for"}
		if i < maxRules {
			if row.Rule, err = c.ruleText(v, b.Name); err != nil {
				return err
			}
		}
		if scan != nil {
			share := scan.Buckets[b.Name]
			row.Share = &share
		}
		rows = append(rows, row)
	}
	v.page.Title = "Buckets"
	return c.show(v, http.StatusOK, "buckets", map[string]any{"Rows": rows, "Scan": scan, "Denied": denied})
}

// isBucket refuses what would make another path of a bucket's.
func isBucket(name string) bool { return name != "" && name != "minio" && !strings.Contains(name, "/") }

// rule is a bucket's rule.
type rule struct {
	Set            bool
	Algorithm, Key string
	Problem        string
}

// rule asks for a bucket's rule as the caller. errNoSession.
func (c *Console) rule(v *visit, bucket string) (r rule, err error) {
	var document struct {
		Rule struct {
			Default struct{ SSEAlgorithm, KMSMasterKeyID string } `xml:"ApplyServerSideEncryptionByDefault"`
		}
	}
	err = c.askXML(v, &request{method: http.MethodGet, path: objectPath(bucket, ""), query: url.Values{"encryption": {""}}}, &document)
	said := new(refusal)
	switch {
	case errors.As(err, &said) && said.code == "ServerSideEncryptionConfigurationNotFoundError":
		return rule{}, nil
	case errors.As(err, &said):
		return rule{Problem: said.Error()}, nil
	case err != nil:
		return rule{}, err
	}
	d := document.Rule.Default
	return rule{Set: true, Algorithm: d.SSEAlgorithm, Key: d.KMSMasterKeyID}, nil
}

func (c *Console) ruleText(v *visit, bucket string) (string, error) {
	r, err := c.rule(v, bucket)
	return r.Text(), err
}

// Text says it in words.
func (r rule) Text() string {
	switch {
	case r.Problem != "":
		return "unknown: " + r.Problem
	case !r.Set:
		return "none: the server's default"
	case r.Algorithm == "AES256":
		return "SSE-S3"
	case r.Key == "":
		return "SSE-KMS"
	default:
		return "SSE-KMS with " + r.Key
	}
}

// listing is a page of a bucket.
type listing struct {
	CommonPrefixes []struct{ Prefix string }
	Contents       []struct {
		Key          string
		Size         int64
		LastModified time.Time
	}
	NextContinuationToken string
}

// pageSize is how many names a page of a bucket has.
const pageSize = 200

// bucket shows what a bucket has below a prefix.
func (c *Console) bucket(v *visit) error {
	q := v.URL.Query()
	name, prefix := q.Get("name"), q.Get("prefix")
	if !isBucket(name) {
		return errNoPage
	}
	r, err := c.rule(v, name)
	if err != nil {
		return err
	}
	ask := url.Values{"list-type": {"2"}, "delimiter": {"/"}, "prefix": {prefix}, "max-keys": {strconv.Itoa(pageSize)}, "encoding-type": {"url"}}
	if token := q.Get("after"); token != "" {
		ask.Set("continuation-token", token)
	}
	var page listing
	if err := c.askXML(v, &request{method: http.MethodGet, path: objectPath(name, ""), query: ask}, &page); err != nil {
		return err
	}
	if err := page.decode(); err != nil {
		return err
	}
	up, _ := path.Split(strings.TrimSuffix(prefix, "/"))
	v.page.Title, v.page.Notice = "Bucket "+name, notice(q.Get("done"))
	return c.show(v, http.StatusOK, "bucket", map[string]any{
		"Name": name, "Prefix": prefix, "Up": up, "Rule": r, "Page": &page, "Next": page.NextContinuationToken,
	})
}

// decode takes back the encoding that names came in.
func (l *listing) decode() (err error) {
	for i := range l.CommonPrefixes {
		p := &l.CommonPrefixes[i].Prefix
		if *p, err = url.QueryUnescape(*p); err != nil {
			return err
		}
	}
	for i := range l.Contents {
		k := &l.Contents[i].Key
		if *k, err = url.QueryUnescape(*k); err != nil {
			return err
		}
	}
	return nil
}

// notice is what a page says after an act. Its address names one of these, and no text.
func notice(done string) string {
	return map[string]string{
		"rule": "The bucket's rule was changed. Every proxy obeys it.", "upload": "The file was uploaded.", "key": "The KMS key was created.",
	}[done]
}

// look is how many bytes of an object are shown, as clients read it and as it is stored.
const look = 160

// object shows an object twice: as a client reads it, and as MinIO has it.
func (c *Console) object(v *visit) error {
	q := v.URL.Query()
	of := Object{Bucket: q.Get("bucket"), Key: q.Get("key"), Version: q.Get("version")}
	if !isBucket(of.Bucket) || of.Key == "" {
		return errNoPage
	}
	data := map[string]any{"Object": of}
	head, err := c.ask(v, of.request(http.MethodHead))
	if err != nil {
		return err
	}
	first := of.request(http.MethodGet)
	first.header = http.Header{"Range": {"bytes=0-" + strconv.Itoa(look-1)}}
	read := &reply{}
	if head.header.Get("Content-Length") != "0" || head.status != http.StatusOK {
		if read, err = c.ask(v, first); err != nil {
			return err
		}
	}
	if err := read.failure(); err != nil {
		said := new(refusal)
		if !errors.As(err, &said) || !said.mayLook() {
			return err
		}
		data["Refused"] = said
	}
	data["Size"], _ = strconv.ParseInt(head.header.Get("Content-Length"), 10, 64)
	data["Head"], data["First"] = headers(head.header), read.body.Bytes()
	stored, err := c.o.Stored(v.Context(), v.session.who, v.from, of)
	if err != nil {
		data["Unseen"] = err.Error()
	}
	data["Stored"] = stored
	v.page.Title = "Object " + of.Key
	return c.show(v, http.StatusOK, "object", data)
}

// mayLook says whether what the proxy refuses is to open the object, and not to let the
// caller near it.
func (r *refusal) mayLook() bool {
	return r.code == "InvalidObjectState" || r.status != http.StatusForbidden && r.status != http.StatusNotFound && r.status != http.StatusUnauthorized
}

func (o Object) request(method string) *request {
	r := &request{method: method, path: objectPath(o.Bucket, o.Key)}
	if o.Version != "" {
		r.query = url.Values{"versionId": {o.Version}}
	}
	return r
}

// headers are what a client is told of an object.
func headers(h http.Header) (fields []Field) {
	for _, name := range []string{
		"Content-Type", "Etag", "Last-Modified", "X-Amz-Version-Id", "X-Amz-Server-Side-Encryption",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Customer-Algorithm",
	} {
		if value := h.Get(name); value != "" {
			fields = append(fields, Field{Name: name, Value: value})
		}
	}
	return fields
}

// download passes an object on.
func (c *Console) download(v *visit) error {
	q := v.URL.Query()
	of := Object{Bucket: q.Get("bucket"), Key: q.Get("key"), Version: q.Get("version")}
	if !isBucket(of.Bucket) || of.Key == "" {
		return errNoPage
	}
	r := of.request(http.MethodGet)
	r.header = make(http.Header)
	for _, name := range []string{"Range", "If-Range"} {
		if value := v.Request.Header.Get(name); value != "" {
			r.header.Set(name, value)
		}
	}
	req, err := c.build(v.Context(), v.session.who, v.from, r)
	if err != nil {
		return err
	}
	name := path.Base(of.Key)
	out := newThrough(v.ResponseWriter, name)
	c.o.Proxy.ServeHTTP(out, req)
	if out.refused == nil {
		return nil
	}
	if out.refused.stale() {
		c.sessions.end(v.session)
		return errNoSession
	}
	return out.refused.failure()
}
