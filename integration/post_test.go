package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// postForm is a browser form: fields in their order, then the file, then more.
type postForm struct {
	fields [][2]string
	// file is the content of the file field; nil leaves the field out.
	file     []byte
	fileName string
	after    [][2]string
	// conditions are the policy's, besides those that say what the fields say; nil
	// conditions and no signer leave the policy out.
	conditions []any
	expires    time.Duration
	// change is done to the signed form's fields.
	change func(fields [][2]string) [][2]string
}

// signed returns the form's fields with a policy of c's that covers them, or nil.
func (f *postForm) signed(c *client, bucket string) [][2]string {
	now := c.now().UTC()
	day, date := now.Format("20060102"), now.Format("20060102T150405Z")
	credential := c.access + "/" + day + "/us-east-1/s3/aws4_request"
	fields := append([][2]string{{"x-amz-algorithm", "AWS4-HMAC-SHA256"}, {"x-amz-credential", credential}, {"x-amz-date", date}}, f.fields...)
	conditions := append([]any{map[string]string{"bucket": bucket}}, f.conditions...)
	for _, field := range fields {
		if name := strings.ToLower(field[0]); !strings.HasPrefix(name, "x-ignore-") && name != "bucket" {
			op, value := "eq", field[1]
			if before, _, template := strings.Cut(value, "${"); template {
				op, value = "starts-with", before
			}
			conditions = append(conditions, []string{op, "$" + field[0], value})
		}
	}
	expires := f.expires
	if expires == 0 {
		expires = time.Minute
	}
	document, err := json.Marshal(map[string]any{"expiration": now.Add(expires).Format("2006-01-02T15:04:05.000Z"), "conditions": conditions})
	if err != nil {
		panic(err)
	}
	policy := base64.StdEncoding.EncodeToString(document)
	key := []byte("AWS4" + c.secret)
	for _, part := range []string{day, "us-east-1", "s3", "aws4_request"} {
		key = hmacSHA256(key, part)
	}
	fields = append(fields, [2]string{"policy", policy}, [2]string{"x-amz-signature", hex.EncodeToString(hmacSHA256(key, policy))})
	if f.change != nil {
		fields = f.change(fields)
	}
	return fields
}

