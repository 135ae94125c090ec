package integration

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// exchange sends the same requests to the proxy and to a MinIO that encrypts by
// itself, and compares what comes back: status, code, message, headers and
// body. What every server draws for itself (ETags that are no MD5, version ids)
// must correspond: two answers of the proxy agree wherever the MinIO's agree.
type exchange struct {
	t *testing.T
	// side holds the proxy and the reference, in that order.
	side [2]*client
	// vars are the values that {name} in a request stands for, on each side.
	vars [2]map[string]string
	// drawn has the proxy's value for each that the reference drew.
	drawn map[string]string
}

func newExchange(t *testing.T) *exchange {
	t.Helper()
	p := sharedPair(t)
	return &exchange{
		t: t, side: [2]*client{p.seal, p.reference},
		vars:  [2]map[string]string{{}, {}},
		drawn: map[string]string{},
	}
}

// as returns the exchange with another credential; values are shared.
func (x *exchange) as(access, secret string) *exchange {
	other := *x
	for i := range other.side {
		other.side[i] = x.side[i].as(access, secret)
	}
	return &other
}

// bucket creates a bucket of the same name on both sides.
func (x *exchange) bucket(header ...string) string {
	x.t.Helper()
	name := bucketName(x.t)
	x.do("create bucket", request{method: http.MethodPut, bucket: name, header: with(nil, header...)}).ok()
	return name
}

// both is a pair of answers.
type both struct {
	x         *exchange
	seal, ref answer
}

// do sends r to both and compares the answers. label names the step for the list
// of differences.
func (x *exchange) do(label string, r request) both {
	x.t.Helper()
	b := x.send(r)
	x.compare(label, b)
	return b
}

// send sends r to both and compares nothing.
func (x *exchange) send(r request) both {
	x.t.Helper()
	return both{x, x.side[0].do(x.t, x.fill(0, r)), x.side[1].do(x.t, x.fill(1, r))}
}

// fill puts one side's values into a request.
func (x *exchange) fill(side int, r request) request {
	var pairs []string
	for name, value := range x.vars[side] {
		pairs = append(pairs, "{"+name+"}", value)
	}
	replace := strings.NewReplacer(pairs...)
	r.query = replace.Replace(r.query)
	r.body = []byte(replace.Replace(string(r.body)))
	header := make(map[string]string, len(r.header))
	for name, value := range r.header {
		header[name] = replace.Replace(value)
	}
	r.header = header
	return r
}

// ok ends the test if the proxy did not do what was asked.
func (b both) ok() both {
	b.x.t.Helper()
	if b.seal.status >= 300 || b.ref.status >= 300 {
		b.x.t.Fatalf("%s: %d %s %s, a MinIO: %d %s %s", b.seal.what, b.seal.status, b.seal.code, b.seal.message, b.ref.status, b.ref.code, b.ref.message)
	}
	return b
}

// status checks what both answered: that the case is the one the test means.
func (b both) status(status int, code string) both {
	b.x.t.Helper()
	if b.ref.status != status || code != "" && b.ref.code != code {
		b.x.t.Errorf("%s: a MinIO answers %d %s, the test means %d %s", b.ref.what, b.ref.status, b.ref.code, status, code)
	}
	return b
}

// keep lets {name} stand for a header of each side's answer.
func (b both) keep(name, header string) both {
	b.x.t.Helper()
	for i, a := range []answer{b.seal, b.ref} {
		if a.header.Get(header) == "" {
			b.x.t.Errorf("%s: no header %s", a.what, header)
		}
		b.x.vars[i][name] = a.header.Get(header)
	}
	return b
}

// keepElement lets {name} stand for an element of each side's XML.
func (b both) keepElement(name, element string) both {
	b.x.t.Helper()
	for i, a := range []answer{b.seal, b.ref} {
		m := regexp.MustCompile("<" + element + ">([^<]*)</" + element + ">").FindSubmatch(a.body)
		if m == nil {
			b.x.t.Fatalf("%s: no element %s in %s", a.what, element, a.body)
		}
		b.x.vars[i][name] = string(m[1])
	}
	return b
}

