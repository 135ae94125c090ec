package integration

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	keyMethod    = "s3:x-amz-server-side-encryption"
	keyKMSKeyID  = "s3:x-amz-server-side-encryption-aws-kms-key-id"
	keyCustomer  = "s3:x-amz-server-side-encryption-customer-algorithm"
	denied       = http.StatusForbidden
	allowed      = http.StatusOK
	referencePut = "s3:PutObject"
)

// policyWays are the requests that policies are tried on. All could be done.
func policyWays(bucket, versionID string) map[string]asked {
	put := func(header ...string) request {
		return request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("data"), header: with(nil, header...)}
	}
	customer := customerKey(81)
	method, key := "X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	source := []string{"X-Amz-Copy-Source", bucket + "/public/s3"}
	tags := []byte("<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>")
	get := request{method: http.MethodGet, bucket: bucket, key: "public/tagged"}
	return map[string]asked{
		"put":              plainly(put()),
		"put s3":           plainly(put(method, "AES256")),
		"put kms":          plainly(put(method, "aws:kms")),
		"put key":          plainly(put(method, "aws:kms", key, "arn:aws:kms:"+defaultKey)),
		"put AES192":       plainly(put(method, "AES192")),
		"put customer":     plainly(request{method: http.MethodPut, bucket: bucket, key: "c", body: []byte("data"), header: customer}),
		"create":           plainly(request{method: http.MethodPost, bucket: bucket, key: "m", query: "uploads="}),
		"create s3":        plainly(request{method: http.MethodPost, bucket: bucket, key: "m", query: "uploads=", header: with(nil, method, "AES256")}),
		"copy":             plainly(request{method: http.MethodPut, bucket: bucket, key: "copy", header: with(nil, source...)}),
		"copy s3":          plainly(request{method: http.MethodPut, bucket: bucket, key: "copy", header: with(nil, append(source, method, "AES256")...)}),
		"copy replace":     plainly(request{method: http.MethodPut, bucket: bucket, key: "copy", header: with(nil, append(source, "X-Amz-Metadata-Directive", "REPLACE", method, "AES256")...)}),
		"copy to customer": plainly(request{method: http.MethodPut, bucket: bucket, key: "copy-c", header: with(customer, source...)}),
		"copy other":       plainly(request{method: http.MethodPut, bucket: bucket, key: "copy", header: with(nil, "X-Amz-Copy-Source", bucket+"/other/s3", method, "AES256")}),
		"link":             presigned(put(), 0),
		"old link":         presigned(put(), 10*time.Minute),
		"form":             posted(bucket),
		"form s3":          posted(bucket, [2]string{"x-amz-server-side-encryption", "AES256"}),
		"put referer":      plainly(put("Referer", "https://app.example/page")),
		"put agent":        plainly(put("User-Agent", "backup/1.0")),
		"put class":        plainly(put("X-Amz-Storage-Class", "REDUCED_REDUNDANCY")),
		"put hold":         plainly(request{method: http.MethodPut, bucket: bucket, key: "held", body: []byte("data"), header: with(nil, "X-Amz-Object-Lock-Legal-Hold", "ON")}),
		"put kept": plainly(request{method: http.MethodPut, bucket: bucket, key: "kept", body: []byte("data"), header: with(nil,
			"X-Amz-Object-Lock-Mode", "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date", "2099-01-01T00:00:00Z")}),
		"tag":               plainly(request{method: http.MethodPut, bucket: bucket, key: "other/s3", query: "tagging=", body: tags}),
		"tag signed":        plainly(request{method: http.MethodPut, bucket: bucket, key: "other/s3", query: "tagging=", body: tags, payload: sha256Hex(tags)}),
		"put tag":           plainly(put("X-Amz-Tagging", "class=public")),
		"old get link":      presigned(get, 10*time.Minute),
		"get":               plainly(get),
		"get link":          presigned(get, 0),
		"get version":       plainly(request{method: http.MethodGet, bucket: bucket, key: "public/tagged", query: query("versionId", versionID)}),
		"list":              plainly(request{method: http.MethodGet, bucket: bucket, query: query("list-type", "2")}),
		"list public":       plainly(request{method: http.MethodGet, bucket: bucket, query: query("list-type", "2", "prefix", "public/", "delimiter", "/", "max-keys", "5")}),
		"list public as v1": plainly(request{method: http.MethodGet, bucket: bucket, query: query("prefix", "public/", "delimiter", "/", "max-keys", "5")}),
	}
}

