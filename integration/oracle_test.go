package integration

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// oracleConfig knows two callers who may do nothing at MinIO, and lets everybody use
// some keys, so that nothing but MinIO's answer keeps them out.
const oracleConfig = `
allow_anonymous: ["*"]
credentials:
  - {access_key: ` + rootUser + `, secret_key: ` + rootPassword + `}
  - {access_key: without-rights, secret_key: secret-of-without-rights}
  - {access_key: only-reads, secret_key: secret-of-only-reads}
  - {access_key: not-at-minio, secret_key: secret-of-not-at-minio}
access:
  key_admins: [` + rootUser + `]
  rules:
    - {access_keys: ["*"], buckets: ["*"], keys: [` + defaultKey + `, bucketseal-s3, there-is-none]}
    - {access_keys: [` + rootUser + `], buckets: ["*"], keys: ["*"]}
`

// state is what one request is aimed at.
type state struct {
	name         string
	bucket, key  string
	etag         string
	upload, part string
	kmsKey       string
}

// question is one request that may be an oracle: sent to every state, it must be
// answered alike.
type question struct {
	name   string
	states []state
	ask    func(s state) request
}

// heard is everything that a caller learns, and what MinIO was asked meanwhile.
type heard struct{ answer, upstream string }

// anyID is what differs from one answer to the next.
var anyID = regexp.MustCompile(`<(RequestId|HostId)>[^<]*</|Id: [^\n]*`)

// hideBuckets finds the names of the other buckets.
var hideBuckets = regexp.MustCompile(`oracle-[a-z]+-a+`)

// hide replaces the names of a state, so that answers for different ones compare.
func (s state) hide(text string) string {
	for name, value := range map[string]string{"KEY": s.key, "BUCKET": s.bucket, "UPLOAD": s.upload} {
		if value != "" {
			text = strings.ReplaceAll(text, value, name)
			text = strings.ReplaceAll(text, strings.SplitN(value, ".", 2)[0], name)
		}
	}
	return text
}

// hear sends a question and keeps the whole answer: status, headers, body, and
// whether the body was asked for.
func (s state) hear(t *testing.T, c *client, r request) string {
	t.Helper()
	req, err := c.build(r)
	if err != nil {
		t.Fatal(err)
	}
	var continued atomic.Bool
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got100Continue: func() { continued.Store(true) }})
	a, err := c.roundTrip(req.WithContext(ctx), r.method)
	if err != nil {
		return "no answer"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d continue=%v\n", a.status, continued.Load())
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		switch name {
		case "Date", "X-Amz-Request-Id", "X-Amz-Id-2", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "Content-Length":
			if name != "Content-Length" || strings.Contains(string(a.body), "<Error>") && r.method != http.MethodHead {
				continue // of an error it follows from the body, which is compared
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(a.header[name], ", "))
	}
	return hideBuckets.ReplaceAllString(s.hide(anyID.ReplaceAllString(b.String()+string(a.body), "")), "BUCKET")
}

// byItself are parts of paths that the proxy asks for now and then, whatever clients do.
var byItself = []string{"/rules", "canary", "identities/", "/rekeyed/", "/usage/", "/batch/", "/minio/"}

// asked is what the proxy asked MinIO since mark, without what it does now and
// then by itself.
func (s state) asked(h *hostile, mark int) string {
	var lines []string
	for _, r := range h.up.since(mark, "/") {
		path := hideBuckets.ReplaceAllString(s.hide(r.path), "BUCKET")
		if path == "/" || slices.ContainsFunc(byItself, func(part string) bool { return strings.Contains(path, part) }) {
			continue
		}
		if strings.Contains(path, "/bucketseal-system/keys/") {
			continue // the pin of a KMS key, at its first use by anybody
		}
		if r.method == http.MethodGet && path == "/bucketseal-system" && strings.Contains(r.query, "prefix=batch") {
			continue // it looks for batch jobs now and then
		}
		if r.method == http.MethodGet && r.query == "policy=" && r.status != http.StatusForbidden {
			continue // the proxy's own question, which depends on who wrote in the bucket lately
		}
		if rest, ok := strings.CutPrefix(path, "/bucketseal-system/"); ok {
			kind, _, _ := strings.Cut(rest, "/")
			path = "system " + kind
		}
		what := fmt.Sprintf("%s %s?%s", r.method, path, parameterNames(r.query))
		if r.status == http.StatusForbidden && (r.method == http.MethodPut || r.method == http.MethodPost) && !strings.Contains(r.query, "uploadId") {
			what = "a write of " + path // a PUT or a Create: one request that costs the same
		}
		if r.status == http.StatusForbidden { // a listing is refused before metadata matter; who asks for them, the cache says
			what = strings.Replace(what, "&metadata", "", 1)
		}
		lines = append(lines, fmt.Sprintf("%s -> %d", what, r.status))
	}
	slices.Sort(lines) // what runs side by side comes in any order
	return strings.Join(lines, "\n")
}