// quietHeaders say who answered and when, not what.
var quietHeaders = []string{
	"Server", "Date", "Vary", "X-Amz-Request-Id", "X-Amz-Id-2", "X-Content-Type-Options", "X-Xss-Protection",
	"Strict-Transport-Security", "X-Ratelimit-Limit", "X-Ratelimit-Remaining", "Connection", "Transfer-Encoding",
}

// compare reports every field in which the proxy's answer is not the
// reference's, but for those in the list of differences.
func (x *exchange) compare(label string, b both) {
	x.t.Helper()
	x.field(label, "status", b, fmt.Sprint(b.seal.status), fmt.Sprint(b.ref.status))
	x.field(label, "code", b, b.seal.code, b.ref.code)
	x.field(label, "message", b, b.seal.message, b.ref.message)
	if b.seal.status != b.ref.status {
		return
	}
	document := bytes.HasPrefix(b.ref.body, []byte("<?xml")) && bytes.HasPrefix(b.seal.body, []byte("<?xml"))
	names := map[string]bool{}
	for _, h := range []http.Header{b.seal.header, b.ref.header} {
		for name := range h {
			names[name] = !slices.Contains(quietHeaders, name) && (name != "Content-Length" || !document)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if names[name] {
			s, r := strings.Join(b.seal.header.Values(name), ", "), strings.Join(b.ref.header.Values(name), ", ")
			if name == "Accept-Ranges" && !readsObject(b) {
				name += " without an object"
			}
			if strings.HasPrefix(name, "X-Amz-Checksum-") && byDefault(b.seal.header.Get("X-Amz-Checksum-Crc64nvme") != "", b.ref.header) {
				name += " by default"
			}
			x.field(label, "header "+name, b, s, r)
		}
	}
	switch {
	case document:
		x.compareXML(label, b)
	case !bytes.Equal(b.seal.body, b.ref.body):
		x.field(label, "body", b, fmt.Sprintf("%d bytes %.60q", len(b.seal.body), b.seal.body), fmt.Sprintf("%d bytes %.60q", len(b.ref.body), b.ref.body))
	}
}

// byDefault says whether a CRC64NVME is what every write gets: a MinIO says nothing of any.
func byDefault(told bool, ref http.Header) bool {
	for name := range ref {
		told = told && !strings.HasPrefix(name, "X-Amz-Checksum-")
	}
	return told
}

// readsObject says whether an object was read.
func readsObject(b both) bool {
	return b.ref.status < 300 && b.ref.header.Get("Etag") != "" && (strings.HasPrefix(b.ref.what, "GET ") || strings.HasPrefix(b.ref.what, "HEAD "))
}

func (x *exchange) compareXML(label string, b both) {
	x.t.Helper()
	seal, err := flatten(b.seal.body)
	if err != nil {
		x.t.Errorf("%s: %s: %v in %.2000q", label, b.seal.what, err, b.seal.body)
		return
	}
	ref, err := flatten(b.ref.body)
	if err != nil {
		x.field(label, "body", b, "XML", "broken XML")
		return
	}
	paths := maps.Clone(seal)
	maps.Copy(paths, ref)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		s, inSeal := seal[path]
		r, inRef := ref[path]
		if !inSeal {
			s = "nothing"
		}
		if !inRef {
			r = "nothing"
			if elementsByDefault.MatchString(path) && !bytes.Contains(b.ref.body, []byte("<Checksum")) {
				path += " by default"
			}
		}
		x.field(label, "body "+path, b, s, r)
	}
}

// field compares one field.
func (x *exchange) field(label, field string, b both, seal, ref string) {
	x.t.Helper()
	seal, ref = listingCache.ReplaceAllString(seal, ""), listingCache.ReplaceAllString(ref, "")
	if x.same(field, seal, ref) {
		return
	}
	if _, ok := differenceFor(label, field); !ok {
		x.t.Errorf("%s: %s: %s:\n     got %q\n a MinIO %q", label, b.seal.what, field, seal, ref)
	}
}