// policyCase says which ways a statement leaves open and which it closes. Deny
// statements stand beside one that allows everything.
type policyCase struct {
	name      string
	statement string
	open      string // ways, separated by commas
	closed    string
}

func policyCases() []policyCase {
	deny := func(conditions ...string) string { return statement("Deny", referencePut, conditions...) }
	return []policyCase{
		{"no encryption", deny("Null " + keyMethod + " true"), "put s3,put kms,put key,create s3,copy s3,form s3", "put,put customer,create,copy,form,link"},
		{"not AES256", deny("StringNotEquals " + keyMethod + " AES256"), "put s3,create s3,copy s3,form s3", "put,put AES192,put kms,put key,create,copy,form"},
		{"not aws:kms", deny("StringNotEquals " + keyMethod + " aws:kms"), "put kms,put key", "put,put s3,put customer"},
		{"encryption", deny("Null " + keyMethod + " false"), "put,put customer,copy,form", "put s3,put kms,create s3,copy s3,form s3"},
		{"another key", deny("StringNotEquals " + keyKMSKeyID + " arn:aws:kms:" + defaultKey), "put key", "put,put s3,put kms"},
		{"this key", deny("StringLike " + keyKMSKeyID + " *:" + defaultKey), "put,put s3,put kms", "put key"},
		{"no customer key", deny("Null " + keyCustomer + " true"), "put customer,copy to customer", "put,put s3,put kms,copy s3"},
		{"customer key", deny("Null " + keyCustomer + " false"), "put,put s3", "put customer,copy to customer"},
		{"only AES256", statement("Allow", referencePut, "StringEquals "+keyMethod+" AES256"), "put s3,create s3,form s3", "put,put kms,get"},
		{"links", statement("Deny", "s3:*", "StringEquals s3:authType REST-QUERY-STRING"), "put,get,list,form", "link,get link"},
		{"all but headers", statement("Deny", "s3:*", "StringNotEquals s3:authType REST-HEADER"), "put,get,list", "link,get link,form"},
		{"old links", statement("Deny", "s3:*", "NumericGreaterThan s3:signatureAge 300000"), "put,get,link,get link", "old link,old get link"},
		{"version 2", statement("Deny", "s3:*", "StringNotEquals s3:signatureversion AWS4-HMAC-SHA256"), "put,get,link", ""},
		{"no TLS", statement("Deny", "s3:*", "Bool aws:SecureTransport false"), "put,get,list,link,form,create,copy", ""},
		{"TLS", statement("Deny", "s3:*", "Bool aws:SecureTransport true"), "", "put,get,list,link,form,create,copy"},
		{"other pages", statement("Deny", "s3:*", "StringNotLike aws:Referer https://app.example/*"), "put referer", "put,get,list"},
		{"backup program", statement("Deny", "s3:*", "StringLike aws:UserAgent backup/*"), "put,get", "put agent"},
		{"other addresses", statement("Deny", "s3:*", "NotIpAddress aws:SourceIp 127.0.0.0/8"), "put,get", ""},
		{"this address", statement("Deny", "s3:*", "IpAddress aws:SourceIp 127.0.0.0/8"), "", "put,get,list,form,link"},
		{"the past", statement("Deny", "s3:*", "DateLessThan aws:CurrentTime 2000-01-01T00:00:00Z"), "put,get", ""},
		{"the present", statement("Deny", "s3:*", "DateGreaterThan aws:CurrentTime 2000-01-01T00:00:00Z"), "", "put,get"},
		{"the epoch", statement("Deny", "s3:*", "NumericGreaterThan aws:EpochTime 1000"), "", "put,get"},
		{"sessions", statement("Deny", "s3:*", "StringEquals aws:principaltype Account"), "", "put,get"},
		{"root", statement("Deny", "s3:*", "StringEquals aws:username "+rootUser), "", "put,get"},
		{"root's id", statement("Deny", "s3:*", "StringEquals aws:userid "+rootUser), "", "put,get"},
		{"other sources", deny("StringNotLike s3:x-amz-copy-source {bucket}/public/*"), "copy s3,copy to customer,copy", "copy other,put"},
		{"one source", deny("StringLike s3:x-amz-copy-source {bucket}/other/*"), "copy s3,put", "copy other"},
		{"new metadata", deny("StringEquals s3:x-amz-metadata-directive REPLACE"), "put,copy to customer", "copy replace"},
		{"classes", deny("StringNotEquals s3:x-amz-storage-class REDUCED_REDUNDANCY"), "put class", "put"},
		{"class", deny("StringEquals s3:x-amz-storage-class REDUCED_REDUNDANCY"), "put", "put class"},
		{"holds", deny("StringEquals s3:object-lock-legal-hold ON"), "put,put kept", "put hold"},
		{"modes", deny("StringEquals s3:object-lock-mode GOVERNANCE"), "put,put hold", "put kept"},
		{"long times", deny("DateGreaterThan s3:object-lock-retain-until-date 2050-01-01T00:00:00Z"), "put,put hold", "put kept"},
		{"tags", deny("StringNotEquals s3:RequestObjectTag/class public"), "put tag", "put"},
		{"tagged", statement("Deny", "s3:GetObject", "StringEquals s3:ExistingObjectTag/class secret"), "put", "get"},
		{"tagged otherwise", statement("Deny", "s3:GetObject", "StringEquals s3:ExistingObjectTag/class public"), "put,get", ""},
		{"versions", statement("Deny", "s3:GetObjectVersion", "StringEquals s3:versionid {version}"), "get", "get version"},
		{"prefixes", statement("Deny", "s3:ListBucket", "StringNotEquals s3:prefix public/"), "list public,list public as v1", "list"},
		{"delimiters", statement("Deny", "s3:ListBucket", "StringNotEquals s3:delimiter /"), "list public,list public as v1", "list"},
		{"pages", statement("Deny", "s3:ListBucket", "NumericGreaterThan s3:max-keys 4"), "", "list public,list public as v1"},
		{"bodies without digest", statement("Deny", "s3:*", "StringEquals s3:x-amz-content-sha256 UNSIGNED-PAYLOAD"), "tag signed", "tag,put,get,list"},
	}
}

