package integration

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// mixedBucket fills a bucket with objects of all modes, plain ones among them,
// under keys that are not easy to list.
func mixedBucket(x *exchange) string {
	x.t.Helper()
	bucket := x.bucket()
	modes := allModes()
	for i, key := range []string{
		"a", "a-1", "a/b", "b/1", "b/2", "b/c/3", "d e+f", "g&<>\"'", "üñí", "z%2Fz", "z/last", "zz",
		"tab\there", "line\nend", "low\x01", "del\x7f", "emoji😀",
	} {
		m := modes[i%len(modes)]
		header := join(m.put, map[string]string{"X-Amz-Meta-Colour": "blue & red", "Content-Type": "text/x-y", "X-Amz-Tagging": "a=b&c=d"})
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: key, body: testData(borderSizes()[1+i%7], uint64(i)), header: header}).ok()
	}
	return bucket
}

func TestListingsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := mixedBucket(x)
	kindOf := map[string][]string{
		"marker": {""}, "start-after": {"list-type2"}, "fetch-owner": {"list-type2"}, "continuation-token": {"list-type2"},
		"key-marker": {"versions"}, "metadata": {"list-type2", "versions"},
	}
	for _, pairs := range listingQueries() {
		for _, version := range [][]string{nil, {"list-type", "2"}, {"versions", ""}} {
			if only := kindOf[pairs[0]]; only != nil && !slices.Contains(only, strings.Join(version, "")) {
				continue // another listing's parameter is refused, see docs/compatibility.md
			}
			all := append(append([]string{}, version...), pairs...)
			x.do("list "+strings.Join(all, " "), request{method: http.MethodGet, bucket: bucket, query: query(all...)})
		}
	}
	pages(x, "V1", bucket, nil, func(b both) string { b.keepElement("next", "NextMarker"); return "marker={next}" })
	pages(x, "V2", bucket, []string{"list-type", "2"}, func(b both) string {
		b.keepElement("next", "NextContinuationToken")
		return "continuation-token={next}"
	})
	pages(x, "versions", bucket, []string{"versions", ""}, func(b both) string {
		b.keepElement("next", "NextKeyMarker").keepElement("version", "NextVersionIdMarker")
		return "key-marker={next}&version-id-marker={version}"
	})
}

func listingQueries() [][]string {
	return [][]string{
		{"max-keys", "100"},
		{"delimiter", "/"},
		{"prefix", "b/", "delimiter", "/"},
		{"prefix", "b", "delimiter", "/"},
		{"prefix", "b"},
		{"prefix", "none"},
		{"prefix", "ü"},
		{"prefix", "z%"},
		{"prefix", "/"},
		{"delimiter", "-"},
		{"delimiter", "b/"},
		{"delimiter", " "},
		{"max-keys", "0"},
		{"max-keys", "1000"},
		{"max-keys", "1001"},
		{"max-keys", "-1"},
		{"max-keys", "5000"},
		{"max-keys", "2147483648"},
		{"max-keys", "99999999999999999999"},
		{"max-keys", "x"},
		{"max-keys", ""},
		{"delimiter", "ñ"},
		{"delimiter", "ñí"},
		{"delimiter", "😀"},
		{"delimiter", "\t"},
		{"delimiter", "&", "encoding-type", "url"},
		{"delimiter", "%2F"},
		{"prefix", "üñ", "delimiter", "í", "encoding-type", "url"},
		{"prefix", "emoji😀"},
		{"prefix", "tab\t", "encoding-type", "url"},
		{"encoding-type", "url"},
		{"encoding-type", "URL"},
		{"encoding-type", "foo"},
		{"encoding-type", "url", "prefix", "d e", "delimiter", "+"},
		{"encoding-type", "url", "delimiter", "/"},
		{"marker", "b/1"},
		{"marker", "b/1", "delimiter", "/"},
		{"marker", "b/", "delimiter", "/"},
		{"marker", "nothing"},
		{"marker", "üñ"},
		{"marker", "emoji😀", "encoding-type", "url"},
		{"marker", "low\x01", "encoding-type", "url"},
		{"start-after", "üñ", "encoding-type", "url"},
		{"start-after", "line\nend", "encoding-type", "url"},
		{"start-after", "zzz"},
		{"start-after", "b/1"},
		{"start-after", "d e+f", "encoding-type", "url"},
		{"start-after", "b/1", "prefix", "b/"},
		{"fetch-owner", "true"},
		{"fetch-owner", "false"},
		{"key-marker", "b/1"},
		{"key-marker", "b/1", "delimiter", "/"},
		{"metadata", "true"},
		{"metadata", "false"},
		{"metadata", "true", "encoding-type", "url"},
		{"continuation-token", ""},
		{"continuation-token", "bm9uZQ=="},
		{"continuation-token", "###"},
	}
}