func parameterNames(query string) string {
	var names []string
	for _, pair := range strings.Split(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		// Refused is refused, with a record or without. How an upload is encrypted its id says.
		if name != "X-Amz-Meta-Bucketseal" && !strings.HasPrefix(name, "x-amz-server-side-encryption") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "&")
}

// oracle is a stack with something of everything that may not be told.
type oracle struct {
	*hostile
	private, versioned, ruled, forbidden string // buckets
	objects, uploads, buckets, keys      []state
}

func newOracle(t *testing.T) *oracle {
	t.Helper()
	o := &oracle{hostile: newHostile(t, oracleConfig), private: "oracle-private-a", versioned: "oracle-version-a", ruled: "oracle-ruled-aaa", forbidden: "oracle-forbid-aa"}
	mc := newMC(t, o.stack)
	mc.must(t, "admin", "user", "add", "raw", "without-rights", "secret-of-without-rights")
	mc.must(t, "admin", "user", "add", "raw", "only-reads", "secret-of-only-reads")
	mc.must(t, "admin", "policy", "attach", "raw", "readonly", "--user", "only-reads")
	mc.must(t, "admin", "kms", "key", "create", "seal", "secret-key")
	for _, bucket := range []string{o.private, o.versioned, o.ruled, o.forbidden} {
		newBucketOnce(t, o.root, bucket)
	}
	mc.must(t, "version", "enable", "raw/"+o.versioned)
	mc.must(t, "encrypt", "set", "sse-kms", defaultKey, "seal/"+o.ruled)
	mc.must(t, "encrypt", "set", "sse-kms", "secret-key", "seal/"+o.forbidden)
	o.prepareObjects(t)
	o.prepareUploads(t)
	for name, bucket := range map[string]string{"no rule": o.private, "rule": o.ruled, "rule with another key": o.forbidden, "no bucket": "oracle-nothing-a"} {
		o.buckets = append(o.buckets, state{name: name, bucket: bucket, key: "new-object"})
	}
	for name, key := range map[string]string{"allowed": defaultKey, "another": "secret-key", "none": "there-is-none", "none at all": "nor-this"} {
		o.keys = append(o.keys, state{name: name, bucket: o.private, key: "new-object", kmsKey: key})
	}
	return o
}

func (o *oracle) prepareObjects(t *testing.T) {
	t.Helper()
	data := testData(70_000, 90)
	etag, wrong := md5ETag(data), md5ETag([]byte("other"))
	for _, bucket := range []string{o.private, o.versioned} {
		o.root.put(t, bucket, "an-object", data, nil).wantStatus(t, http.StatusOK)
		o.root.put(t, bucket, "a-kms-object", data, sseModes()[2].put).wantStatus(t, http.StatusOK)
		o.root.put(t, bucket, "deleted", data, nil).wantStatus(t, http.StatusOK)
		o.root.do(t, request{method: http.MethodDelete, bucket: bucket, key: "deleted"}).wantStatus(t, http.StatusNoContent)
		o.objects = append(o.objects,
			state{name: "there", bucket: bucket, key: "an-object", etag: etag},
			state{name: "there, another ETag", bucket: bucket, key: "an-object", etag: wrong},
			state{name: "SSE-KMS", bucket: bucket, key: "a-kms-object", etag: o.root.head(t, bucket, "a-kms-object", nil).header.Get("Etag")},
			state{name: "deleted", bucket: bucket, key: "deleted", etag: etag},
			state{name: "absent", bucket: bucket, key: "never-was", etag: etag})
	}
	parts := o.root.createUpload(t, o.private, "of-parts", nil)
	parts.put(t, 1, partData(minPart, 97))
	parts.put(t, 2, partData(100, 98))
	o.objects = append(o.objects, state{name: "of parts, read before", bucket: o.private, key: "of-parts", etag: parts.complete(t)})
	o.root.get(t, o.private, "of-parts", map[string]string{"Range": "bytes=0-1"}).wantStatus(t, http.StatusPartialContent)
	o.objects = append(o.objects, state{name: "no bucket", bucket: "oracle-nothing-a", key: "an-object", etag: etag})
}