var (
	times      = regexp.MustCompile(`^([A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z)$`)
	timeFields = regexp.MustCompile(`(LastModified|Last-Modified|RetainUntilDate|Retain-Until-Date)$`)
	// listingCache is what MinIO adds to a marker for itself.
	listingCache = regexp.MustCompile(`(\[|%5B)minio_cache.*$`)
	drawnField   = regexp.MustCompile(`(ETag|Etag|VersionId|VersionIdMarker|Version-Id)$`)
	// Code and Message are compared by themselves.
	quietField = regexp.MustCompile(`/(RequestId|HostId|Internal/[KM]|Error/Code|Error/Message)$`)
	tokenField = regexp.MustCompile(`/(NextContinuationToken|ContinuationToken)$`)
)

// elementsByDefault are those that tell the CRC64NVME of every write, but for listings.
var elementsByDefault = regexp.MustCompile(`^/[A-Za-z]+(/Checksum)?/Checksum(CRC64NVME|Type)$`)

// same says whether two values say the same in a field.
func (x *exchange) same(field, seal, ref string) bool {
	switch {
	case seal == ref && !drawnField.MatchString(field), quietField.MatchString(field):
		return true
	case tokenField.MatchString(field):
		return seal != "nothing" && ref != "nothing"
	case timeFields.MatchString(field):
		// Two servers, one after the other: the form is compared, not the second.
		s, r := times.FindStringSubmatch(seal), times.FindStringSubmatch(ref)
		return s != nil && r != nil && len(seal) == len(ref)
	case drawnField.MatchString(field):
		return x.corresponds(seal, ref)
	default:
		return false
	}
}

var md5Form = regexp.MustCompile(`^"?[0-9a-f]{32}"?$`)

// corresponds pairs drawn values: the first time they are taken as they come, if
// they have the same form, afterwards the proxy's must be the same again. Two of
// the reference's may be one of the proxy's: copies of the same ciphertext.
func (x *exchange) corresponds(seal, ref string) bool {
	if strings.HasPrefix(seal, `"`) != strings.HasPrefix(ref, `"`) || len(seal) != len(ref) || md5Form.MatchString(seal) != md5Form.MatchString(ref) {
		return false
	}
	if seal, ref = strings.Trim(seal, `"`), strings.Trim(ref, `"`); seal == ref {
		return true
	}
	known, ok := x.drawn[ref]
	if !ok {
		x.drawn[ref] = seal
		return true
	}
	return known == seal
}

// flatten turns an XML document into its leaves, by path; elements of one name
// are numbered, and their order among others does not count.
func flatten(doc []byte) (map[string]string, error) {
	type node struct {
		path  string
		text  strings.Builder
		count map[string]int
		leaf  bool
	}
	leaves := map[string]string{}
	stack := []*node{{count: map[string]int{}}}
	// S3 servers write control characters as references, which XML 1.0 has not.
	dec := xml.NewDecoder(bytes.NewReader(bytes.ReplaceAll(doc, []byte("&#x1;"), []byte("[0x01]"))))
	for {
		token, err := dec.Token()
		if err == io.EOF {
			return leaves, nil
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch t := token.(type) {
		case xml.StartElement:
			top.leaf = false
			if len(stack) == 1 {
				leaves["root"] = t.Name.Local
				t.Name.Local = strings.ToUpper(t.Name.Local[:1]) + t.Name.Local[1:]
			}
			path := top.path + "/" + t.Name.Local
			if n := top.count[t.Name.Local]; n > 0 {
				path = fmt.Sprintf("%s[%d]/%s", top.path, n, t.Name.Local)
			}
			top.count[t.Name.Local]++
			stack = append(stack, &node{path: path, count: map[string]int{}, leaf: true})
		case xml.CharData:
			top.text.Write(t)
		case xml.EndElement:
			if top.leaf {
				leaves[top.path] = top.text.String()
			}
			stack = stack[:len(stack)-1]
		}
	}
}