// What MinIO's policies ask about is what the client's request says, not the proxy's:
// each is as at a MinIO that the client speaks to itself.
func TestPoliciesJudgeTheClientsRequest(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket("X-Amz-Bucket-Object-Lock-Enabled", "true")
	for _, key := range []string{"public/s3", "other/s3"} {
		x.send(request{method: http.MethodPut, bucket: bucket, key: key, body: []byte("data"), header: with(nil, "X-Amz-Server-Side-Encryption", "AES256")}).ok()
	}
	tagged := x.send(request{method: http.MethodPut, bucket: bucket, key: "public/tagged", body: []byte("data"), header: with(nil, "X-Amz-Tagging", "class=secret")}).ok()
	versions := [2]string{tagged.seal.header.Get("X-Amz-Version-Id"), tagged.ref.header.Get("X-Amz-Version-Id")}
	for _, c := range policyCases() {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			for i := range x.side {
				text := strings.NewReplacer("{bucket}", bucket, "{version}", versions[i]).Replace(c.statement)
				s := sessionWith(t, x.side[i], text)
				if !strings.Contains(text, `"Allow"`) {
					s = sessionWith(t, x.side[i], allowAll(), text)
				}
				judge(t, []string{"proxy", "MinIO"}[i], c, x.side[i].as(s.AccessKey, s.SecretKey), s.Token, policyWays(bucket, versions[i]))
			}
		})
	}
}

