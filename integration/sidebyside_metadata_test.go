package integration

import (
	"net/http"
	"testing"
)

// Metadata and other headers that are not plain ASCII, or only just within the
// limits, are stored, answered, copied and listed as MinIO does it.
func TestOddHeadersOfObjectsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	many := map[string]string{}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		many["X-Amz-Meta-"+string(c)] = repeat(string(c), 50)
	}
	for name, header := range map[string]map[string]string{
		"rfc 2047":         {"X-Amz-Meta-Name": "=?UTF-8?B?w7zDscOt?="},
		"rfc 2047 q":       {"X-Amz-Meta-Name": "=?utf-8?Q?=C3=BC?= and more"},
		"utf-8":            {"X-Amz-Meta-Name": "üñí"},
		"latin-1":          {"X-Amz-Meta-Name": "\xfc"},
		"percent":          {"X-Amz-Meta-Name": "%C3%BC + %"},
		"markup":           {"X-Amz-Meta-Name": `<&>"'`},
		"empty":            {"X-Amz-Meta-Name": ""},
		"spaces":           {"X-Amz-Meta-Name": "a  b   c"},
		"underscore":       {"X-Amz-Meta-With_underscore": "1"},
		"dots":             {"X-Amz-Meta-With.dots": "1"},
		"digits":           {"X-Amz-Meta-1": "1"},
		"many":             many,
		"class":            {"X-Amz-Storage-Class": "REDUCED_REDUNDANCY"},
		"standard class":   {"X-Amz-Storage-Class": "STANDARD"},
		"unknown class":    {"X-Amz-Storage-Class": "FOO"},
		"class lower case": {"X-Amz-Storage-Class": "standard"},
		"tags":             {"X-Amz-Tagging": "a%20b=%C3%BC%2B%2F%3D%3A%40&c=&d"},
		"tags twice":       {"X-Amz-Tagging": "a=1&a=2"},
		"tags bad escape":  {"X-Amz-Tagging": "a=%zz"},
		"tags eleven":      {"X-Amz-Tagging": "a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1"},
		"content type":     {"Content-Type": "text/plain; charset=utf-8; x=\"ü\""},
		"encoding":         {"Content-Encoding": "gzip, br"},
		"expires":          {"Expires": "never"},
		"language":         {"Content-Language": "de, en"},
		"redirect":         {"X-Amz-Website-Redirect-Location": "/other"},
		"redirect bad":     {"X-Amz-Website-Redirect-Location": "other"},
		"acl":              {"X-Amz-Acl": "public-read"},
		"acl bad":          {"X-Amz-Acl": "foo"},
	} {
		for _, m := range allModes() {
			key := m.name + "-" + name
			put := x.do("odd "+name, request{method: http.MethodPut, bucket: bucket, key: key, body: testData(100, 71), header: join(m.put, header)})
			if put.seal.status != http.StatusOK {
				continue
			}
			x.do("odd "+name+", head", request{method: http.MethodHead, bucket: bucket, key: key, header: m.read})
			x.do("odd "+name+", tags", request{method: http.MethodGet, bucket: bucket, key: key, query: "tagging="})
			x.do("odd "+name+", copy", copyOf(bucket+"/"+escapePath(key), bucket, key+"-copy", ofSource(m.read), m.put))
			x.do("odd "+name+", head of copy", request{method: http.MethodHead, bucket: bucket, key: key + "-copy", header: m.read})
		}
	}
	for _, q := range []string{"list-type=2", "list-type=2&metadata=true", "versions=&metadata=true"} {
		x.do("odd list "+q, request{method: http.MethodGet, bucket: bucket, query: q})
	}
}