// request writes the form for c; an anonymous client sends it without a policy.
func (f *postForm) request(c *client, bucket string) request {
	fields := f.fields
	if c.access != "" {
		fields = f.signed(c, bucket)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	write := func(fields [][2]string) {
		for _, field := range fields {
			if err := w.WriteField(field[0], field[1]); err != nil {
				panic(err)
			}
		}
	}
	write(fields)
	if f.file != nil {
		name := f.fileName
		if name == "" {
			name = "picture.png"
		}
		part, err := w.CreateFormFile("file", name)
		if err == nil {
			_, err = part.Write(f.file)
		}
		if err != nil {
			panic(err)
		}
	}
	write(f.after)
	if err := w.Close(); err != nil {
		panic(err)
	}
	return request{method: http.MethodPost, bucket: bucket, path: "/" + bucket, body: b.Bytes(), header: map[string]string{"Content-Type": w.FormDataContentType()}}
}

// post sends the form to both sides, each signed for itself.
func (x *exchange) post(label, bucket string, f postForm) both {
	x.t.Helper()
	send := func(side int) answer {
		c := x.side[side]
		return c.anonymous().do(x.t, f.request(c, bucket))
	}
	b := both{x, send(0), send(1)}
	host := strings.NewReplacer(strings.TrimPrefix(x.side[0].endpoint, "https://"), "HOST", strings.TrimPrefix(x.side[1].endpoint, "https://"), "HOST")
	for _, a := range []*answer{&b.seal, &b.ref} { // each says its own address
		a.body = []byte(host.Replace(string(a.body)))
		if v := a.header.Get("Location"); v != "" {
			a.header.Set("Location", host.Replace(v))
		}
	}
	x.compare(label, b)
	return b
}

func TestFormsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	small := testData(3000, 70)
	key := func(name string, more ...string) [][2]string {
		fields := [][2]string{{"key", name}}
		for i := 0; i < len(more); i += 2 {
			fields = append(fields, [2]string{more[i], more[i+1]})
		}
		return fields
	}
	for name, f := range map[string]postForm{
		"plain":            {fields: key("plain"), file: small},
		"empty file":       {fields: key("empty"), file: []byte{}},
		"201":              {fields: key("with space+ü", "success_action_status", "201"), file: small},
		"200":              {fields: key("a", "success_action_status", "200"), file: small},
		"204":              {fields: key("a", "success_action_status", "204"), file: small},
		"status 418":       {fields: key("a", "success_action_status", "418"), file: small},
		"redirect":         {fields: key("a", "success_action_redirect", "https://example.org/done?x=1"), file: small},
		"redirect nowhere": {fields: key("a", "success_action_redirect", "nowhere"), file: small},
		"file name":        {fields: key("dir/${filename}"), file: small, fileName: "a b.txt"},
		"metadata":         {fields: key("meta", "x-amz-meta-color", "blue", "Content-Type", "image/png", "Cache-Control", "no-cache"), file: small},
		"sse-s3":           {fields: key("s3", "x-amz-server-side-encryption", "AES256"), file: small},
		"sse-kms":          {fields: key("kms", "x-amz-server-side-encryption", "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id", defaultKey), file: small},
		"bucket field":     {fields: append(key("b"), [2]string{"bucket", bucket}), file: small},
		"ignored field":    {fields: key("i", "x-ignore-me", "x"), file: small},
		"fields after":     {fields: key("after"), file: small, after: [][2]string{{"submit", "Upload"}}},
		"range holds":      {fields: key("r"), file: small, conditions: []any{[]any{"content-length-range", 1, 3000}}},
		"range too small":  {fields: key("r"), file: small, conditions: []any{[]any{"content-length-range", 3001, 4000}}},
		"range too large":  {fields: key("r"), file: small, conditions: []any{[]any{"content-length-range", 1, 2999}}},
		"condition fails":  {fields: key("r"), file: small, conditions: []any{[]string{"eq", "$key", "other"}}},
		"prefix fails":     {fields: key("r"), file: small, conditions: []any{[]string{"starts-with", "$key", "other"}}},
		"expired":          {fields: key("r"), file: small, expires: -time.Minute},
		"no key":           {fields: [][2]string{{"x-amz-meta-a", "b"}}, file: small},
		"no file":          {fields: key("r")},
		"uncovered field": {fields: key("r"), file: small, change: func(f [][2]string) [][2]string {
			return append(f, [2]string{"x-amz-meta-more", "x"})
		}},
		"signature of another": {fields: key("r"), file: small, change: func(f [][2]string) [][2]string {
			f[len(f)-1][1] = strings.Repeat("0", 64)
			return f
		}},
		"policy altered": {fields: key("r"), file: small, change: func(f [][2]string) [][2]string {
			f[len(f)-2][1] = base64.StdEncoding.EncodeToString([]byte(`{"expiration":"2999-01-01T00:00:00Z","conditions":[]}`))
			return f
		}},
		"unknown access key": {fields: key("r"), file: small, change: func(f [][2]string) [][2]string {
			f[1][1] = strings.Replace(f[1][1], rootUser, "nobody", 1)
			return f
		}},
		"no date":      {fields: key("r"), file: small, change: func(f [][2]string) [][2]string { return append(f[:2:2], f[3:]...) }},
		"no algorithm": {fields: key("r"), file: small, change: func(f [][2]string) [][2]string { return f[1:] }},
		"bad credential": {fields: key("r"), file: small, change: func(f [][2]string) [][2]string {
			f[1][1] = "x"
			return f
		}},
	} {
		x.post("form "+name, bucket, f)
	}
	x.post("form sse unknown", x.bucket(), postForm{fields: key("foo", "x-amz-server-side-encryption", "foo"), file: small})
	x.post("form to no bucket", bucket+"-none", postForm{fields: key("a"), file: small})
	sharedPair(t).admin(t, "user", "add", "ALIAS", limitedUser, limitedPassword)
	limited := x.as(limitedUser, limitedPassword)
	limited.post("form of a limited user", bucket, postForm{fields: key("a"), file: small})
	for _, name := range []string{"plain", "empty", "with space+ü", "dir/a b.txt", "meta", "s3", "kms", "after"} {
		x.do("head form", request{method: http.MethodHead, bucket: bucket, key: name}).ok()
		x.do("get form", request{method: http.MethodGet, bucket: bucket, key: name}).ok()
	}
	x.do("list forms", request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
}

func TestAnonymousFormsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	nobody := x.as("", "")
	f := postForm{fields: [][2]string{{"key", "anonymous"}}, file: testData(500, 71)}
	nobody.post("anonymous form, closed", bucket, f)
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:PutObject","s3:GetObject"],"Resource":["arn:aws:s3:::%s/*"]}]}`, bucket)
	x.do("put policy", request{method: http.MethodPut, bucket: bucket, query: "policy=", body: []byte(policy)}).ok()
	nobody.post("anonymous form, open", bucket, f)
	nobody.do("anonymous get", request{method: http.MethodGet, bucket: bucket, key: "anonymous"})
}

// TestFormsToObjectsAnswerAsMinIO sends forms to an object's path, where none is
// taken, signed or not.
func TestFormsToObjectsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	f := postForm{fields: [][2]string{{"key", "a"}}, file: testData(500, 71)}
	for _, path := range []string{"/" + bucket + "/key", "/" + bucket + "/key/", "/" + bucket + "/key?x=1", "/nobucket-here/key"} {
		for _, anonymous := range []bool{true, false} {
			send := func(side int) answer {
				r := f.request(x.side[side].anonymous(), bucket)
				r.path, r.query, _ = strings.Cut(path, "?")
				if anonymous {
					return x.side[side].anonymous().do(t, r)
				}
				return x.side[side].do(t, r)
			}
			b := both{x, send(0), send(1)}
			x.compare("form to an object", b)
			if want := map[bool]int{true: http.StatusMethodNotAllowed, false: http.StatusBadRequest}[anonymous]; b.seal.status != want {
				t.Errorf("%s: %d %s, want %d", path, b.seal.status, b.seal.code, want)
			}
		}
	}
}

// TestFormsWithoutPartsOfTheirSignatureAnswerAsMinIO leaves out one field after the
// other.
func TestFormsWithoutPartsOfTheirSignatureAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	without := func(names ...string) func([][2]string) [][2]string {
		return func(fields [][2]string) (kept [][2]string) {
			for _, f := range fields {
				if !slices.Contains(names, f[0]) {
					kept = append(kept, f)
				}
			}
			return kept
		}
	}
	const algorithm, credential, date, policy, signature = "x-amz-algorithm", "x-amz-credential", "x-amz-date", "policy", "x-amz-signature"
	for label, test := range map[string]struct {
		without []string
		status  int
	}{
		"nothing":         {[]string{algorithm, credential, date, policy, signature}, 400},
		"only policy":     {[]string{algorithm, credential, date, signature}, 400},
		"only signature":  {[]string{algorithm, credential, date, policy}, 400},
		"only credential": {[]string{algorithm, date, policy, signature}, 403},
		"no credential":   {[]string{credential}, 400},
		"no signature":    {[]string{signature}, 403},
		"no policy":       {[]string{policy}, 403},
	} {
		b := x.post("form with "+label, bucket, postForm{fields: [][2]string{{"key", "a"}}, file: testData(500, 71), change: without(test.without...)})
		if b.seal.status != test.status {
			t.Errorf("%s: %d %s, want %d", label, b.seal.status, b.seal.code, test.status)
		}
	}
}