// minioMisses are the ways that MinIO itself does not judge by what they say: a form's
// fields, and the age of a link.
var minioMisses = []string{"form s3", "old link"}

// judge tries the ways of a case as the session on one side.
func judge(t *testing.T, side string, c policyCase, as *client, token string, ways map[string]asked) {
	t.Helper()
	for list, want := range map[string]int{c.open: allowed, c.closed: denied} {
		for _, name := range strings.Split(list, ",") {
			if name == "" {
				continue
			}
			way, ok := ways[name]
			if !ok {
				t.Fatalf("no way is called %q", name)
			}
			a := way(t, as, token)
			if side == "MinIO" && slices.Contains(minioMisses, name) {
				continue
			}
			if (a.status == denied) != (want == denied) || want == allowed && a.status >= 300 {
				t.Errorf("%s, %s: %d %s, want %d", side, name, a.status, a.code, want)
			}
			if want == denied && a.code != "AccessDenied" {
				t.Errorf("%s, %s: code %q", side, name, a.code)
			}
		}
	}
}

// What a client itself says by the names of conditions reaches no policy, neither in
// the query nor in headers.
func TestClientsCannotTellConditions(t *testing.T) {
	t.Parallel()
	c := sharedPair(t).seal
	bucket := newBucket(t, c)
	c.put(t, bucket, "k", []byte("data"), nil).wantStatus(t, http.StatusOK)
	for name, condition := range map[string][2]string{
		"SecureTransport": {"Bool aws:SecureTransport true", "false"}, "SourceIp": {"IpAddress aws:SourceIp 127.0.0.0/8", "192.0.2.1"},
		"UserAgent": {"StringNotEquals aws:UserAgent backup", "backup"}, "Referer": {"StringNotEquals aws:Referer page", "page"},
		"authType": {"StringEquals s3:authType REST-HEADER", "POST"}, "signatureversion": {"StringEquals s3:signatureversion AWS4-HMAC-SHA256", "AWS"},
		"username": {"StringEquals aws:username " + rootUser, "other"}, "principaltype": {"StringEquals aws:principaltype Account", "User"},
		"CurrentTime": {"DateGreaterThan aws:CurrentTime 2000-01-01T00:00:00Z", "1999-01-01T00:00:00Z"}, "EpochTime": {"NumericGreaterThan aws:EpochTime 1000", "1"},
	} {
		s := sessionWith(t, c, allowAll(), statement("Deny", "s3:*", condition[0]))
		limited := c.as(s.AccessKey, s.SecretKey)
		for _, method := range []string{http.MethodGet, http.MethodPut} {
			for _, said := range []string{name, http.CanonicalHeaderKey(name), strings.ToLower(name)} {
				r := request{method: method, bucket: bucket, key: "k", token: s.Token, query: query(said, condition[1])}
				if a := limited.do(t, r); a.status < 400 {
					t.Errorf("%s ?%s: status %d", method, said, a.status)
				}
			}
			if name == "Referer" {
				continue // is said so
			}
			r := request{method: method, bucket: bucket, key: "k", token: s.Token, header: with(nil, name, condition[1])}
			if a := limited.do(t, r); a.status != http.StatusForbidden {
				t.Errorf("%s with the header %s: status %d", method, name, a.status)
			}
		}
	}
}

// A Referer is signed like all that the proxy sends: whatever it is, MinIO takes it.
func TestAnyRefererIsPassedOn(t *testing.T) {
	t.Parallel()
	c := sharedPair(t).seal
	bucket := newBucket(t, c)
	for _, referer := range []string{"https://app.example/page?a=b#c", "https://exämple/  two   spaces\tand\ttab", "\x80\xff", strings.Repeat("r", 3000)} {
		r := request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("data"), header: map[string]string{"Referer": referer}, unsigned: []string{"referer"}}
		c.do(t, r).wantStatus(t, http.StatusOK)
		r.method, r.body = http.MethodGet, nil
		c.do(t, r).wantStatus(t, http.StatusOK)
	}
}
