package integration

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

const (
	sseHeader     = "X-Amz-Server-Side-Encryption"
	sseKeyID      = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"
	sseContext    = "X-Amz-Server-Side-Encryption-Context"
	sseBucketKey  = "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"
	sseCAlgorithm = "X-Amz-Server-Side-Encryption-Customer-Algorithm"
	sseCKey       = "X-Amz-Server-Side-Encryption-Customer-Key"
	sseCMD5       = "X-Amz-Server-Side-Encryption-Customer-Key-Md5"
	sourcePrefix  = "X-Amz-Copy-Source-"
	contextBase64 = "eyJkZXBhcnRtZW50IjoiMTAifQ=="
)

var keyOne, keyTwo = []byte("11111111111111112222222222222222"), []byte("another key of 32 bytes for SSE-C")[:32]

// mode is one way to store an object, and what reading it takes.
type mode struct {
	name      string
	put, read map[string]string
}

// allModes are the modes that the pair knows, without encryption included.
func allModes() []mode {
	return []mode{
		{"none", nil, nil},
		{"s3", map[string]string{sseHeader: "AES256"}, nil},
		{"kms", map[string]string{sseHeader: "aws:kms", sseKeyID: defaultKey, sseContext: contextBase64}, nil},
		{"c", customerHeaders(keyOne), customerHeaders(keyOne)},
	}
}

// join makes one header map of several.
func join(maps ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range maps {
		for name, value := range m {
			all[name] = value
		}
	}
	return all
}

// ofSource turns the customer key headers of a read into those of a copy's source.
func ofSource(read map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range read {
		out[sourcePrefix+strings.TrimPrefix(name, "X-Amz-")] = value
	}
	return out
}

func TestEveryModeAnswersAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	for _, size := range []int{0, 1, packageSize, 2*packageSize + 1} {
		data := testData(size, 40)
		for _, m := range allModes() {
			key := m.name
			object := request{bucket: bucket, key: key}
			put, get, head := object, object, object
			put.method, put.body, put.header = http.MethodPut, data, join(m.put, map[string]string{
				"Content-Type": "text/x-y", "X-Amz-Meta-Colour": "blue", "X-Amz-Tagging": "a=b&c=d", "Cache-Control": "max-age=3",
			})
			get.method, get.header = http.MethodGet, m.read
			head.method, head.header = http.MethodHead, m.read
			x.do(empty(size)+"put", put).ok().keep("etag", "Etag")
			x.do(empty(size)+"get", get).ok()
			x.do(empty(size)+"head", head).ok()
			head.query = "partNumber=1"
			x.do(empty(size)+"head part 1", head)
			get.query = "partNumber=1"
			x.do(empty(size)+"get part 1", get)
			get.query = "partNumber=2"
			x.do(empty(size)+"get part 2", get)
			get.query = query("response-content-type", "a/b", "response-cache-control", "no-store", "response-content-disposition", "inline",
				"response-content-encoding", "x", "response-content-language", "de", "response-expires", "Wed, 21 Oct 2037 07:28:00 GMT")
			x.do(empty(size)+"get with overrides", get)
			head.query = get.query
			x.do(empty(size)+"head with overrides", head)
			get.query = ""
			for _, r := range []string{"bytes=0-0", "bytes=-1", "bytes=0-", "bytes=5-70000", "bytes=0-3,5-9", "items=0-3", "bytes=9-3", "bytes=999999-", "bytes=x-"} {
				get.header = join(m.read, map[string]string{"Range": r})
				x.do(empty(size)+"get range "+r, get)
				head.query, head.header = "", get.header
				x.do(empty(size)+"head range "+r, head)
			}
		}
	}
}

func TestReadingWithTheWrongParametersIsRefusedAsAtMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	one, two := customerHeaders(keyOne), customerHeaders(keyTwo)
	without := func(name string) map[string]string {
		h := join(one)
		delete(h, name)
		return h
	}
	for _, m := range allModes() {
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(3000, 41), header: m.put}).ok()
		for name, header := range map[string]map[string]string{
			"no key":                nil,
			"right key":             one,
			"other key":             two,
			"no algorithm":          without(sseCAlgorithm),
			"no key header":         without(sseCKey),
			"no MD5":                without(sseCMD5),
			"bad algorithm":         with(one, sseCAlgorithm, "AES128"),
			"small letters":         with(one, sseCAlgorithm, "aes256"),
			"short key":             with(one, sseCKey, "c2hvcnQ="),
			"key not base64":        with(one, sseCKey, "###"),
			"MD5 of another key":    with(one, sseCMD5, two[sseCMD5]),
			"MD5 not base64":        with(one, sseCMD5, "###"),
			"empty algorithm":       with(one, sseCAlgorithm, ""),
			"with AES256":           {sseHeader: "AES256"},
			"with aws:kms":          {sseHeader: "aws:kms"},
			"key and with AES256":   with(one, sseHeader, "AES256"),
			"with a KMS key id":     {sseKeyID: defaultKey},
			"with a context":        {sseContext: contextBase64},
			"range, other key":      with(two, "Range", "bytes=1-2"),
			"condition, other key":  with(two, "If-Match", "x"),
			"condition, no key":     {"If-Match": "x"},
			"condition, wrong mode": with(one, "If-None-Match", "*"),
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				x.do("read "+m.name+": "+name, request{method: method, bucket: bucket, key: m.name, header: header})
			}
			x.do("attributes "+m.name+": "+name, request{
				method: http.MethodGet, bucket: bucket, key: m.name, query: "attributes=",
				header: with(header, "X-Amz-Object-Attributes", "ETag,ObjectSize"),
			})
		}
	}
}

