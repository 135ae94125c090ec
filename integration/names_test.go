package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// oddNames are keys that MinIO cleans, refuses, hides or stores as they are.
func oddNames() []string {
	names := []string{
		"/", "a//", "/a//", "b//c", "b///c", "/b//c//d", "b//c/", "/b/c//", "a/b", "a/b/",
		"a/./b", "/a/./b", "./a", "/./a", "a/../b", "/a/../b", "..", ".", "/.", "/..", "a/..", "a/.", "...", "a/...", "a/ ./b", "a/ .. /b", "a/\t.", "a ./b", "./", "../",
		`a\..\b`, `a\.\b`, `a\\b`, `\\a`, `a\..`, `..\a`, `/\..\a`, "a/b\\", "a\xc2\xa0/b", "a/\xc2\xa0./b", ".\xc2\xa0/x", "a/\xc2\x85./b", "a/.\xe3\x80\x80",
		"f__XLDIR__/x", "__XLDIR__", "a/__XLDIR__", "__XLDIR__/", "__XLDIR__/x", "f__XLDIR____XLDIR__", "f/__XLDIR__/x", "f__XLDIR__//", "/f__XLDIR__//",
		strings.Repeat("k", 256), strings.Repeat("é", 128), strings.Repeat("é", 127), strings.Repeat("é", 255), "/" + strings.Repeat("k", 255), "/" + strings.Repeat("k", 256),
		strings.Repeat("k", 246) + "/", strings.Repeat("k", 247) + "/", strings.Repeat("k", 246) + "__XLDIR__", strings.Repeat("d/", 500) + "end",
		strings.Repeat("d/", 510) + "1024", strings.Repeat("d/", 510) + "~1025", "/" + strings.Repeat("d/", 510) + "1024", "//" + strings.Repeat("d//", 400) + "x", strings.Repeat("d/", 510) + "xxx/",
		strings.Repeat("d/", 511) + "xx/", "/" + strings.Repeat("d/", 511) + "xx/",
	}
	plain := []string{
		"a", "f__XLDIR__", "f__xldir__", "f__XLDIR", `a\b`, `\a`, `a\`, " a", "a ", "a.", "a..", ".a", "..a", "a /b", "a/ b", "xl.meta", "d/xl.meta", "xl.meta/x", ".minio.sys", ".minio.sys/x",
		"d/.minio.sys/x", ".usage.json", "a%2Fb", "a%252Fb", "%", "%2F", "%2e%2e/a", "é", "e\u0301", "\u212b", "\u0130", "\U0001f600", "\ufeff", "\u200b", "k\ufffd", "a\x7fb", "a\nb", "a\tb", "a\r",
		"a?b", "a?versionId=null", "a#b", "a&b", "a+b", "a b+c", "a*b", "a:b", "a|b", "a;b", "a,b", "a=b", "a@b", "a'b", `"a"`, "<a>", "~", "null", "COM1", "part.1/x", "${a}", "{a}", "[a]", "a^b", "a`b", "-", "_", "minio", "late/x",
		strings.Repeat("k", 255), "a/b/c/d/e/f",
	}
	for i, name := range plain {
		names = append(names, name, []string{"/" + name, "//" + name, name + "/", "/" + name + "/"}[i%4])
	}
	return names
}

// nameDifference says why the proxy deliberately does not answer as a MinIO.
func nameDifference(name, op string) string {
	switch {
	case (name == "./" || name == "../") && strings.HasSuffix(op, " as"):
		return "its other name, .__XLDIR__, would be listed as something that nobody can read"
	case strings.Contains(op, "form") && strings.HasPrefix(name, "/") && strings.Contains(name, "./"):
		return "MinIO puts a form's /a/../b at b, whatever its policy says of /a/"
	case name == "/" && strings.HasSuffix(op, " tags"):
		return "it is no name"
	case (op == "upload" || op == "no upload") && strings.HasSuffix(name, "__XLDIR__"):
		return "it is the name of a folder, to which MinIO takes no uploads in parts under its own name"
	case len(strings.TrimLeft(name, "/")) > 1024 && strings.HasPrefix(op, "cop"):
		return "MinIO lets a copy have a longer name than anything else"
	}
	return ""
}