// pages walks a listing in pages of several sizes on both sides.
func pages(x *exchange, name, bucket string, kind []string, next func(both) string) {
	x.t.Helper()
	for _, extra := range [][]string{{"max-keys", "1"}, {"max-keys", "3"}, {"max-keys", "3", "delimiter", "/"}, {"max-keys", "4", "encoding-type", "url"}} {
		if name == "V1" && len(extra) == 2 {
			extra = append(extra, "prefix", "")
		}
		rest := query(append(append([]string{}, kind...), extra...)...)
		q := rest
		for i := range 30 {
			b := x.do(fmt.Sprintf("pages of %s %v", name, extra), request{method: http.MethodGet, bucket: bucket, query: q})
			if b.seal.status != http.StatusOK || !strings.Contains(string(b.seal.body), "<IsTruncated>true") {
				break
			}
			if i == 29 {
				x.t.Errorf("%s %v does not end", name, extra)
			}
			q = rest + "&" + next(b)
			for side := range x.vars {
				for name, value := range x.vars[side] {
					if name == "next" || name == "version" {
						x.vars[side][name] = queryValue(value, strings.Contains(rest, "encoding-type"), name)
					}
				}
			}
		}
	}
}

// queryValue makes what an answer said fit for the next request's query.
func queryValue(value string, encoded bool, name string) string {
	value = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#39;", "'", "&#34;", `"`, "&quot;", `"`, "&#xA;", "\n", "&#x9;", "\t", "&#x1;", "\x01", "&amp;", "&").Replace(value)
	if encoded && name == "next" {
		if raw, err := url.QueryUnescape(value); err == nil {
			value = raw
		}
	}
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}

// admin runs `mc admin` on both MinIOs.
func (p *pair) admin(t *testing.T, args ...string) {
	t.Helper()
	program, err := tool("MC_BIN", "mc")
	if err != nil {
		t.Fatal(err)
	}
	m := &mcRunner{program: program, config: t.TempDir()}
	m.must(t, "--insecure", "alias", "set", "behind", p.behind.endpoint, rootUser, rootPassword)
	m.must(t, "--insecure", "alias", "set", "reference", p.reference.endpoint, rootUser, rootPassword)
	for _, alias := range []string{"behind", "reference"} {
		all := []string{"--insecure", "admin"}
		for _, arg := range args {
			all = append(all, strings.ReplaceAll(arg, "ALIAS", alias))
		}
		m.must(t, all...)
	}
}

