package integration

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// uploadExchange is an upload of the same parts to the proxy and to a MinIO that
// encrypts by itself. Upload ids are hidden before the answers are compared.
type uploadExchange struct {
	*exchange
	bucket, key string
	m           mode
	ids         []string // names of the upload ids seen
}

func (x *exchange) upload(label, bucket, key string, m mode, header ...map[string]string) *uploadExchange {
	x.t.Helper()
	u := &uploadExchange{exchange: x, bucket: bucket, key: key, m: m}
	u.create(label, "upload", header...).ok()
	return u
}

// create begins an upload whose id is {id} from now on.
func (u *uploadExchange) create(label, id string, header ...map[string]string) both {
	u.t.Helper()
	b := u.send(request{method: http.MethodPost, bucket: u.bucket, key: u.key, query: "uploads=", header: join(append(header, u.m.put)...)})
	if b.seal.status == http.StatusOK && b.ref.status == http.StatusOK {
		b.keepElement(id, "UploadId")
		u.ids = append(u.ids, id)
	}
	return u.checked(label, b)
}

// checked compares the answers without the upload ids.
func (u *uploadExchange) checked(label string, b both) both {
	u.t.Helper()
	for i, a := range []*answer{&b.seal, &b.ref} {
		for _, id := range u.ids {
			a.body = bytes.ReplaceAll(a.body, []byte(u.vars[i][id]), []byte("{"+id+"}"))
		}
		a.body = bytes.ReplaceAll(a.body, []byte(u.side[i].endpoint), []byte("{endpoint}"))
	}
	u.compare("mp "+label, b)
	return b
}

// do sends a request about the upload {upload}; pairs are further parameters.
func (u *uploadExchange) do(label, method string, body []byte, header map[string]string, pairs ...string) both {
	u.t.Helper()
	q := query(append(pairs, "uploadId", "UPLOAD")...)
	r := request{method: method, bucket: u.bucket, key: u.key, query: strings.Replace(q, "UPLOAD", "{upload}", 1), body: body, header: header}
	return u.checked(label, u.send(r))
}

// part uploads a part; its ETag is {eNUMBER} from now on.
func (u *uploadExchange) part(label string, number int, data []byte, header ...map[string]string) both {
	u.t.Helper()
	b := u.do(label, http.MethodPut, data, join(append(header, u.m.read)...), "partNumber", fmt.Sprint(number))
	if b.seal.status == http.StatusOK && b.ref.status == http.StatusOK {
		b.keep(fmt.Sprint("e", number), "Etag")
	}
	return b
}

// xmlOf is the body of a Complete with these parts, each with the ETag {eNUMBER}.
func xmlOf(numbers ...int) string {
	var b strings.Builder
	b.WriteString("<CompleteMultipartUpload>")
	for _, n := range numbers {
		fmt.Fprintf(&b, "<Part><PartNumber>%d</PartNumber><ETag>{e%d}</ETag></Part>", n, n)
	}
	return b.String() + "</CompleteMultipartUpload>"
}

func (u *uploadExchange) complete(label, body string, header ...map[string]string) both {
	u.t.Helper()
	return u.do(label, http.MethodPost, []byte(body), join(append(header, u.m.read)...))
}

func (u *uploadExchange) object(label, method string, header map[string]string, pairs ...string) both {
	u.t.Helper()
	return u.checked(label, u.send(request{method: method, bucket: u.bucket, key: u.key, query: query(pairs...), header: join(header, u.m.read)}))
}

func TestUploadsInPartsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	for _, m := range allModes() {
		t.Run(m.name, func(t *testing.T) {
			x := newExchange(t)
			bucket := x.bucket()
			u := x.upload("create "+m.name, bucket, "a/key with ü", m, map[string]string{
				"Content-Type": "text/x-y", "X-Amz-Meta-Colour": "blue", "X-Amz-Tagging": "a=b&c=d", "Cache-Control": "max-age=3",
				"Content-Disposition": "inline", "Content-Language": "de", "Content-Encoding": "gzip",
			})
			u.uploadParts()
			u.listParts()
			u.badCompletes()
			u.complete("complete", xmlOf(2, 5)).ok()
			u.readParts()
			u.copyParts()
			u.complete("complete again", xmlOf(2, 5))
			u.part("part after complete", 1, []byte("x"))
			u.do("list parts after complete", http.MethodGet, nil, nil)
			u.do("abort after complete", http.MethodDelete, nil, nil)
			u.create("create to abort", "upload").ok()
			u.part("part to abort", 1, []byte("x")).ok()
			u.do("abort", http.MethodDelete, nil, nil).ok()
			u.do("abort again", http.MethodDelete, nil, nil)
			u.part("part after abort", 1, []byte("x"))
			u.complete("complete after abort", xmlOf(1))
			u.create("create empty", "upload").ok()
			u.part("empty part", 1, nil).ok()
			u.do("list empty part", http.MethodGet, nil, nil)
			u.complete("complete empty", xmlOf(1)).ok()
			u.object("get empty", http.MethodGet, nil)
			u.object("head empty", http.MethodHead, nil)
			u.object("get part of empty", http.MethodGet, nil, "partNumber", "1")
			u.object("attributes of empty", http.MethodGet, map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize,ObjectParts"}, "attributes", "")
		})
	}
}

// uploadParts sends parts 9, 2, 5 and 5 again: with gaps and in no order.
func (u *uploadExchange) uploadParts() {
	u.t.Helper()
	u.part("small part", 9, partData(10, 1)).ok()
	u.part("part", 2, partData(minPart+1, 2)).ok()
	u.part("part with MD5", 5, partData(2*packageSize, 3), map[string]string{"Content-Md5": contentMD5(partData(2*packageSize, 3))}).ok().keep("stale", "Etag")
	u.part("part again", 5, partData(packageSize+7, 4)).ok()
	u.part("part with wrong MD5", 5, partData(100, 5), map[string]string{"Content-Md5": contentMD5([]byte("other"))})
	u.part("part with bad MD5", 5, partData(100, 5), map[string]string{"Content-Md5": "x"})
	for _, n := range []string{"0", "-1", "10001", "x", ""} {
		u.do("part number "+n, http.MethodPut, []byte("x"), u.m.read, "partNumber", n)
	}
}

func (u *uploadExchange) listParts() {
	u.t.Helper()
	for _, pairs := range [][]string{
		nil,
		{"max-parts", "1"},
		{"max-parts", "2"},
		{"max-parts", "3"},
		{"max-parts", "0"},
		{"max-parts", "-1"},
		{"max-parts", "x"},
		{"max-parts", "5000"},
		{"part-number-marker", "2"},
		{"part-number-marker", "3"},
		{"part-number-marker", "9"},
		{"part-number-marker", "20000"},
		{"part-number-marker", "-1"},
		{"part-number-marker", "x"},
		{"max-parts", "1", "part-number-marker", "2"},
	} {
		u.do(fmt.Sprint("list parts ", pairs), http.MethodGet, nil, nil, pairs...)
	}
}

func (u *uploadExchange) badCompletes() {
	u.t.Helper()
	part := func(number, etag string) string {
		return "<Part><PartNumber>" + number + "</PartNumber><ETag>" + etag + "</ETag></Part>"
	}
	list := func(parts ...string) string {
		return "<CompleteMultipartUpload>" + strings.Join(parts, "") + "</CompleteMultipartUpload>"
	}
	for _, tc := range []struct{ name, body string }{
		{"stale ETag", list(part("2", "{e2}"), part("5", "{stale}"))},
		{"wrong ETag", list(part("2", "0123456789abcdef0123456789abcdef"))},
		{"no ETag", list(part("2", ""))},
		{"ETag of another part", list(part("2", "{e5}"))},
		{"part never sent", list(part("2", "{e2}"), part("3", "{e2}"))},
		{"wrong order", list(part("5", "{e5}"), part("2", "{e2}"))},
		{"part 0", list(part("0", "{e2}"))},
		{"part -1", list(part("-1", "{e2}"))},
		{"part 10001", list(part("2", "{e2}"), part("10001", "{e2}"))},
		{"part x", list(part("x", "{e2}"))},
		{"small part in the middle", xmlOf(2, 5, 9)},
		{"two small parts", xmlOf(5, 9)},
		{"no parts", list()},
		{"no XML", "parts"},
		{"cut XML", "<CompleteMultipartUpload><Part>"},
		{"other XML", "<Complete><Part></Part></Complete>"},
		{"empty body", ""},
	} {
		u.complete("bad complete: "+tc.name, tc.body)
	}
	u.object("get of unfinished", http.MethodGet, nil)
	u.do("list parts after bad completes", http.MethodGet, nil, nil)
}

