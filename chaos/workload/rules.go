package workload

import (
	"context"
	"encoding/xml"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// element returns the text of the first element of that name, or nothing.
func element(document []byte, name string) string {
	d := xml.NewDecoder(strings.NewReader(string(document)))
	for {
		t, err := d.Token()
		if err != nil {
			return ""
		}
		if s, ok := t.(xml.StartElement); ok && s.Name.Local == name {
			var text string
			if d.DecodeElement(&text, &s) != nil {
				return ""
			}
			return text
		}
	}
}

// setRule asks for a bucket's default encryption.
func setRule(bucket, seal string) request {
	rule := "<SSEAlgorithm>" + seal + "</SSEAlgorithm>"
	if key, ok := strings.CutPrefix(seal, "aws:kms:"); ok {
		rule = "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>" + key + "</KMSMasterKeyID>"
	}
	return request{
		method: http.MethodPut, bucket: bucket, query: url.Values{"encryption": {""}}, limit: shortLimit,
		body: []byte("<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>" + rule +
			"</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"),
	}
}

func (c *client) changeRule(ctx context.Context) {
	if len(c.r.Keys) == 0 {
		return
	}
	w := c.way()
	o := c.begin(history.SetRule, w, bucketMoving, "")
	if n := c.rng.IntN(len(c.r.Keys) + 1); n == 0 {
		o.Rule = "AES256"
	} else {
		o.Rule = kmsSeal(c.r.Keys[n-1])
	}
	c.end(o, w.do(ctx, setRule(bucketMoving, o.Rule)))
}

func (c *client) readRule(ctx context.Context) {
	if len(c.r.Keys) == 0 {
		return
	}
	w := c.way()
	o := c.begin(history.GetRule, w, bucketMoving, "")
	a := w.do(ctx, request{method: http.MethodGet, bucket: bucketMoving, query: url.Values{"encryption": {""}}, limit: shortLimit})
	if o.Rule = element(a.body, "SSEAlgorithm"); o.Rule == "aws:kms" {
		o.Rule = kmsSeal(strings.TrimPrefix(element(a.body, "KMSMasterKeyID"), "arn:aws:kms:"))
	}
	c.end(o, a)
}

// session is temporary credentials.
type session struct {
	credentials aws.Credentials
	ends        time.Time
}

// sessionMargin is how long before its end a session is no longer used, and how long after it is tried
// again: clocks may be set in between.
const sessionMargin = 2 * time.Minute

func (s *session) alive() bool { return s != nil && time.Now().Before(s.ends.Add(-sessionMargin)) }

// renewSession asks for temporary credentials, and holds that the ones that ended are refused.
func (c *client) renewSession(ctx context.Context) {
	w := c.way()
	if s := c.session; s != nil && time.Now().After(s.ends.Add(sessionMargin)) {
		o := c.begin(history.UseExpired, w, bucketS3, "")
		o.ExpiredNote = "a session"
		c.end(o, w.do(ctx, request{method: http.MethodGet, bucket: bucketS3, session: s, limit: shortLimit}))
		c.session = nil
	}
	if c.session != nil {
		return
	}
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "DurationSeconds": {"900"}}
	o := c.begin(history.AssumeRole, w, bucketS3, "")
	a := w.do(ctx, request{
		method: http.MethodPost, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		body: []byte(form.Encode()), limit: shortLimit, service: "sts",
	})
	c.end(o, a)
	if a.outcome != history.OK {
		return
	}
	ends, err := time.Parse(time.RFC3339, element(a.body, "Expiration"))
	if err != nil {
		return
	}
	c.session = &session{ends: ends, credentials: aws.Credentials{
		AccessKeyID: element(a.body, "AccessKeyId"), SecretAccessKey: element(a.body, "SecretAccessKey"),
		SessionToken: element(a.body, "SessionToken"),
	}}
	c.r.secret(c.session.credentials.SecretAccessKey)
}

// versionBook is versions that clients were told of, the latest of each key.
type versionBook struct {
	mu  sync.Mutex
	ids map[string][]string
}

func (b *versionBook) add(key, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids == nil {
		b.ids = map[string][]string{}
	}
	if b.ids[key] = append(b.ids[key], id); len(b.ids[key]) > 8 {
		b.ids[key] = b.ids[key][1:]
	}
}

func (b *versionBook) any(rng *rand.Rand, key string) (id, at string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ids := b.ids[key]; len(ids) > 0 {
		return ids[rng.IntN(len(ids))], key
	}
	return "", key
}