func (o *oracle) prepareUploads(t *testing.T) {
	t.Helper()
	for name, header := range map[string]map[string]string{"SSE-S3": nil, "SSE-KMS": sseModes()[2].put, "SSE-C": customerKey(7)} {
		u := o.root.createUpload(t, o.private, "an-upload", header)
		if name == "SSE-C" {
			u.read = header
		}
		u.put(t, 1, testData(100, 91))
		o.uploads = append(o.uploads, state{name: name, bucket: o.private, key: u.key, upload: u.id, part: u.etags[1]},
			state{name: name + ", another part", bucket: o.private, key: u.key, upload: u.id, part: md5ETag(nil)})
	}
	ended := o.root.createUpload(t, o.private, "an-upload-done", nil)
	ended.put(t, 1, testData(100, 92))
	ended.complete(t)
	live := o.uploads[0].upload
	o.uploads = append(o.uploads,
		state{name: "done", bucket: o.private, key: ended.key, upload: ended.id, part: ended.etags[1]},
		state{name: "done, another key", bucket: o.private, key: "an-upload-else", upload: ended.id, part: ended.etags[1]},
		state{name: "unknown", bucket: o.private, key: "an-upload", upload: strings.Repeat("bm9uZQ", 20) + live[strings.LastIndexByte(live, '.'):], part: md5ETag(nil)},
		state{name: "malformed", bucket: o.private, key: "an-upload", upload: "no-upload", part: md5ETag(nil)})
}

// No caller learns through the proxy what MinIO would not tell it: whatever exists,
// the answer is the same, and so is what MinIO is asked for it.
func TestNothingIsToldToWhomMinIOWouldNotTell(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	for name, c := range map[string]*client{
		"anonymous": o.root.anonymous(), "without rights": o.root.as("without-rights", "secret-of-without-rights"), "not at MinIO": o.root.as("not-at-minio", "secret-of-not-at-minio"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range o.questions() {
				o.compare(t, c, q)
			}
		})
	}
	// What was asked about is there, and none of it was changed.
	there := o.objects[0]
	o.root.head(t, there.bucket, there.key, nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"Etag": there.etag})
	o.root.head(t, o.private, "never-was", nil).wantStatus(t, http.StatusNotFound)
	for _, u := range o.uploads {
		a := o.root.do(t, request{method: http.MethodGet, bucket: u.bucket, key: u.key, query: query("uploadId", u.upload)})
		if live := strings.HasPrefix(u.name, "SSE-"); live != (a.status == http.StatusOK) {
			t.Errorf("upload %q: status %d", u.name, a.status)
		}
	}
}

// Who may read an object and not write its copy does not learn what rule is for the
// copy, whatever has to be done for it.
func TestCopiesTellNothingOfTheirDestination(t *testing.T) {
	t.Parallel()
	o := newOracle(t)
	c := o.root.as("only-reads", "secret-of-only-reads")
	o.root.put(t, o.private, "large-kms", testData(2<<20, 96), sseModes()[2].put).wantStatus(t, http.StatusOK)
	o.root.put(t, o.private, "customer", testData(100_000, 99), customerKey(7)).wantStatus(t, http.StatusOK)
	read := map[string]string{}
	for name, value := range customerKey(7) {
		read[strings.Replace(name, "X-Amz-", "X-Amz-Copy-Source-", 1)] = value
	}
	for _, source := range []string{"an-object", "a-kms-object", "large-kms", "of-parts", "customer"} {
		header := map[string]string{}
		if source == "customer" {
			header = read
		}
		c.get(t, o.private, source, map[string]string{"Range": "bytes=0-1"})
		for _, states := range [][]state{o.buckets, o.keys} {
			o.compare(t, c, question{"copy of " + source, states, func(s state) request {
				h := with(header, "X-Amz-Copy-Source", "/"+o.private+"/"+source)
				if s.kmsKey != "" {
					h = with(h, "X-Amz-Server-Side-Encryption", "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", s.kmsKey)
				}
				return s.object(http.MethodPut, "", h, nil)
			}})
		}
	}
}

// compare sends a question to all states. Where MinIO itself tells them apart, so may the proxy.
// What the proxy asks MinIO of its own accord meanwhile is no answer to anybody: a difference
// counts if it is there each time.
func (o *oracle) compare(t *testing.T, c *client, q question) {
	t.Helper()
	told := ""
	for tries := 3; ; tries-- {
		if told = o.tells(t, c, q); told == "" {
			return
		}
		if tries == 1 {
			t.Error(told)
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// tells asks once, and returns what tells two states apart, "" for nothing.
func (o *oracle) tells(t *testing.T, c *client, q question) string {
	t.Helper()
	direct := *c
	direct.endpoint = o.minio.endpoint()
	var first heard
	var told string
	for i, s := range q.states {
		mark := o.up.mark()
		now := heard{answer: s.hear(t, c, q.ask(s))}
		now.upstream = s.asked(o.hostile, mark)
		byMinIO, _, _ := strings.Cut(s.hear(t, &direct, q.ask(s)), " ")
		switch {
		case i == 0:
			first, told = now, byMinIO
		case byMinIO != told:
			t.Logf("%s: MinIO itself tells %q (%s) from %q (%s)", q.name, q.states[0].name, told, s.name, byMinIO)
		case now != first:
			return fmt.Sprintf("%s: %q is told from %q\n%s\n%s\n--- from\n%s\n%s", q.name, q.states[0].name, s.name, first.answer, first.upstream, now.answer, now.upstream)
		}
	}
	return ""
}