// naming walks one name through every operation, at the proxy and at a MinIO.
type naming struct {
	*exchange
	bucket, name string
	data         []byte
}

// same compares status, code and, of listings, what is listed.
func (n *naming) same(op string, b both) both {
	n.t.Helper()
	if nameDifference(n.name, op) != "" {
		return b
	}
	if b.seal.status != b.ref.status || b.seal.code != b.ref.code && op != "head" { // to which MinIO does not always say a code
		n.t.Errorf("%.60q: %s: %d %s, a MinIO %d %s", n.name, op, b.seal.status, b.seal.code, b.ref.status, b.ref.code)
	} else if seal, ref := namesListed(b.seal.body), namesListed(b.ref.body); !slices.Equal(seal, ref) {
		n.t.Errorf("%.60q: %s: %.200q, a MinIO %.200q", n.name, op, seal, ref)
	}
	return b
}

var listedElement = regexp.MustCompile(`(?s)<(Key|Size|Prefix|StartAfter|Marker|KeyMarker|IsTruncated|PartNumber)>.*?<`)

// namesListed is what clients do something with: keys as they are said, sizes, prefixes.
func namesListed(document []byte) (all []string) {
	if bytes.Contains(document, []byte("<Error>")) {
		return nil
	}
	for _, m := range listedElement.FindAll(document, -1) {
		all = append(all, string(m))
	}
	return all
}

func (n *naming) object(op, method, key, q string, body []byte, header ...string) both {
	n.t.Helper()
	r := request{method: method, bucket: n.bucket, path: "/" + n.bucket + "/" + escapePath(key), query: q, body: body, header: with(nil, header...)}
	seal := n.side[0].do(n.t, n.fill(0, r))
	// A MinIO that encrypts cannot read everything that it writes under odd names.
	r.header = with(nil, header...)
	delete(r.header, "X-Amz-Server-Side-Encryption")
	return n.same(op, both{n.exchange, seal, n.side[1].do(n.t, n.fill(1, r))})
}

// read holds what was stored against what is read under a key.
func (n *naming) read(op, key string) {
	n.t.Helper()
	b := n.object(op, http.MethodGet, key, "", nil)
	if nameDifference(n.name, op) == "" && b.ref.status == http.StatusOK && !bytes.Equal(b.seal.body, b.ref.body) {
		n.t.Errorf("%.60q: %s %.60q: %d bytes, a MinIO %d", n.name, op, key, len(b.seal.body), len(b.ref.body))
	}
}

// readEverywhere reads under every name that the object may have, and those that
// the listing shows.
func (n *naming) readEverywhere(op string) {
	n.t.Helper()
	aliases := []string{n.name, "/" + n.name, "//" + n.name, strings.TrimLeft(n.name, "/")}
	if stem, ok := strings.CutSuffix(n.name, "/"); ok {
		aliases = append(aliases, stem+"__XLDIR__", "/"+stem+"__XLDIR__")
	}
	if stem, ok := strings.CutSuffix(n.name, "__XLDIR__"); ok {
		aliases = append(aliases, stem+"/", "//"+stem+"/")
	}
	for _, alias := range aliases {
		if alias != "" {
			n.read(op+" as", alias)
		}
	}
	b := n.list(op+" list", "list-type=2&encoding-type=url")
	for _, m := range regexp.MustCompile(`<Key>(.*?)</Key>`).FindAllSubmatch(b.seal.body, -1) {
		if key, err := url.QueryUnescape(string(m[1])); err == nil {
			n.read(op+" as listed", key)
		}
	}
}

func (n *naming) list(op, q string) both {
	n.t.Helper()
	return n.same(op, n.send(request{method: http.MethodGet, bucket: n.bucket, query: q}))
}

