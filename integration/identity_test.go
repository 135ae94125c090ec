package integration

import (
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A session works on encrypted objects at every proxy, with its own token only,
// and no longer once it was removed.
func TestSessionsWorkAtEveryProxy(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	second, err := startSeal(s.dir, "", s.minio.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	root := s.client()
	bucket := newBucket(t, root)
	data := testData(200_000, 1)
	root.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	one, two := assumeRole(t, root), assumeRole(t, root)
	get := request{method: http.MethodGet, bucket: bucket, key: "k", token: one.Token}
	for _, endpoint := range []string{s.seal.endpoint(), second.endpoint()} {
		c := newClient(endpoint, one.AccessKey, one.SecretKey)
		c.do(t, get).wantStatus(t, http.StatusOK).wantBody(t, data)
		c.do(t, request{method: http.MethodPut, bucket: bucket, key: "own", body: data, token: one.Token}).wantStatus(t, http.StatusOK).
			wantHeader(t, map[string]string{"X-Amz-Server-Side-Encryption": "AES256", "ETag": md5ETag(data)})
		for _, token := range []string{"", two.Token, one.Token + "x", "bogus"} {
			c.do(t, request{method: http.MethodGet, bucket: bucket, key: "k", token: token}).wantError(t, 403, "InvalidTokenId", "")
		}
		c.as(rootUser, rootPassword).do(t, get).wantError(t, 403, "InvalidTokenId", "")
		c.as(one.AccessKey, two.SecretKey).do(t, get).wantError(t, 403, "SignatureDoesNotMatch", "")
	}
	if stored := s.raw().get(t, bucket, "own", nil).body; strings.Contains(string(stored), string(data[:32])) {
		t.Error("what the session stored is readable at MinIO")
	}
	if out, err := s.sealCommand(t, "", "credential", "rm", one.AccessKey); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, endpoint := range []string{s.seal.endpoint(), second.endpoint()} {
		becomes(t, newClient(endpoint, one.AccessKey, one.SecretKey), get, http.StatusForbidden).wantError(t, 403, "InvalidAccessKeyId", "")
	}
	newClient(second.endpoint(), two.AccessKey, two.SecretKey).do(t, request{method: http.MethodGet, bucket: bucket, key: "k", token: two.Token}).
		wantStatus(t, http.StatusOK).wantBody(t, data)
}

// A session ends when upstream said it would, whatever upstream says afterwards.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	h.root.put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	var ends atomic.Pointer[time.Time] // counted from the answer: boto3 takes its time to start
	one := session{"ENDING", "ending-secret-0123", "token-of-ending"}
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && r.URL.Path == "/" {
			at := time.Now().Add(8 * time.Second)
			ends.Store(&at)
			_, _ = w.Write([]byte(stsAnswer("AssumeRole", one, at)))
			return true
		}
		return h.yesMan(bucket)(w, r)
	})
	if got := assumeRole(t, h.root); got != one {
		t.Fatalf("got the session %v", got)
	}
	c := h.root.as(one.AccessKey, one.SecretKey)
	get := request{method: http.MethodGet, bucket: bucket, key: "k", token: one.Token}
	c.do(t, get).wantStatus(t, http.StatusOK).wantBody(t, []byte("data"))
	time.Sleep(time.Until(*ends.Load()))
	c.do(t, get).wantError(t, 403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
}