func (u *uploadExchange) readParts() {
	u.t.Helper()
	u.object("get", http.MethodGet, nil).ok()
	u.object("head", http.MethodHead, nil).ok()
	for _, n := range []string{"1", "2", "5", "9", "0", "10001", "x"} {
		u.object("get part "+n, http.MethodGet, nil, "partNumber", n)
		u.object("head part "+n, http.MethodHead, nil, "partNumber", n)
	}
	u.object("get part and range", http.MethodGet, map[string]string{"Range": "bytes=0-1"}, "partNumber", "2")
	const first, size = minPart + 1, minPart + 1 + packageSize + 7
	for _, r := range []string{
		"0-0", fmt.Sprintf("%d-%d", first-1, first), fmt.Sprintf("%d-%d", first-packageSize-3, first+packageSize+1), fmt.Sprintf("%d-", first),
		fmt.Sprintf("-%d", packageSize+8), fmt.Sprintf("%d-%d", size-1, size+5), fmt.Sprintf("%d-", size), "-0",
	} {
		u.object("get range "+r, http.MethodGet, map[string]string{"Range": "bytes=" + r})
		u.object("mp head range "+r, http.MethodHead, map[string]string{"Range": "bytes=" + r})
	}
	for _, h := range []map[string]string{
		nil,
		{"X-Amz-Max-Parts": "1"},
		{"X-Amz-Max-Parts": "1", "X-Amz-Part-Number-Marker": "2"},
		{"X-Amz-Part-Number-Marker": "5"},
		{"X-Amz-Part-Number-Marker": "3"},
		{"X-Amz-Max-Parts": "0"},
		{"X-Amz-Max-Parts": "-1"},
		{"X-Amz-Max-Parts": "x"},
		{"X-Amz-Part-Number-Marker": "x"},
		{"X-Amz-Part-Number-Marker": "-1"},
	} {
		u.object(fmt.Sprint("attributes of parts ", h), http.MethodGet, with(h, "X-Amz-Object-Attributes", "ETag,Checksum,ObjectSize,ObjectParts,StorageClass"), "attributes", "")
	}
	u.object("tags", http.MethodGet, nil, "tagging", "")
	for _, q := range []string{"list-type=2", "", "versions="} {
		u.checked("list "+q, u.send(request{method: http.MethodGet, bucket: u.bucket, query: q}))
	}
}

// copyParts copies the object into every mode: whole, and from there on.
func (u *uploadExchange) copyParts() {
	u.t.Helper()
	const first = minPart + 1
	for _, to := range allModes() {
		key := "copy-" + to.name
		label := "copy " + u.m.name + " to " + to.name
		u.checked(label+" of parts", u.send(copyOf(u.bucket+"/"+strings.ReplaceAll(escapePath(u.key), "%", "%"), u.bucket, key, ofSource(u.m.read), to.put))).ok()
		copied := &uploadExchange{exchange: u.exchange, bucket: u.bucket, key: key, m: to}
		copied.object(label+" of parts, get", http.MethodGet, nil)
		copied.object(label+" of parts, head", http.MethodHead, nil)
		copied.object(label+" of parts, get range", http.MethodGet, map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", first-5, first+packageSize+3)})
		copied.object(label+" of parts, get part", http.MethodGet, nil, "partNumber", "1")
		copied.object(label+" of parts, head part 2", http.MethodHead, nil, "partNumber", "2")
		copied.object(label+" of parts, attributes", http.MethodGet, map[string]string{"X-Amz-Object-Attributes": "ETag,ObjectSize,ObjectParts"}, "attributes", "")
		u.checked(label+" of parts, on", u.send(copyOf(u.bucket+"/"+key, u.bucket, key+"-again", ofSource(to.read), to.put))).ok()
		copied.key += "-again"
		copied.object(label+" of parts, on, get", http.MethodGet, nil)
	}
	u.checked("list copies of parts", u.send(request{method: http.MethodGet, bucket: u.bucket, query: "list-type=2"}))
}