func (n *naming) lists() {
	n.t.Helper()
	raw := strings.ReplaceAll(url.QueryEscape(n.name), "+", "%20")
	for _, q := range []string{
		"list-type=2&prefix=", "list-type=2&encoding-type=url&start-after=", "delimiter=%2F&encoding-type=url&prefix=", "encoding-type=url&marker=",
		"encoding-type=url&versions=&prefix=", "encoding-type=url&versions=&key-marker=",
	} {
		n.list("list "+q, q+raw)
	}
	for _, q := range []string{"list-type=2&encoding-type=url&delimiter=%2F", "encoding-type=url&versions="} {
		n.list("list "+q, q)
	}
}

func (n *naming) delete(op string) {
	n.t.Helper()
	n.object(op, http.MethodDelete, n.name, "", nil)
	n.list(op+" list", "list-type=2&encoding-type=url")
}

// walk stores, reads, lists, copies and deletes under the name.
func (n *naming) walk() {
	n.t.Helper()
	sse := []string{"X-Amz-Server-Side-Encryption", "AES256"}
	n.object("put", http.MethodPut, n.name, "", n.data, sse...)
	n.object("head", http.MethodHead, n.name, "", nil)
	n.object("range", http.MethodGet, n.name, "", nil, "Range", "bytes=3-5")
	n.object("attributes", http.MethodGet, n.name, "attributes=", nil, "X-Amz-Object-Attributes", "ObjectSize")
	n.object("put tags", http.MethodPut, n.name, "tagging=", []byte("<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>"))
	n.object("get tags", http.MethodGet, n.name, "tagging=", nil)
	n.readEverywhere("put")
	n.lists()
	n.object("copy from", http.MethodPut, "copy", "", nil, append(sse, "X-Amz-Copy-Source", "/"+n.bucket+"/"+escapePath(n.name))...)
	n.object("copy onto itself", http.MethodPut, "/"+n.name, "", nil,
		append(sse, "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Copy-Source", "/"+n.bucket+"/"+escapePath(n.name))...)
	n.readEverywhere("copied onto itself")
	n.read("copied", "copy")
	n.delete("delete")
	n.object("put source", http.MethodPut, "source", "", n.data, sse...)
	n.object("copy to", http.MethodPut, n.name, "", nil, append(sse, "X-Amz-Copy-Source", "/"+n.bucket+"/source")...)
	n.readEverywhere("copy to")
	n.deleteMany()
	n.form()
	n.upload()
}

func (n *naming) deleteMany() {
	n.t.Helper()
	key := strings.NewReplacer("&", "&amp;", "<", "&lt;", "\r", "&#13;").Replace(n.name)
	body := "<Delete><Object><Key>" + key + "</Key></Object></Delete>"
	n.same("delete many", n.send(withBody(http.MethodPost, n.bucket, "", "delete=", body)))
	n.list("delete many list", "list-type=2&encoding-type=url")
}

func (n *naming) form() {
	n.t.Helper()
	for _, f := range []postForm{
		{fields: [][2]string{{"key", n.name}}, file: n.data},
		{fields: [][2]string{{"key", "/x/" + "${filename}"}}, file: n.data, fileName: "picture.png"},
	} {
		if strings.Contains(n.name, "$") {
			continue
		}
		send := func(side int, f postForm) answer {
			return n.side[side].anonymous().do(n.t, f.request(n.side[side], n.bucket))
		}
		encrypted := f
		encrypted.fields = append([][2]string{{"x-amz-server-side-encryption", "AES256"}}, f.fields...)
		n.same("form", both{n.exchange, send(0, encrypted), send(1, f)})
	}
	n.read("form", n.name)
	n.read("form with a file's name", "x/picture.png")
	n.delete("delete form's")
}