func TestCredentialCommands(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	second, err := startSeal(s.dir, "", s.minio.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	bucket := newBucket(t, s.client())
	s.addUser(t, "carol", "carol-secret-0123")
	command := func(stdin string, args ...string) string {
		t.Helper()
		out, err := s.sealCommand(t, stdin, append([]string{"credential"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	carols := []*client{newClient(s.seal.endpoint(), "carol", "carol-secret-0123"), newClient(second.endpoint(), "carol", "carol-secret-0123")}
	put := request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x")}
	for _, c := range carols {
		c.do(t, put).wantError(t, 403, "InvalidAccessKeyId", "")
	}
	if out := command("carol-secret-0123\n", "add", "carol"); !strings.Contains(out, "added carol") || strings.Contains(out, "warning") || strings.Contains(out, "secret-0123") {
		t.Errorf("add: %s", out)
	}
	for _, c := range carols {
		becomes(t, c, put, http.StatusOK)
	}
	if out := command("", "ls"); !strings.Contains(out, "carol") || !strings.Contains(out, rootUser) || strings.Contains(out, "secret-0123") {
		t.Errorf("ls: %s", out)
	}
	if out := command("another-secret-0123\n", "add", "carol"); !strings.Contains(out, "MinIO does not accept this pair") {
		t.Errorf("add with another secret: %s", out)
	}
	if out := command("", "add", "dave", "--generate"); !strings.Contains(out, "secret key: ") || !strings.Contains(out, "does not accept") {
		t.Errorf("add --generate: %s", out)
	}
	for _, c := range carols {
		stale := c.as("carol", "another-secret-0123")
		a := becomes(t, stale, put, http.StatusForbidden)
		for deadline := time.Now().Add(5 * time.Second); a.code != "InvalidAccessKeyId" && time.Now().Before(deadline); a = stale.do(t, put) {
			time.Sleep(100 * time.Millisecond)
		}
		a.wantError(t, 403, "InvalidAccessKeyId", "The storage does not accept this access key any more: its secret was changed, or it was removed there.")
	}
	if log := s.seal.logSince(0); !strings.Contains(log, "bucketseal credential add with the secret that MinIO has") || strings.Contains(log, "another-secret") {
		t.Error("the log does not tell the operator what to do")
	}
	command("", "rm", "carol", "dave")
	for _, c := range carols {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			a := c.do(t, put)
			if a.status == 403 && strings.HasPrefix(a.message, "The Access Key Id") {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("carol, removed: %d %s", a.status, a.message)
				break
			}
		}
	}
	for _, args := range [][]string{{"add", "x"}, {"add", rootUser}, {"rm", "nobody"}, {"rm", rootUser}} {
		if out, err := s.sealCommand(t, "some-secret-0123\n", append([]string{"credential"}, args...)...); err == nil {
			t.Errorf("%v: %s", args, out)
		}
	}
}

const accessConfig = `
credentials:
  - {access_key: ` + rootUser + `, secret_key: ` + rootPassword + `}
  - {access_key: reader, secret_key: reader-secret-0123}
  - {access_key: writer, secret_key: writer-secret-0123}
access:
  rules:
    - {access_keys: [` + rootUser + `], buckets: ["*"], keys: ["*"]}
    - {access_keys: [reader], buckets: ["t-*-r-*"], keys: [` + defaultKey + `], uses: [decrypt]}
    - {access_keys: [writer], buckets: ["t-*"], keys: ["*"], uses: [generate]}
`

// MinIO lets both users do everything: the configuration narrows that, on every
// path that touches keys.
func TestAccessNarrows(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	root, seal, file := configured(t, s, accessConfig)
	s.addUser(t, "reader", "reader-secret-0123")
	s.addUser(t, "writer", "writer-secret-0123")
	reader, writer := root.as("reader", "reader-secret-0123"), root.as("writer", "writer-secret-0123")
	open, closed := "t-access-r-"+bucketName(t)[len(bucketName(t))-6:], newBucket(t, root)
	root.do(t, request{method: http.MethodPut, bucket: open}).wantStatus(t, http.StatusOK)
	data := testData(100_000, 3)
	kmsHeader := map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms"}
	for _, b := range []string{open, closed} {
		root.put(t, b, "k", data, nil).wantStatus(t, http.StatusOK)
		root.put(t, b, "kms", data, kmsHeader).wantStatus(t, http.StatusOK)
	}
	plainMD5 := strings.Trim(md5ETag(data), `"`)
	attributes := map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize,Checksum"}
	copyFrom := func(source string) map[string]string { return map[string]string{"X-Amz-Copy-Source": "/" + source} }
	newUpload := func(bucket string) string {
		upload := root.do(t, request{method: http.MethodPost, bucket: bucket, key: "parts", query: "uploads="}).wantStatus(t, http.StatusOK)
		_, id, _ := strings.Cut(string(upload.body), "<UploadId>")
		id, _, _ = strings.Cut(id, "</UploadId>")
		return id
	}
	id, hidden := newUpload(open), newUpload(closed)
	root.do(t, request{method: http.MethodPut, bucket: closed, key: "parts", query: query("partNumber", "1", "uploadId", hidden), body: data}).wantStatus(t, http.StatusOK)

	reader.get(t, open, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	reader.get(t, open, "kms", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
	writer.put(t, closed, "w", data, nil).wantStatus(t, http.StatusOK)
	writer.put(t, closed, "w", data, kmsHeader).wantStatus(t, http.StatusOK)
	for name, tt := range map[string]struct {
		c    *client
		r    request
		code string
	}{
		"read":                           {reader, request{method: http.MethodGet, bucket: closed, key: "k"}, "AccessDenied"},
		"read SSE-KMS":                   {reader, request{method: http.MethodGet, bucket: closed, key: "kms"}, "kms:NotAuthorized"},
		"range":                          {reader, request{method: http.MethodGet, bucket: closed, key: "k", header: map[string]string{"Range": "bytes=0-9"}}, "AccessDenied"},
		"head":                           {reader, request{method: http.MethodHead, bucket: closed, key: "k"}, "AccessDenied"},
		"attributes":                     {reader, request{method: http.MethodGet, bucket: closed, key: "k", query: "attributes=", header: attributes}, "AccessDenied"},
		"write":                          {reader, request{method: http.MethodPut, bucket: open, key: "new", body: data}, "AccessDenied"},
		"write SSE-KMS":                  {reader, request{method: http.MethodPut, bucket: open, key: "new", body: data, header: kmsHeader}, "kms:NotAuthorized"},
		"copy, may not read":             {reader, request{method: http.MethodPut, bucket: open, key: "new", header: copyFrom(closed + "/k")}, "AccessDenied"},
		"copy, may not write":            {reader, request{method: http.MethodPut, bucket: open, key: "new", header: copyFrom(open + "/k")}, "AccessDenied"},
		"create an upload":               {reader, request{method: http.MethodPost, bucket: open, key: "new", query: "uploads="}, "AccessDenied"},
		"write a part":                   {reader, request{method: http.MethodPut, bucket: open, key: "parts", query: query("partNumber", "1", "uploadId", id), body: data}, "AccessDenied"},
		"list parts":                     {reader, request{method: http.MethodGet, bucket: closed, key: "parts", query: query("uploadId", hidden)}, "AccessDenied"},
		"complete an upload":             {reader, request{method: http.MethodPost, bucket: closed, key: "parts", query: query("uploadId", hidden), body: []byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + md5ETag(data) + "</ETag></Part></CompleteMultipartUpload>")}, "AccessDenied"},
		"set a rule":                     {reader, request{method: http.MethodPut, bucket: open, query: "encryption=", body: []byte(encryptionRule("AES256", "")), header: map[string]string{"Content-Md5": contentMD5([]byte(encryptionRule("AES256", "")))}}, "AccessDenied"},
		"drop a rule":                    {reader, request{method: http.MethodDelete, bucket: open, query: "encryption="}, "AccessDenied"},
		"writer reads":                   {writer, request{method: http.MethodGet, bucket: closed, key: "w"}, "kms:NotAuthorized"},
		"writer copies":                  {writer, request{method: http.MethodPut, bucket: closed, key: "w2", header: copyFrom(closed + "/k")}, "AccessDenied"},
		"writer copies part":             {writer, request{method: http.MethodPut, bucket: open, key: "parts", query: query("partNumber", "1", "uploadId", id), header: copyFrom(open + "/k")}, "AccessDenied"},
		"writer tests an ETag, in a PUT": {writer, request{method: http.MethodPut, bucket: closed, key: "k", body: data, header: map[string]string{"If-Match": md5ETag(data)}}, "AccessDenied"},
	} {
		a := tt.c.do(t, tt.r)
		if a.status != http.StatusForbidden || a.code != tt.code {
			t.Errorf("%s: %d %s, want 403 %s", name, a.status, a.code, tt.code)
		}
		if strings.Contains(string(a.body)+a.header.Get("Etag"), plainMD5) {
			t.Errorf("%s: the answer shows the plaintext's MD5", name)
		}
	}
	if list := reader.do(t, request{method: http.MethodGet, bucket: closed, query: "list-type=2"}).wantStatus(t, 200); strings.Contains(string(list.body), plainMD5) {
		t.Error("a listing shows the plaintext's MD5 to who may not read")
	}
	if list := reader.do(t, request{method: http.MethodGet, bucket: open, query: "list-type=2"}).wantStatus(t, 200); !strings.Contains(string(list.body), plainMD5) {
		t.Error("a listing hides the ETag from who may read")
	}
	reloads(t, seal, file, reader, request{method: http.MethodGet, bucket: closed, key: "k"})
}

// reloads changes the configuration of a running server, for the worse and the better.
func reloads(t *testing.T, seal *sealServer, file string, reader *client, closed request) {
	t.Helper()
	change := func(config, logged string) {
		t.Helper()
		from := seal.logSize()
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		seal.hangup(t)
		for deadline := time.Now().Add(5 * time.Second); !strings.Contains(seal.logSince(from), logged); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the log does not say %q:\n%s", logged, seal.logSince(from))
			}
		}
	}
	wide := strings.Replace(accessConfig, `"t-*-r-*"`, `"*"`, 1)
	change(strings.Replace(wide, "uses: [decrypt]", "uses: [everything]", 1), "bucketseal.yml:9:")
	reader.do(t, closed).wantError(t, 403, "AccessDenied", "")
	// Cut before its rules, as while it is written, it gives nobody more rights; nor
	// does a wider rule, until it was read twice, some time apart.
	cut, _, _ := strings.Cut(accessConfig, "access:")
	change(cut, "access.rules are gone")
	reader.do(t, closed).wantError(t, 403, "AccessDenied", "")
	change(wide, "access.rules have changed")
	reader.do(t, closed).wantError(t, 403, "AccessDenied", "")
	time.Sleep(4100 * time.Millisecond)
	change(wide, "read the configuration again")
	reader.do(t, closed).wantStatus(t, http.StatusOK)
	change(strings.Replace(wide, "reader-secret-0123", "reader-secret-9999", 1)+"region: elsewhere\n", "waits for a restart")
	reader.do(t, closed).wantError(t, 403, "SignatureDoesNotMatch", "")
}

// An upstream that says yes to everything, and issues what it likes, opens nothing
// to those whom the configuration does not name.
func TestYesManOpensNothing(t *testing.T) {
	t.Parallel()
	h := newHostile(t, `
credentials:
  - {access_key: `+rootUser+`, secret_key: `+rootPassword+`}
  - {access_key: narrow, secret_key: narrow-secret-0123}
access:
  rules:
    - {access_keys: [`+rootUser+`], buckets: ["*"], keys: ["*"]}
    - {access_keys: ["*"], kinds: [temporary], buckets: ["elsewhere"], keys: ["*"]}
    - {sources: [ldap], buckets: ["*"], keys: ["*"]}
`)
	bucket := newBucket(t, h.root)
	data := testData(300_000, 9)
	for key, header := range map[string]map[string]string{"s3": nil, "kms": {"X-Amz-Server-Side-Encryption": "aws:kms"}} {
		h.root.put(t, bucket, key, data, header).wantStatus(t, http.StatusOK)
	}
	web := session{"WEBIDENTITY", "web-identity-secret", "token-of-web"}
	action, issue := "AssumeRoleWithWebIdentity", web
	h.up.order(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && r.URL.Path == "/" {
			_, _ = w.Write([]byte(stsAnswer(action, issue, time.Now().Add(10*time.Minute))))
			return true
		}
		return h.yesMan(bucket)(w, r)
	})
	if status, body := webIdentity(t, h.root); status != http.StatusOK {
		t.Fatalf("web identity: %d %s", status, body)
	}
	for name, wrong := range map[string]session{
		"root's access key":   {rootUser, "another-secret-0123", "token"},
		"a known session's":   web,
		"no token":            {"OTHER", "other-secret-0123", ""},
		"a line in the token": {"OTHER", "other-secret-0123", "a\nb"},
	} {
		issue = wrong
		if status, body := webIdentity(t, h.root); status < 400 || strings.Contains(body, wrong.SecretKey) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	action, issue = "AssumeRole", session{"NARROWSESSION", "narrow-session-secret", "token-of-narrow"}
	fromNarrow := assumeRole(t, h.root.as("narrow", "narrow-secret-0123"))
	for name, who := range map[string]session{
		"web identity": web, "a narrowed credential": {"narrow", "narrow-secret-0123", ""}, "its session": fromNarrow, "nobody": {},
	} {
		c := h.root.as(who.AccessKey, who.SecretKey)
		for _, key := range []string{"s3", "kms"} {
			for _, r := range []request{
				{method: http.MethodGet, key: key},
				{method: http.MethodGet, key: key, header: map[string]string{"Range": "bytes=70000-70009"}},
				{method: http.MethodHead, key: key},
				{method: http.MethodGet, key: key, query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ETag,Checksum"}},
				{method: http.MethodPut, key: "copy", header: map[string]string{"X-Amz-Copy-Source": "/" + bucket + "/" + key}},
				{method: http.MethodPut, key: "new", body: data},
				{method: http.MethodPost, key: "new", query: "uploads="},
				{method: http.MethodDelete, query: "encryption="},
			} {
				r.bucket, r.token = bucket, who.Token
				a := c.do(t, r)
				if a.status < 400 || strings.Contains(string(a.body)+a.header.Get("Etag"), strings.Trim(md5ETag(data), `"`)) {
					t.Errorf("%s, %s: %d", name, a.what, a.status)
				}
			}
		}
		list := c.do(t, request{method: http.MethodGet, bucket: bucket, query: "list-type=2", token: who.Token})
		if strings.Contains(string(list.body), strings.Trim(md5ETag(data), `"`)) {
			t.Errorf("%s: a listing shows the plaintext's MD5", name)
		}
	}
	h.up.honest()
	h.root.get(t, bucket, "s3", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

// Nobody but the configured is served while the index is rolled back or away.
func TestIndexOfIdentitiesIsNotRolledBack(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	h.addUser(t, "erin", "erin-secret-0123")
	if out, err := h.sealCommand(t, "erin-secret-0123\n", "credential", "add", "erin"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	erin := h.root.as("erin", "erin-secret-0123")
	put := request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x")}
	becomes(t, erin, put, http.StatusOK)
	old := h.raw().get(t, systemBucket, "identities/index", nil).wantStatus(t, http.StatusOK)
	if strings.Contains(string(old.body), "erin") {
		t.Error("the index can be read")
	}
	if out, err := h.sealCommand(t, "", "credential", "rm", "erin"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	becomes(t, erin, put, http.StatusForbidden)
	h.up.order(onObject(systemBucket, "identities/index", "GET", func(w http.ResponseWriter, _ *http.Request) bool {
		for name, values := range old.header {
			w.Header()[name] = values
		}
		_, _ = w.Write(old.body)
		return true
	}))
	becomes(t, erin, put, http.StatusServiceUnavailable)
	h.up.order(onObject(systemBucket, "identities/index", "GET", func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("<Error><Code>NoSuchKey</Code></Error>"))
		return true
	}))
	time.Sleep(2100 * time.Millisecond)
	erin.do(t, put).wantStatus(t, http.StatusServiceUnavailable)
	h.root.do(t, put).wantStatus(t, http.StatusOK)
	h.up.honest()
	becomes(t, erin, put, http.StatusForbidden)
}
