package integration

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func versioning(x *exchange, bucket, status string) {
	x.t.Helper()
	body := `<VersioningConfiguration ` + xmlns + `><Status>` + status + `</Status></VersioningConfiguration>`
	x.do("set versioning", request{method: http.MethodPut, bucket: bucket, query: "versioning=", body: []byte(body)}).ok()
}

func TestVersionsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	data := func(n int) []byte { return testData(1000+n, 49) }
	list := func(label string, pairs ...string) {
		t.Helper()
		for _, extra := range [][]string{nil, {"max-keys", "2"}, {"delimiter", "/"}, {"encoding-type", "url"}, {"prefix", "s"}, {"metadata", "true"}, {"key-marker", "kms"}} {
			q := append(append([]string{"versions", ""}, pairs...), extra...)
			x.do(fmt.Sprint("list versions ", label, extra), request{method: http.MethodGet, bucket: bucket, query: query(q...)})
		}
		x.do("list "+label, request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
	}
	for _, m := range allModes() { // before versioning: the null version
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: data(0), header: m.put}).ok()
	}
	list("before")
	versioning(x, bucket, "Enabled")
	for _, m := range allModes() {
		object := request{bucket: bucket, key: m.name}
		do := func(label, method, query string, header ...map[string]string) both {
			t.Helper()
			r := object
			r.method, r.query, r.header = method, query, join(header...)
			return x.do(label, r)
		}
		put := object
		put.method, put.header = http.MethodPut, m.put
		for i := 1; i <= 3; i++ {
			put.body = data(i)
			x.do("put version", put).ok().keep(fmt.Sprint("v", i), "X-Amz-Version-Id")
		}
		for i := 1; i <= 3; i++ {
			version := fmt.Sprintf("versionId={v%d}", i)
			do("get version", http.MethodGet, version, m.read)
			do("head version", http.MethodHead, version, m.read)
			do("attributes of version", http.MethodGet, "attributes=&"+version, m.read, map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize,StorageClass"})
		}
		do("get null version", http.MethodGet, "versionId=null", m.read)
		do("get range of version", http.MethodGet, "versionId={v1}", m.read, map[string]string{"Range": "bytes=5-9"})
		do("tag version", http.MethodGet, "tagging=&versionId={v1}")
		x.do("copy of a version", copyOf(bucket+"/"+m.name+"?versionId={v1}", bucket, m.name+"-copied", ofSource(m.read), m.put)).ok()
		x.do("copy of the null version", copyOf(bucket+"/"+m.name+"?versionId=null", bucket, m.name+"-copied", ofSource(m.read), m.put)).ok()
		if m.name != "c" { // whose ETag differs then, see TestSelfCopiesAnswerAsMinIO
			x.do("self-copy of a version", copyOf(bucket+"/"+m.name+"?versionId={v2}", bucket, m.name, ofSource(m.read), m.put)).ok()
		}
		do("get after self-copy of a version", http.MethodGet, "", m.read)
		do("delete", http.MethodDelete, "").keep("marker", "X-Amz-Version-Id")
		do("get deleted", http.MethodGet, "", m.read)
		do("head deleted", http.MethodHead, "", m.read)
		do("attributes of deleted", http.MethodGet, "attributes=", m.read, map[string]string{"X-Amz-Object-Attributes": "ETag"})
		do("get marker", http.MethodGet, "versionId={marker}", m.read)
		do("head marker", http.MethodHead, "versionId={marker}", m.read)
		x.do("copy of deleted", copyOf(bucket+"/"+m.name, bucket, "to", ofSource(m.read)))
		x.do("copy of marker", copyOf(bucket+"/"+m.name+"?versionId={marker}", bucket, "to", ofSource(m.read)))
		do("get version of deleted", http.MethodGet, "versionId={v3}", m.read)
		x.do("put on a marker if none-match star", request{method: http.MethodPut, bucket: bucket, key: m.name, body: data(5), header: with(m.put, "If-None-Match", "*")})
		do("delete again", http.MethodDelete, "")
		do("delete marker", http.MethodDelete, "versionId={marker}")
		do("delete version", http.MethodDelete, "versionId={v1}")
		do("delete version again", http.MethodDelete, "versionId={v1}")
		do("get deleted version", http.MethodGet, "versionId={v1}", m.read)
	}
	list("enabled")
	versioning(x, bucket, "Suspended")
	for _, m := range allModes() {
		x.do("put while suspended", request{method: http.MethodPut, bucket: bucket, key: m.name, body: data(7), header: m.put}).ok()
		x.do("get while suspended", request{method: http.MethodGet, bucket: bucket, key: m.name, header: m.read})
		if m.name == "c" {
			continue // as above
		}
		x.do("self-copy while suspended", copyOf(bucket+"/"+m.name, bucket, m.name, ofSource(m.read), m.put, map[string]string{"X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-A": "b"}))
		x.do("get after self-copy while suspended", request{method: http.MethodGet, bucket: bucket, key: m.name, header: m.read})
		x.do("delete while suspended", request{method: http.MethodDelete, bucket: bucket, key: m.name})
	}
	list("suspended")
	body := `<Delete ` + xmlns + `><Object><Key>s3</Key></Object><Object><Key>kms</Key><VersionId>{v3}</VersionId></Object><Object><Key>none-such</Key></Object></Delete>`
	r := request{method: http.MethodPost, bucket: bucket, query: "delete=", body: []byte(body)}
	for side := range x.side {
		filled := x.fill(side, r)
		x.vars[side]["md5"] = contentMD5(filled.body)
	}
	r.header = map[string]string{"Content-Md5": "{md5}"}
	x.do("delete objects", r)
	list("at last")
}

func TestObjectLockAnswersAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket("X-Amz-Bucket-Object-Lock-Enabled", "true")
	until := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	data := testData(5000, 50)
	governance := map[string]string{"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": until}
	compliance := map[string]string{"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": until}
	hold := map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}
	md5 := map[string]string{"Content-Md5": contentMD5(data)}
	for _, m := range allModes() {
		for name, lock := range map[string]map[string]string{"governance": governance, "compliance": compliance, "hold": hold} {
			key := m.name + "-" + name
			object := request{bucket: bucket, key: key}
			do := func(label, method, query, body string, header ...map[string]string) both {
				t.Helper()
				r := object
				r.method, r.query, r.header, r.body = method, query, join(header...), []byte(body)
				if body != "" {
					r.header["Content-Md5"] = contentMD5([]byte(body))
				}
				return x.do("lock "+label, r)
			}
			x.do("lock put", request{method: http.MethodPut, bucket: bucket, key: key, body: data, header: join(m.put, lock, md5)}).ok().keep("v", "X-Amz-Version-Id")
			do("get", http.MethodGet, "", "", m.read)
			do("head", http.MethodHead, "", "", m.read)
			do("get retention", http.MethodGet, "retention=", "")
			do("get hold", http.MethodGet, "legal-hold=", "")
			do("delete version", http.MethodDelete, "versionId={v}", "")
			do("shorten retention", http.MethodPut, "retention=", `<Retention `+xmlns+`><Mode>GOVERNANCE</Mode><RetainUntilDate>`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`</RetainUntilDate></Retention>`)
			do("shorten retention, bypass", http.MethodPut, "retention=", `<Retention `+xmlns+`><Mode>GOVERNANCE</Mode><RetainUntilDate>`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`</RetainUntilDate></Retention>`, map[string]string{"X-Amz-Bypass-Governance-Retention": "true"})
			do("put hold off", http.MethodPut, "legal-hold=", `<LegalHold `+xmlns+`><Status>OFF</Status></LegalHold>`)
			x.do("lock copy", copyOf(bucket+"/"+key, bucket, key+"-copy", ofSource(m.read), m.put)).ok()
			x.do("lock copy, head", request{method: http.MethodHead, bucket: bucket, key: key + "-copy", header: m.read})
			x.do("lock copy with lock", copyOf(bucket+"/"+key, bucket, key+"-copy2", ofSource(m.read), m.put, lock)).ok()
			x.do("lock copy with lock, head", request{method: http.MethodHead, bucket: bucket, key: key + "-copy2", header: m.read})
			x.do("lock self-copy", copyOf(bucket+"/"+key, bucket, key, ofSource(m.read), m.put, map[string]string{"X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-A": "b"}))
			do("get after self-copy", http.MethodGet, "", "", m.read)
			do("get version after self-copy", http.MethodGet, "versionId={v}", "", m.read)
			do("tagging", http.MethodPut, "tagging=", `<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>`)
			do("get tagging", http.MethodGet, "tagging=", "")
			do("delete version, bypass", http.MethodDelete, "versionId={v}", "", map[string]string{"X-Amz-Bypass-Governance-Retention": "true"})
			do("delete", http.MethodDelete, "", "")
		}
		for name, header := range map[string]map[string]string{
			"past":            {"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2001-01-01T00:00:00Z"},
			"no date":         {"X-Amz-Object-Lock-Mode": "GOVERNANCE"},
			"no mode":         {"X-Amz-Object-Lock-Retain-Until-Date": until},
			"bad mode":        {"X-Amz-Object-Lock-Mode": "FOO", "X-Amz-Object-Lock-Retain-Until-Date": until},
			"bad date":        {"X-Amz-Object-Lock-Mode": "GOVERNANCE", "X-Amz-Object-Lock-Retain-Until-Date": "tomorrow"},
			"bad hold":        {"X-Amz-Object-Lock-Legal-Hold": "MAYBE"},
			"mode lower case": {"X-Amz-Object-Lock-Mode": "governance", "X-Amz-Object-Lock-Retain-Until-Date": until},
		} {
			x.do("lock put bad: "+name, request{method: http.MethodPut, bucket: bucket, key: m.name + "-bad", body: data, header: join(m.put, header, md5)})
		}
	}
	x.do("lock put without MD5", request{method: http.MethodPut, bucket: bucket, key: "no-md5", body: data, header: join(governance, map[string]string{sseHeader: "AES256"})})
	rule := `<ObjectLockConfiguration ` + xmlns + `><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>`
	x.do("lock default", request{method: http.MethodPut, bucket: bucket, query: "object-lock=", body: []byte(rule), header: map[string]string{"Content-Md5": contentMD5([]byte(rule))}})
	for _, m := range allModes() {
		x.do("lock put under default", request{method: http.MethodPut, bucket: bucket, key: m.name + "-default", body: data, header: join(m.put, md5)}).ok()
		x.do("lock head under default", request{method: http.MethodHead, bucket: bucket, key: m.name + "-default", header: m.read})
	}
	plain := x.bucket()
	x.do("lock headers without lock", request{method: http.MethodPut, bucket: plain, key: "k", body: data, header: join(governance, md5, map[string]string{sseHeader: "AES256"})})
}