func TestCallersWhoMayListButNotReadSeeAsAtMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := mixedBucket(x)
	policy := writeFile(t, t.TempDir(), "policy.json", []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
		"Action":["s3:ListBucket","s3:ListBucketVersions","s3:PutObject"],"Resource":["arn:aws:s3:::`+bucket+`","arn:aws:s3:::`+bucket+`/*"]}]}`))
	p := sharedPair(t)
	p.admin(t, "user", "add", "ALIAS", limitedUser, limitedPassword)
	p.admin(t, "policy", "create", "ALIAS", "list-only", policy)
	p.admin(t, "policy", "attach", "ALIAS", "list-only", "--user", limitedUser)
	limited := x.as(limitedUser, limitedPassword)
	for _, pairs := range [][]string{{}, {"list-type", "2"}, {"versions", ""}, {"list-type", "2", "metadata", "true"}, {"list-type", "2", "delimiter", "/"}, {"versions", "", "metadata", "true"}} {
		limited.do("limited list "+strings.Join(pairs, " "), request{method: http.MethodGet, bucket: bucket, query: query(pairs...)}).status(http.StatusOK, "")
	}
	for i, m := range allModes() {
		object := request{bucket: bucket, key: []string{"a", "a-1", "a/b", "b/1"}[i], header: m.read}
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
			r := object
			r.method = method
			limited.do("limited "+method, r).status(http.StatusForbidden, "AccessDenied")
			r.header = with(m.read, "If-Match", `"x"`)
			limited.do("limited "+method+" if", r).status(http.StatusForbidden, "AccessDenied")
		}
		attributes := object
		attributes.method, attributes.query, attributes.header = http.MethodGet, "attributes=", with(m.read, "X-Amz-Object-Attributes", "ETag")
		limited.do("limited attributes", attributes).status(http.StatusForbidden, "AccessDenied")
		limited.do("limited copy", copyOf(bucket+"/"+object.key, bucket, "new", ofSource(m.read))).status(http.StatusForbidden, "AccessDenied")
		put := object
		put.method, put.header = http.MethodPut, m.put
		limited.do("limited put", put).ok()
		put.header = with(m.put, "If-None-Match", "*")
		limited.do("limited put if", put).status(http.StatusPreconditionFailed, "")
	}
	other := x.bucket()
	limited.do("limited other bucket", request{method: http.MethodGet, bucket: other}).status(http.StatusForbidden, "AccessDenied")
	conditionsTellNothing(x, limited, bucket, other)
}

// conditionsTellNothing holds that a caller without rights cannot find out an
// object's ETag by conditions, and that one who may write learns no more than
// whether they hold.
func conditionsTellNothing(x, limited *exchange, mayWrite, mayNothing string) {
	const none = `"00000000000000000000000000000000"`
	for _, m := range allModes() {
		for _, bucket := range []string{mayWrite, mayNothing} {
			x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(1000, 51), header: m.put}).ok().keep("etag "+bucket, "Etag")
		}
		for name, header := range map[string]map[string]string{
			"match": {"If-Match": "{etag " + mayNothing + "}"}, "no match": {"If-Match": none}, "star": {"If-Match": "*"},
			"none-match fails": {"If-None-Match": "{etag " + mayNothing + "}"}, "none-match": {"If-None-Match": none}, "none-match star": {"If-None-Match": "*"},
		} {
			for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodGet, http.MethodHead} {
				r := request{method: method, bucket: mayNothing, key: m.name, header: join(m.read, header)}
				if method == http.MethodPut {
					r.header, r.body = join(m.put, header), []byte("new")
				}
				limited.do("limited "+method+" if "+name, r).status(http.StatusForbidden, "AccessDenied")
			}
		}
		put := request{method: http.MethodPut, bucket: mayWrite, key: m.name, body: []byte("new"), header: with(m.put, "If-Match", none)}
		limited.do("limited put if no match", put).status(http.StatusPreconditionFailed, "PreconditionFailed")
		x.do("head", request{method: http.MethodHead, bucket: mayWrite, key: m.name, header: with(m.read, "If-Match", "{etag "+mayWrite+"}")}).ok()
		put.header = with(m.put, "If-Match", "{etag "+mayWrite+"}")
		limited.do("limited put if match", put).ok()
	}
}

func TestMetadataOfTwoKilobytesFitsBesideTheRecord(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	name := "X-Amz-Meta-A"
	for _, m := range allModes() {
		for _, size := range []int{2047, 2048, 2049} {
			header := with(m.put, name, repeat("x", size-len(name)))
			put := request{method: http.MethodPut, bucket: bucket, key: fmt.Sprint(m.name, size), body: []byte("data"), header: header}
			if x.do(fmt.Sprint("metadata of ", size), put).seal.status != http.StatusOK {
				continue
			}
			x.do("metadata head", request{method: http.MethodHead, bucket: bucket, key: put.key, header: m.read})
			x.do("metadata copy", copyOf(bucket+"/"+put.key, bucket, put.key+"-copy", ofSource(m.read), m.put)).ok()
			x.do("metadata head of copy", request{method: http.MethodHead, bucket: bucket, key: put.key + "-copy", header: m.read})
		}
	}
	header := map[string]string{sseHeader: "AES256"}
	for i := range 20 {
		header[fmt.Sprintf("X-Amz-Meta-N%02d", i)] = repeat("v", 2048/20-len("X-Amz-Meta-N00"))
	}
	x.do("metadata of many names", request{method: http.MethodPut, bucket: bucket, key: "many", header: header}).ok()
	x.do("metadata listed", request{method: http.MethodGet, bucket: bucket, query: "list-type=2&metadata=true"})
}

func TestListingOfMetadataNamesThatXMLCannotCarry(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	sizes := map[string]int64{}
	for i, m := range allModes() {
		data := testData(100+i, 53)
		sizes[m.name] = int64(len(data))
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: data, header: with(m.put, "X-Amz-Meta-A!'$~", "odd", "X-Amz-Meta-Plain", "even")}).ok()
	}
	for _, q := range []string{"list-type=2", "", "versions=", "list-type=2&fetch-owner=true"} {
		x.do("list of odd names", request{method: http.MethodGet, bucket: bucket, query: q})
	}
	for _, o := range x.side[0].list(t, bucket, "list-type", "2", "metadata", "true").Contents {
		if o.Size != sizes[o.Key] {
			t.Errorf("%s: size %d, want %d", o.Key, o.Size, sizes[o.Key])
		}
	}
}