func TestBadEncryptionHeadersOfAPutAreRefusedAsAtMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	one, two := customerHeaders(keyOne), customerHeaders(keyTwo)
	without := func(name string) map[string]string {
		h := join(one)
		delete(h, name)
		return h
	}
	kms := func(pairs ...string) map[string]string {
		return with(map[string]string{sseHeader: "aws:kms"}, pairs...)
	}
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for name, header := range map[string]map[string]string{
		"foo":                      {sseHeader: "foo"},
		"empty method":             {sseHeader: ""},
		"aes256":                   {sseHeader: "aes256"},
		"AWS:KMS":                  {sseHeader: "AWS:KMS"},
		"dsse":                     {sseHeader: "aws:kms:dsse"},
		"dsse with key":            {sseHeader: "aws:kms:dsse", sseKeyID: defaultKey},
		"AES256 and key id":        {sseHeader: "AES256", sseKeyID: defaultKey},
		"AES256 and context":       {sseHeader: "AES256", sseContext: contextBase64},
		"AES256 and bucket key":    {sseHeader: "AES256", sseBucketKey: "true"},
		"key id alone":             {sseKeyID: defaultKey},
		"context alone":            {sseContext: contextBase64},
		"bucket key alone":         {sseBucketKey: "true"},
		"kms":                      kms(),
		"kms empty id":             kms(sseKeyID, ""),
		"kms id in spaces":         kms(sseKeyID, "  "+defaultKey+"  "),
		"kms short arn":            kms(sseKeyID, "arn:aws:kms:"+defaultKey),
		"kms full arn":             kms(sseKeyID, "arn:aws:kms:eu-west-1:111122223333:key/"+defaultKey),
		"kms missing key":          kms(sseKeyID, "no-such-key"),
		"kms missing key, arn":     kms(sseKeyID, "arn:aws:kms:no-such-key"),
		"kms bad key id":           kms(sseKeyID, "a/b"),
		"kms key id with spaces":   kms(sseKeyID, "a b"),
		"kms bucket key":           kms(sseBucketKey, "true"),
		"kms no bucket key":        kms(sseBucketKey, "false"),
		"kms odd bucket key":       kms(sseBucketKey, "maybe"),
		"kms context":              kms(sseContext, contextBase64),
		"kms empty context":        kms(sseContext, ""),
		"kms context {}":           kms(sseContext, b64("{}")),
		"kms context in disorder":  kms(sseContext, b64(`{"b": "2",   "a":"<1>"}`)),
		"kms context not base64":   kms(sseContext, "%%%"),
		"kms context not JSON":     kms(sseContext, b64("nope")),
		"kms context of numbers":   kms(sseContext, b64(`{"a":1}`)),
		"kms context list":         kms(sseContext, b64(`["a"]`)),
		"kms context of bucket":    kms(sseContext, b64(`{"`+bucket+`":"x"}`)),
		"kms context repeated":     kms(sseContext, b64(`{"a":"1","a":"2"}`)),
		"kms context trailing":     kms(sseContext, b64(`{"a":"1"}x`)),
		"kms context null":         kms(sseContext, b64(`null`)),
		"kms context reserved":     kms(sseContext, b64(`{"bucketseal:use":"sse-s3"}`)),
		"c":                        one,
		"c and AES256":             with(one, sseHeader, "AES256"),
		"c and kms":                with(one, sseHeader, "aws:kms"),
		"c and key id":             with(one, sseKeyID, defaultKey),
		"c without algorithm":      without(sseCAlgorithm),
		"c bad algorithm":          with(one, sseCAlgorithm, "foo"),
		"c small letters":          with(one, sseCAlgorithm, "aes256"),
		"c without key":            without(sseCKey),
		"c without MD5":            without(sseCMD5),
		"c short key":              with(one, sseCKey, "c2hvcnQ="),
		"c long key":               with(one, sseCKey, b64(strings.Repeat("k", 33))),
		"c key not base64":         with(one, sseCKey, "###"),
		"c MD5 of another key":     with(one, sseCMD5, two[sseCMD5]),
		"c MD5 not base64":         with(one, sseCMD5, "###"),
		"c only MD5":               {sseCMD5: one[sseCMD5]},
		"c copy source key on put": ofSource(one),
	} {
		object := request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("data"), header: header}
		b := x.do("put: "+name, object)
		if b.seal.status != http.StatusOK {
			continue
		}
		read := map[string]string{}
		if strings.HasPrefix(name, "c") && header[sseCKey] != "" {
			read = one
		}
		object.method, object.header, object.body = http.MethodGet, read, nil
		x.do("get after: "+name, object)
		object.method = http.MethodHead
		x.do("head after: "+name, object)
	}
}

func TestRequestsWithoutAKMSInTheWayAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	x.do("put", request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("x")}).ok()
	for name, r := range map[string]request{
		"no bucket":             {method: http.MethodGet, bucket: bucket + "-none", key: "k"},
		"no key":                {method: http.MethodGet, bucket: bucket, key: "none"},
		"head no key":           {method: http.MethodHead, bucket: bucket, key: "none"},
		"head no bucket":        {method: http.MethodHead, bucket: bucket + "-none"},
		"attributes no key":     {method: http.MethodGet, bucket: bucket, key: "none", query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "ETag"}},
		"attributes of nothing": {method: http.MethodGet, bucket: bucket, key: "k", query: "attributes="},
		"unknown attribute":     {method: http.MethodGet, bucket: bucket, key: "k", query: "attributes=", header: map[string]string{"X-Amz-Object-Attributes": "Colour"}},
		"delete no key":         {method: http.MethodDelete, bucket: bucket, key: "none"},
		"delete bad version":    {method: http.MethodDelete, bucket: bucket, key: "k", query: "versionId=foo"},
		"get bad version":       {method: http.MethodGet, bucket: bucket, key: "k", query: "versionId=foo"},
		"get no such version":   {method: http.MethodGet, bucket: bucket, key: "k", query: "versionId=6e8d3f4c-7b2a-4b7e-9d60-6c1f6f0a5d11"},
		"head no such version":  {method: http.MethodHead, bucket: bucket, key: "k", query: "versionId=6e8d3f4c-7b2a-4b7e-9d60-6c1f6f0a5d11"},
		"part 0":                {method: http.MethodGet, bucket: bucket, key: "k", query: "partNumber=0"},
		"part 10001":            {method: http.MethodGet, bucket: bucket, key: "k", query: "partNumber=10001"},
		"part x":                {method: http.MethodGet, bucket: bucket, key: "k", query: "partNumber=x"},
		"part and range":        {method: http.MethodGet, bucket: bucket, key: "k", query: "partNumber=1", header: map[string]string{"Range": "bytes=0-0"}},
		"storage class":         {method: http.MethodPut, bucket: bucket, key: "s", header: map[string]string{"X-Amz-Storage-Class": "GLACIER"}},
		"reduced redundancy":    {method: http.MethodPut, bucket: bucket, key: "rr", body: []byte("x"), header: map[string]string{sseHeader: "AES256", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY"}},
		"tag set":               {method: http.MethodGet, bucket: bucket, key: "k", query: "tagging="},
		"bad tags":              {method: http.MethodPut, bucket: bucket, key: "t", header: map[string]string{"X-Amz-Tagging": "a=1&a=2", sseHeader: "AES256"}},
		"eleven tags":           {method: http.MethodPut, bucket: bucket, key: "t", header: map[string]string{"X-Amz-Tagging": "a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1", sseHeader: "AES256"}},
		"directory with a body": {method: http.MethodPut, bucket: bucket, key: "dir/", body: []byte("x"), header: map[string]string{sseHeader: "AES256"}},
		"directory":             {method: http.MethodPut, bucket: bucket, key: "dir2/", header: map[string]string{sseHeader: "AES256"}},
		"empty metadata":        {method: http.MethodPut, bucket: bucket, key: "m", body: []byte("x"), header: map[string]string{sseHeader: "AES256", "X-Amz-Meta-Empty": "", "X-Amz-Meta-Spaces": "  a  b "}},
	} {
		x.do(name, r)
	}
	for _, key := range []string{"rr", "m", "dir/", "dir2/"} {
		x.do("head "+key, request{method: http.MethodHead, bucket: bucket, key: key})
		x.do("get "+key, request{method: http.MethodGet, bucket: bucket, key: key})
	}
}
