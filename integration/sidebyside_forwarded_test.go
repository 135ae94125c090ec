package integration

import (
	"net/http"
	"testing"
)

// withBody is a request with a document, and the Content-MD5 that some of them need.
func withBody(method, bucket, key, query, body string, header ...map[string]string) request {
	return request{
		method: method, bucket: bucket, key: key, query: query, body: []byte(body),
		header: with(join(header...), "Content-Md5", contentMD5([]byte(body))),
	}
}

func TestForwardedBucketOperationsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket("X-Amz-Bucket-Object-Lock-Enabled", "true")
	reads := []string{
		"location=", "versioning=", "policy=", "policyStatus=", "lifecycle=", "object-lock=", "tagging=", "notification=", "replication=",
		"acl=", "cors=", "website=", "accelerate=", "requestPayment=", "logging=",
	}
	readAll := func(when string) {
		t.Helper()
		for _, q := range reads {
			x.do("forwarded get "+q+" "+when, request{method: http.MethodGet, bucket: bucket, query: q})
		}
		x.do("forwarded head bucket "+when, request{method: http.MethodHead, bucket: bucket})
	}
	readAll("before")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["*"]},"Action":["s3:GetObject"],"Resource":["arn:aws:s3:::` + bucket + `/open/*"]}]}`
	lifecycle := `<LifecycleConfiguration ` + xmlns + `><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>a/</Prefix></Filter><Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>`
	lock := `<ObjectLockConfiguration ` + xmlns + `><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`
	tagging := `<Tagging><TagSet><Tag><Key>a b</Key><Value>ü+/=:@ c</Value></Tag></TagSet></Tagging>`
	acl := `<AccessControlPolicy ` + xmlns + `><Owner><ID>x</ID></Owner><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>x</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>`
	cors := `<CORSConfiguration ` + xmlns + `><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>`
	for q, body := range map[string]string{
		"versioning=": `<VersioningConfiguration ` + xmlns + `><Status>Suspended</Status></VersioningConfiguration>`, // refused: the bucket locks objects
		"policy=":     policy, "lifecycle=": lifecycle, "object-lock=": lock, "tagging=": tagging, "acl=": acl, "cors=": cors,
		"notification=": `<NotificationConfiguration ` + xmlns + `></NotificationConfiguration>`,
	} {
		x.do("forwarded put "+q, withBody(http.MethodPut, bucket, "", q, body))
		x.do("forwarded put "+q+" no XML", withBody(http.MethodPut, bucket, "", q, "<x"))
	}
	x.do("forwarded put acl header", request{method: http.MethodPut, bucket: bucket, query: "acl=", header: map[string]string{"X-Amz-Acl": "private"}})
	x.do("forwarded put acl public", request{method: http.MethodPut, bucket: bucket, query: "acl=", header: map[string]string{"X-Amz-Acl": "public-read"}})
	readAll("after")
	for _, q := range []string{"policy=", "lifecycle=", "tagging=", "cors=", "website=", "replication="} {
		x.do("forwarded delete "+q, request{method: http.MethodDelete, bucket: bucket, query: q})
	}
	readAll("at the end")
	x.do("forwarded create again", request{method: http.MethodPut, bucket: bucket})
	x.do("forwarded delete bucket", request{method: http.MethodDelete, bucket: bucket})
	x.do("forwarded delete bucket again", request{method: http.MethodDelete, bucket: bucket})
}

func TestForwardedObjectOperationsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket("X-Amz-Bucket-Object-Lock-Enabled", "true")
	for _, m := range allModes() {
		do := func(label string, r request) {
			t.Helper()
			r.bucket, r.key = bucket, m.name
			x.do("forwarded object "+label, r)
		}
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(3000, 70), header: m.put}).ok()
		for _, q := range []string{"tagging=", "retention=", "legal-hold=", "acl="} {
			do("get "+q, request{method: http.MethodGet, query: q})
			do("get "+q+" of no version", request{method: http.MethodGet, query: q + "&versionId=6e8d3f4c-7b2a-4b7e-9d60-6c1f6f0a5d11"})
			do("put "+q+" no XML", withBody(http.MethodPut, "", "", q, "<x"))
		}
		for name, tags := range map[string]string{
			"special": `<Tag><Key>a b</Key><Value>ü+/=:@ c._-</Value></Tag>`, "empty value": `<Tag><Key>k</Key><Value></Value></Tag>`,
			"escaped": `<Tag><Key>k</Key><Value>&lt;&amp;&gt;</Value></Tag>`, "twice": `<Tag><Key>k</Key><Value>1</Value></Tag><Tag><Key>k</Key><Value>2</Value></Tag>`,
			"long key": `<Tag><Key>` + repeat("k", 129) + `</Key><Value>v</Value></Tag>`, "long value": `<Tag><Key>k</Key><Value>` + repeat("v", 257) + `</Value></Tag>`,
			"eleven": repeat(`<Tag><Key>k</Key><Value>v</Value></Tag>`, 11), "none": ``,
		} {
			do("put tags "+name, withBody(http.MethodPut, "", "", "tagging=", `<Tagging><TagSet>`+tags+`</TagSet></Tagging>`))
			do("get tags "+name, request{method: http.MethodGet, query: "tagging="})
			do("head with tags "+name, request{method: http.MethodHead, header: m.read})
		}
		do("delete tags", request{method: http.MethodDelete, query: "tagging="})
		do("put acl", request{method: http.MethodPut, query: "acl=", header: map[string]string{"X-Amz-Acl": "private"}})
		do("restore", withBody(http.MethodPost, "", "", "restore=", `<RestoreRequest `+xmlns+`><Days>1</Days></RestoreRequest>`))
		do("hold", withBody(http.MethodPut, "", "", "legal-hold=", `<LegalHold `+xmlns+`><Status>ON</Status></LegalHold>`))
		do("get hold", request{method: http.MethodGet, query: "legal-hold="})
		do("hold off", withBody(http.MethodPut, "", "", "legal-hold=", `<LegalHold `+xmlns+`><Status>OFF</Status></LegalHold>`))
	}
	list := `<Delete ` + xmlns + `><Object><Key>none</Key></Object><Object><Key>s3</Key></Object><Object><Key>no such key</Key></Object><Object><Key>c</Key></Object></Delete>`
	x.do("forwarded delete objects", withBody(http.MethodPost, bucket, "", "delete=", list))
	x.do("forwarded delete objects quietly", withBody(http.MethodPost, bucket, "", "delete=", `<Delete `+xmlns+`><Quiet>true</Quiet><Object><Key>kms</Key></Object></Delete>`))
	x.do("forwarded delete no objects", withBody(http.MethodPost, bucket, "", "delete=", `<Delete `+xmlns+`></Delete>`))
	x.do("forwarded delete objects no XML", withBody(http.MethodPost, bucket, "", "delete=", `<Delete`))
	x.do("list after delete objects", request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
}