func (n *naming) upload() {
	n.t.Helper()
	b := n.object("upload", http.MethodPost, n.name, "uploads=", nil, "X-Amz-Server-Side-Encryption", "AES256")
	if b.seal.status != http.StatusOK || b.ref.status != http.StatusOK {
		n.object("no upload", http.MethodGet, n.name, "uploadId=bm9uZQ", nil)
		return
	}
	b.keepElement("upload", "UploadId")
	n.list("uploads", "encoding-type=url&uploads=&prefix="+escapePath(strings.TrimLeft(n.name, "/")))
	part := n.object("part", http.MethodPut, "/"+n.name, "partNumber=1&uploadId={upload}", n.data)
	n.object("parts", http.MethodGet, n.name, "uploadId={upload}", nil)
	n.object("copied part", http.MethodPut, n.name, "partNumber=2&uploadId={upload}", nil, "X-Amz-Copy-Source", "/"+n.bucket+"/source")
	if part.seal.status == http.StatusOK {
		part.keep("etag", "Etag")
		n.object("complete", http.MethodPost, n.name, "uploadId={upload}",
			[]byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"))
		n.readEverywhere("complete")
		n.delete("delete upload's")
	}
	b = n.object("upload", http.MethodPost, n.name, "uploads=", nil)
	b.keepElement("upload", "UploadId")
	n.object("abort", http.MethodDelete, "/"+n.name, "uploadId={upload}", nil)
}

// Whatever a key looks like: the proxy answers as a MinIO, and what was stored under
// one of an object's names can be read under all of them.
func TestNamesAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	names := oddNames()
	if len(names) < 200 {
		t.Fatalf("%d names", len(names))
	}
	const groups = 8
	for group := range groups {
		t.Run(fmt.Sprint("group ", group), func(t *testing.T) {
			t.Parallel()
			for i := group; i < len(names); i += groups {
				x := newExchange(t)
				n := &naming{exchange: x, bucket: x.bucket(), name: names[i], data: []byte("data of " + names[i])}
				n.walk()
			}
		})
	}
}

// The sweep asks for an object by the name that MinIO has it under, and leaves what
// MinIO does not list: below a key that exists, and below what looks like its folders.
func TestSweepKnowsOddNames(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	h.root.do(t, withBody(http.MethodPut, bucket, "", "versioning=", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")).wantStatus(t, http.StatusOK)
	type version struct {
		key, id string
		data    []byte
	}
	var versions []version
	for i, key := range []string{"/dir/a", "dir/b", "//c//d", "folder/", "other__XLDIR__", "f__XLDIR__/x", "g/__XLDIR__", "parent/child", "deep/a/b/c", "/up"} {
		for n := range 3 {
			seed := uint64(10*i + n) //nolint:gosec // small
			v := version{key: key, data: testData(300_000, seed)}
			if key == "/up" {
				u := h.root.createUpload(t, bucket, key, nil)
				u.put(t, 1, v.data)
				u.complete(t)
				v.id = h.root.do(t, request{method: http.MethodHead, bucket: bucket, key: "up"}).header.Get("X-Amz-Version-Id")
			} else {
				v.id = h.root.put(t, bucket, key, v.data, nil).wantStatus(t, http.StatusOK).header.Get("X-Amz-Version-Id")
			}
			if v.id == "" && n > 0 { // a folder has one version
				versions = versions[:len(versions)-1]
			}
			versions = append(versions, v)
		}
	}
	for _, parent := range []string{"parent", "deep/a"} {
		h.root.put(t, bucket, parent, []byte("it hides what is below"), nil).wantStatus(t, http.StatusOK)
	}
	h.root.do(t, request{method: http.MethodDelete, bucket: bucket, key: "deep/a"}).wantStatus(t, http.StatusNoContent)
	h.root.put(t, bucket, "gone", testData(300_000, 99), nil).wantStatus(t, http.StatusOK)
	gone := h.root.do(t, request{method: http.MethodHead, bucket: bucket, key: "gone"}).header.Get("X-Amz-Version-Id")
	h.root.do(t, request{method: http.MethodDelete, bucket: bucket, key: "gone", query: query("versionId", gone)}).wantStatus(t, http.StatusNoContent)

	h.seal.kill()
	h.stack.restart(t)
	h.root = h.client()
	out := h.stack.sweepNow(t)
	if !strings.Contains(out, "gone") {
		t.Errorf("sweep: %s", out)
	}
	for _, v := range versions {
		a := h.root.do(t, request{method: http.MethodGet, bucket: bucket, key: v.key, query: query("versionId", v.id)})
		if a.status != http.StatusOK || !bytes.Equal(a.body, v.data) {
			t.Errorf("%s, version %s: %d %s, %d bytes, after a sweep that removed\n%s", v.key, v.id, a.status, a.code, len(a.body), out)
		}
	}
}
