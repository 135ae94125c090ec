package integration

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func copyOf(from string, bucket, key string, header ...map[string]string) request {
	return request{method: http.MethodPut, bucket: bucket, key: key, header: with(join(header...), "X-Amz-Copy-Source", from)}
}

func TestCopiesBetweenAllModesAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	stored := map[string]string{
		"Content-Type": "text/x-y", "Cache-Control": "max-age=3", "Content-Disposition": "inline", "Content-Language": "de", "Content-Encoding": "gzip",
		"Expires": "Wed, 21 Oct 2037 07:28:00 GMT", "X-Amz-Meta-Colour": "blue", "X-Amz-Tagging": "a=b&c=d%20e",
	}
	for _, size := range []int{0, 70_000} {
		data := testData(size, 42)
		for _, from := range allModes() {
			x.do(empty(size)+"put", request{method: http.MethodPut, bucket: bucket, key: from.name, body: data, header: join(from.put, stored)}).ok()
			for _, to := range allModes() {
				put := to.put
				if to.name == "c" {
					put = customerHeaders(keyTwo)
				}
				read := map[string]string{}
				if to.name == "c" {
					read = put
				}
				for directive, header := range map[string]map[string]string{
					"nothing":      nil,
					"copy":         {"X-Amz-Metadata-Directive": "COPY", "X-Amz-Meta-Colour": "ignored", "Content-Type": "ig/nored"},
					"replace":      {"X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-Shape": "round", "Content-Type": "text/new"},
					"replace tags": {"X-Amz-Tagging-Directive": "REPLACE", "X-Amz-Tagging": "e=f"},
					"copy tags":    {"X-Amz-Tagging-Directive": "COPY", "X-Amz-Tagging": "e=f"},
				} {
					label := empty(size) + "copy " + from.name + " to " + to.name + ", " + directive
					key := from.name + "-" + to.name + "-" + directive
					x.do(label, copyOf(bucket+"/"+from.name, bucket, key, ofSource(from.read), put, header)).ok()
					x.do(label+", head", request{method: http.MethodHead, bucket: bucket, key: key, header: read})
					x.do(label+", get", request{method: http.MethodGet, bucket: bucket, key: key, header: read})
					x.do(label+", tags", request{method: http.MethodGet, bucket: bucket, key: key, query: "tagging="})
				}
			}
		}
	}
	x.do("list copies", request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
}

func TestBadCopiesAreRefusedAsAtMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	one, two := customerHeaders(keyOne), customerHeaders(keyTwo)
	for _, m := range allModes() {
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(3000, 43), header: m.put}).ok()
	}
	for _, m := range allModes() {
		for name, header := range map[string]map[string]string{
			"no source key":                   nil,
			"other source key":                ofSource(two),
			"right source key":                ofSource(one),
			"source key without MD5":          {sourcePrefix + "Server-Side-Encryption-Customer-Algorithm": "AES256", sourcePrefix + "Server-Side-Encryption-Customer-Key": one[sseCKey]},
			"source algorithm alone":          {sourcePrefix + "Server-Side-Encryption-Customer-Algorithm": "AES256"},
			"bad source algorithm":            with(ofSource(one), sourcePrefix+"Server-Side-Encryption-Customer-Algorithm", "foo"),
			"unknown directive":               with(ofSource(m.read), "X-Amz-Metadata-Directive", "foo"),
			"unknown tag directive":           with(ofSource(m.read), "X-Amz-Tagging-Directive", "foo"),
			"small letters":                   with(ofSource(m.read), "X-Amz-Metadata-Directive", "replace"),
			"bad destination method":          with(ofSource(m.read), sseHeader, "foo"),
			"destination dsse":                with(ofSource(m.read), sseHeader, "aws:kms:dsse"),
			"destination key missing":         with(ofSource(m.read), sseHeader, "aws:kms", sseKeyID, "no-such-key"),
			"destination c and s3":            join(ofSource(m.read), two, map[string]string{sseHeader: "AES256"}),
			"destination c without MD5":       with(ofSource(m.read), sseCAlgorithm, "AES256", sseCKey, one[sseCKey]),
			"storage class":                   with(ofSource(m.read), "X-Amz-Storage-Class", "GLACIER"),
			"replace with too much metadata":  with(ofSource(m.read), "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-A", repeat("x", 2049)),
			"replace with bad tags":           with(ofSource(m.read), "X-Amz-Tagging-Directive", "REPLACE", "X-Amz-Tagging", "a=1&a=2"),
			"KMS headers without a KMS":       with(ofSource(m.read), sseKeyID, defaultKey),
			"copy source range on CopyObject": with(ofSource(m.read), "X-Amz-Copy-Source-Range", "bytes=0-1"),
		} {
			x.do("bad copy of "+m.name+": "+name, copyOf(bucket+"/"+m.name, bucket, "to-"+m.name, header))
		}
	}
	for name, source := range map[string]string{
		"no such key": bucket + "/none", "no such bucket": bucket + "-none/k", "no key": bucket, "no key 2": bucket + "/", "slash": "/", "leading slash": "/" + bucket + "/none2",
		"escaped": bucket + "%2Fnone", "bad escape": bucket + "/%zz", "bad version": bucket + "/none?versionId=foo", "unknown parameter": bucket + "/none?foo=bar",
		"version of nothing": bucket + "/none?versionId=6e8d3f4c-7b2a-4b7e-9d60-6c1f6f0a5d11", "dots": bucket + "/../x", "empty version": bucket + "/s3?versionId=",
	} {
		x.do("copy source "+name, copyOf(source, bucket, "to"))
	}
	x.do("copy to no bucket", copyOf(bucket+"/s3", bucket+"-none", "to"))
}

// empty begins the label of a step with an empty object.
func empty(size int) string {
	if size == 0 {
		return "empty "
	}
	return ""
}

func repeat(s string, n int) string {
	b := make([]byte, 0, n*len(s))
	for range n {
		b = append(b, s...)
	}
	return string(b)
}

func TestSelfCopiesAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	data := testData(70_000, 44)
	for _, m := range allModes() {
		for name, header := range map[string]map[string]string{
			"nothing":         nil,
			"copy":            {"X-Amz-Metadata-Directive": "COPY"},
			"replace":         {"X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-New": "1"},
			"replace nothing": {"X-Amz-Metadata-Directive": "REPLACE"},
			"tags":            {"X-Amz-Tagging-Directive": "REPLACE", "X-Amz-Tagging": "x=y"},
			"same class":      {"X-Amz-Storage-Class": "STANDARD"},
			"other class":     {"X-Amz-Storage-Class": "REDUCED_REDUNDANCY"},
			"redirect":        {"X-Amz-Website-Redirect-Location": "/x"},
			"to s3":           {sseHeader: "AES256"},
			"to kms":          {sseHeader: "aws:kms", sseKeyID: defaultKey},
			"to c":            customerHeaders(keyTwo),
			"to s3, replace":  {sseHeader: "AES256", "X-Amz-Metadata-Directive": "REPLACE", "X-Amz-Meta-New": "1"},
			"to c, replace":   with(customerHeaders(keyTwo), "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-New", "1"),
		} {
			key := m.name + "-" + name
			label := "self-copy of " + m.name + ": " + name
			x.do("put", request{method: http.MethodPut, bucket: bucket, key: key, body: data, header: join(m.put, map[string]string{"X-Amz-Meta-Old": "1", "X-Amz-Tagging": "a=b"})}).ok()
			b := x.do(label, copyOf("/"+bucket+"/"+escapePath(key), bucket, key, ofSource(m.read), header))
			read := map[string]string{}
			switch {
			case b.seal.status != http.StatusOK:
				read = m.read
			case header[sseCKey] != "":
				read = customerHeaders(keyTwo)
			}
			x.do(label+", head", request{method: http.MethodHead, bucket: bucket, key: key, header: read})
			x.do(label+", get", request{method: http.MethodGet, bucket: bucket, key: key, header: read})
			x.do(label+", tags", request{method: http.MethodGet, bucket: bucket, key: key, query: "tagging="})
		}
	}
}

func TestCopySourceConditionsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	const none = `"00000000000000000000000000000000"`
	for _, m := range allModes() {
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(3000, 45), header: m.put}).ok().keep("etag", "Etag")
		x.do("head", request{method: http.MethodHead, bucket: bucket, key: m.name, header: m.read}).ok().keep("modified", "Last-Modified")
		past := time.Now().Add(-48 * time.Hour).UTC().Format(http.TimeFormat)
		future := time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat)
		for name, pairs := range map[string][]string{
			"match":                       {"If-Match", "{etag}"},
			"match star":                  {"If-Match", "*"},
			"no match":                    {"If-Match", none},
			"none-match":                  {"If-None-Match", none},
			"none-match fails":            {"If-None-Match", "{etag}"},
			"none-match star":             {"If-None-Match", "*"},
			"modified since past":         {"If-Modified-Since", past},
			"modified since then":         {"If-Modified-Since", "{modified}"},
			"modified since future":       {"If-Modified-Since", future},
			"unmodified since past":       {"If-Unmodified-Since", past},
			"unmodified since then":       {"If-Unmodified-Since", "{modified}"},
			"match, unmodified past":      {"If-Match", "{etag}", "If-Unmodified-Since", past},
			"none-match, modified since":  {"If-None-Match", "{etag}", "If-Modified-Since", past},
			"none-match, modified future": {"If-None-Match", none, "If-Modified-Since", future},
			"bad date":                    {"If-Modified-Since", "yesterday"},
		} {
			header := ofSource(m.read)
			for i := 0; i < len(pairs); i += 2 {
				header[sourcePrefix+pairs[i]] = pairs[i+1]
			}
			x.do("copy if "+name, copyOf(bucket+"/"+m.name, bucket, "to", header, map[string]string{sseHeader: "AES256"}))
		}
	}
}

// TestCopiesOfUnknownVersionsAnswerAsMinIO asks for versions that are not there, in
// every form an id may have or not.
func TestCopiesOfUnknownVersionsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	x.do("put", request{method: http.MethodPut, bucket: bucket, key: "o", body: testData(3000, 43)}).ok()
	up := x.upload("copied versions", bucket, "mp", mode{})
	const id = "5eb1eae8-1a73-4032-8ac8-54c0bc7993f4"
	for query, status := range map[string]int{
		"versionId=" + id: 404, "versionId=" + strings.ToUpper(id): 404, "versionId=" + strings.ReplaceAll(id, "-", ""): 404, "versionId={" + id + "}": 404,
		"versionId=abc": 404, "versionId=NULL": 404, "versionId=a/b": 404, "versionId=../x": 404, "versionId=x%20y": 404, "versionId=%ff": 404, "versionId=%00": 404,
		"versionId=" + id + "&x=y": 404, "versionId=abc&versionId=" + id: 404, "x=y&versionId=" + id: 404,
		"versionId=": 200, "versionId=null": 200, "": 200, "x=y": 200, "versionid=" + id: 200, "a?versionId=" + id: 200,
	} {
		from := bucket + "/o?" + query
		b := x.do("copy of a version", copyOf(from, bucket, "copy"))
		if b.seal.status != status {
			t.Errorf("%s: %d %s, want %d", from, b.seal.status, b.seal.code, status)
		}
		part := up.do("copy of a version, part", http.MethodPut, nil, map[string]string{"X-Amz-Copy-Source": from}, "partNumber", "1")
		if part.seal.status != status {
			t.Errorf("part of %s: %d %s, want %d", from, part.seal.status, part.seal.code, status)
		}
	}
}
