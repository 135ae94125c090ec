package integration

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// copiedParts is the part size of the copies that these tests make themselves.
const copiedParts = 6 << 20

// copyOver uploads a raw object anew where it lies, as tools do that copy over S3: the
// bytes and the metadata are as before, the parts and the ETag are not.
func copyOver(t *testing.T, raw *client, bucket, key string, data []byte) {
	t.Helper()
	head := raw.head(t, bucket, key, nil).wantStatus(t, http.StatusOK)
	record := url.Values{"uploads": {""}}
	for name := range head.header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			record.Set(name, head.header.Get(name))
		}
	}
	created := raw.do(t, request{method: http.MethodPost, bucket: bucket, key: key, query: strings.ReplaceAll(record.Encode(), "+", "%20")})
	u := uploadOf(t, raw, bucket, key, created.wantStatus(t, http.StatusOK))
	for n, rest := 1, data; len(rest) > 0; n++ {
		size := min(copiedParts, len(rest))
		u.put(t, n, rest[:size])
		rest = rest[size:]
	}
	if u.complete(t) == head.header.Get("Etag") {
		t.Fatalf("%s/%s: the copy has the ETag of the upload", bucket, key)
	}
}

// forget starts the proxy again: it remembers manifests.
func (h *hostile) forget(t *testing.T) {
	t.Helper()
	h.seal.kill()
	h.stack.restart(t)
	h.root = h.client()
}

// restored is an object of parts that is to survive a copy.
type restored struct {
	bucket, key, etag string
	read              map[string]string
	parts             [][]byte
}

// want reads the object in every way that needs its parts.
func (r restored) want(t *testing.T, c *client) {
	t.Helper()
	etag := r.etag
	c.get(t, r.bucket, r.key, r.read).wantHeader(t, map[string]string{"X-Bucketseal-Manifest": "restored"})
	wantObject(t, c, r.bucket, r.key, etag, r.read, r.parts...)
	c.get(t, r.bucket, r.key, with(r.read, "If-Match", etag)).wantStatus(t, http.StatusOK)
	for i, part := range r.parts {
		c.do(t, request{method: http.MethodGet, bucket: r.bucket, key: r.key, query: fmt.Sprintf("partNumber=%d", 2*i+2), header: r.read}).
			wantStatus(t, http.StatusPartialContent).wantBody(t, part)
	}
	var attributes struct {
		ObjectSize int64
		Parts      []struct {
			PartNumber int
			Size       int64
		} `xml:"ObjectParts>Part"`
	}
	a := c.do(t, request{
		method: http.MethodGet, bucket: r.bucket, key: r.key, query: "attributes=",
		header: with(r.read, "X-Amz-Object-Attributes", "ObjectParts,ObjectSize"),
	}).wantStatus(t, http.StatusOK)
	if err := xml.Unmarshal(a.body, &attributes); err != nil || len(attributes.Parts) != len(r.parts) || attributes.Parts[1].Size != int64(len(r.parts[1])) {
		t.Errorf("%s: attributes %s (%v)", r.key, a.body, err)
	}
}

// uploadRestored makes an object of parts of odd sizes.
func uploadRestored(t *testing.T, c *client, bucket, key string, put, read map[string]string, seed uint64) (restored, *mp) {
	t.Helper()
	r := restored{bucket: bucket, key: key, read: read}
	r.parts = [][]byte{partData(minPart+1, seed), partData(minPart+packageSize, seed+1), partData(77, seed+2)}
	u := c.createUpload(t, bucket, key, put)
	u.read = read
	for i, part := range r.parts {
		u.put(t, 2*i+2, part)
	}
	r.etag = u.complete(t)
	return r, u
}

func TestRestoredByMCMirror(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	mc := newMC(t, h.stack)
	bucket := newBucket(t, h.root)
	customer := customerKey(6)
	var objects []restored
	for i, m := range []struct {
		key       string
		put, read map[string]string
	}{
		{"s3", sseModes()[0].put, nil},
		{"kms", sseModes()[1].put, nil},
		{"c", customer, customer},
		{"dir/" + strings.Repeat("k", 230), sseModes()[0].put, nil}, // whose manifest has a hashed name
	} {
		o, _ := uploadRestored(t, h.root, bucket, m.key, m.put, m.read, uint64(10*i))
		objects = append(objects, o)
	}
	h.root.do(t, request{method: http.MethodPut, bucket: bucket, key: "copy", header: map[string]string{"X-Amz-Copy-Source": bucket + "/s3"}}).wantStatus(t, http.StatusOK)
	streamed := testData(700_000, 9)
	h.root.put(t, bucket, "streamed", streamed, nil).wantStatus(t, http.StatusOK)

	other, err := startMinIO(filepath.Join(h.dir, "other"), "", false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.kill)
	mc.must(t, "alias", "set", "other", other.endpoint(), rootUser, rootPassword)
	for _, b := range []string{bucket, systemBucket} {
		mc.must(t, "mb", "other/"+b)
		mc.must(t, "mirror", "raw/"+b, "other/"+b)
	}
	// mc's parts are of 16 MiB: one for each of these objects.
	if a, b := h.stack.raw().head(t, bucket, "s3", nil), newClient(other.endpoint(), rootUser, rootPassword).head(t, bucket, "s3", nil); a.header.Get("Etag") == b.header.Get("Etag") {
		t.Errorf("the mirror has the upload's ETag %s: this tests nothing", a.header.Get("Etag"))
	}
	h.seal.kill()
	h.seal.upstream = other.endpoint()
	h.stack.restart(t)
	c := h.client()
	for _, o := range objects {
		o.want(t, c)
	}
	wantObject(t, c, bucket, "copy", objects[0].etag, nil, objects[0].parts...)
	c.do(t, request{method: http.MethodPut, bucket: bucket, key: "again", header: map[string]string{"X-Amz-Copy-Source": bucket + "/s3"}}).wantStatus(t, http.StatusOK)
	wantObject(t, c, bucket, "again", md5ETag(bytes.Join(objects[0].parts, nil)), nil, objects[0].parts...)
	c.get(t, bucket, "streamed", nil).wantStatus(t, http.StatusOK).wantBody(t, streamed).wantHeader(t, map[string]string{"Etag": md5ETag(streamed)})
	if n := strings.Count(h.seal.logSince(0), "restored by copying"); n != len(objects) {
		t.Errorf("%d lines of %d restored objects in the log", n, len(objects))
	}
	if out, err := h.stack.command(t, "object", "rescue", bucket+"/s3"); err == nil || !strings.Contains(err.Error(), "nothing is lost") {
		t.Errorf("rescue of what is not lost: %v %s", err, out)
	}
	h.stack.sweepNow(t)
	h.seal.kill()
	h.stack.restart(t)
	c = h.client()
	for i, entry := range c.list(t, bucket, "list-type", "2").Contents { // all at once, from nothing remembered
		if want := h.clientSize(t, c, bucket, entry.Key, customer); strconv.FormatInt(entry.Size, 10) != want {
			t.Errorf("entry %d of the listing, %s: %d bytes, want %s", i, entry.Key, entry.Size, want)
		}
		if o := slices.IndexFunc(objects, func(o restored) bool { return o.key == entry.Key }); o >= 0 && entry.ETag != objects[o].etag {
			t.Errorf("entry %d of the listing, %s: ETag %s, want %s", i, entry.Key, entry.ETag, objects[o].etag)
		}
	}
	for _, o := range objects {
		o.want(t, c)
	}
	conditionsKnow(t, c, bucket, "kms", objects[1].etag)
}

// conditionsKnow judges conditions on a restored object by the ETag of its upload.
func conditionsKnow(t *testing.T, c *client, bucket, key, etag string) {
	t.Helper()
	source := map[string]string{"X-Amz-Copy-Source": bucket + "/" + key}
	for _, m := range []struct {
		etag        string
		get, copied int
	}{
		{`"other"`, http.StatusOK, http.StatusPreconditionFailed},
		{etag, http.StatusNotModified, http.StatusOK},
	} {
		c.get(t, bucket, key, with(nil, "If-None-Match", m.etag)).wantStatus(t, m.get)
		c.do(t, request{method: http.MethodPut, bucket: bucket, key: "third", header: with(source, "X-Amz-Copy-Source-If-Match", m.etag)}).wantStatus(t, m.copied)
	}
	data := testData(100, 5)
	c.put(t, bucket, key, data, with(nil, "If-Match", `"other"`)).wantStatus(t, http.StatusPreconditionFailed)
	c.put(t, bucket, key, data, with(nil, "If-Match", etag)).wantStatus(t, http.StatusOK) // the object is gone
}

// clientSize is the size that HEAD tells.
func (h *hostile) clientSize(t *testing.T, c *client, bucket, key string, customer map[string]string) string {
	t.Helper()
	var read map[string]string
	if key == "c" {
		read = customer
	}
	return c.head(t, bucket, key, read).wantStatus(t, http.StatusOK).header.Get("Content-Length")
}

func TestRestoredByARawCopyWithOtherPartSizes(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	o, u := uploadRestored(t, h.root, bucket, "k", sseModes()[0].put, nil, 30)
	enc := h.stack.raw().get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).body
	copyOver(t, h.stack.raw(), bucket, "k", enc)
	h.forget(t)
	o.want(t, h.root)
	// The answer to its Complete may have been lost.
	h.root.do(t, u.completeRequest()).wantStatus(t, http.StatusOK)
	// Without the system bucket upstream's parts and ETag are of no help, and say so.
	h.loseManifest(t, bucket, "k")
	h.root.get(t, bucket, "k", nil).wantStatus(t, http.StatusInternalServerError)
	if out, err := h.stack.command(t, "object", "rescue", "--sequential", bucket+"/k"); err == nil || !strings.Contains(err.Error(), "--copied") {
		t.Errorf("rescue of a copy: %v %s", err, out)
	}
	if out, err := h.stack.command(t, "object", "rescue", "--copied", bucket+"/k"); err != nil || !strings.Contains(out, "unproven") {
		t.Errorf("rescue --copied: %v %s", err, out)
	}
	wantObject(t, h.root, bucket, "k", o.etag, nil, o.parts...)
	h.root.get(t, bucket, "k", nil).wantHeader(t, map[string]string{"X-Bucketseal-Manifest": "unproven"})
}

// Two lists of one upload, of the same sizes: MinIO completed the second one, and the
// first one's manifest was written all the same.
func TestRestoredDataTellsRivalCompletesApart(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	parts := [][]byte{partData(minPart, 40), partData(minPart, 41), partData(9000, 42)}
	again := partData(minPart, 43)
	var second [][]byte
	h.up.order(h.sentParts(bucket, "k", 2, &second))
	u := h.root.createUpload(t, bucket, "k", nil)
	for i, part := range parts {
		u.put(t, i+1, part)
	}
	h.up.order(onObject(bucket, "k", "POST", func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}))
	if a := h.root.do(t, u.completeRequest()); a.status == http.StatusOK {
		t.Fatal("Complete worked though upstream refused it")
	}
	h.up.order(nil)
	first, rival := second[0], h.noteOf(t, bucket, "k")
	u.put(t, 2, again)
	etag := u.complete(t)
	parts[1] = again
	if n := len(h.notesOf(t, bucket, "k")); n != 2 {
		t.Fatalf("%d manifests, want those of two lists", n)
	}
	enc := h.stack.raw().get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).body
	size := int(cipherSize(minPart))
	copyOver(t, h.stack.raw(), bucket, "k", enc)
	h.forget(t)
	wantObject(t, h.root, bucket, "k", etag, nil, parts...)
	h.stack.sweepNow(t)
	h.forget(t)
	if l := h.root.list(t, bucket, "list-type", "2"); len(l.Contents) != 1 || l.Contents[0].ETag != etag {
		t.Errorf("LIST says %v, want %s", l.Contents, etag)
	}
	wantObject(t, h.root, bucket, "k", etag, nil, parts...)

	// What no list names stays damage, whatever ETag comes with it.
	for name, forged := range map[string][]byte{
		"parts exchanged":   bytes.Join([][]byte{enc[size : 2*size], enc[:size], enc[2*size:]}, nil),
		"a part twice":      bytes.Join([][]byte{enc[:size], enc[:size], enc[2*size:]}, nil),
		"half of each list": bytes.Join([][]byte{enc[:size], first[:size/2], enc[size+size/2:]}, nil),
		"last one gone":     enc[:2*size],
		"one more":          append(bytes.Clone(enc), enc[2*size:]...),
		"cut":               enc[:len(enc)-1],
	} {
		h.up.order(h.forged(t, bucket, "k", forged))
		for _, rng := range []string{"", fmt.Sprintf("bytes=%d-", 2*minPart-5)} {
			a := h.root.get(t, bucket, "k", with(nil, "Range", rng))
			if rng == "" && a.complete() && a.status < 300 {
				t.Errorf("%s: is read: %d", name, a.status)
			}
			if a.complete() && a.status < 300 && rng != "" && !bytes.HasSuffix(bytes.Join(parts, nil), a.body) {
				t.Errorf("%s: range %s gives other bytes", name, rng)
			}
		}
		h.up.order(nil)
		h.forget(t)
	}
	h.rivalIsNoManifest(t, bucket, rival, etag, parts)
}

// rivalIsNoManifest loses an object's own manifest and leaves its rival's: it is of the
// right size, opens nothing, and is in no rescue's way.
func (h *hostile) rivalIsNoManifest(t *testing.T, bucket, rival, etag string, parts [][]byte) {
	t.Helper()
	for _, note := range h.notesOf(t, bucket, "k") {
		if note != rival {
			h.stack.raw().do(t, request{method: http.MethodDelete, bucket: systemBucket, key: note}).wantStatus(t, http.StatusNoContent)
		}
	}
	h.forget(t)
	h.root.list(t, bucket, "list-type", "2")
	for range 2 {
		if a := h.root.get(t, bucket, "k", nil); a.complete() { // its first part is in both lists
			t.Errorf("read by a rival's manifest: %d bytes", len(a.body))
		}
	}
	// Nor is it copied: nobody could read the copy, whatever was answered.
	for _, mode := range sseModes()[:2] {
		a := h.root.do(t, request{method: http.MethodPut, bucket: bucket, key: "copied", header: with(mode.put, "X-Amz-Copy-Source", bucket+"/k")})
		if bytes.Contains(a.body, []byte("<CopyObjectResult")) {
			t.Errorf("copied by a rival's manifest: %d %s", a.status, a.body)
		}
	}
	if out, err := h.stack.command(t, "object", "rescue", "--copied", bucket+"/k"); err != nil {
		t.Errorf("rescue beside a rival's manifest: %v %s", err, out)
	}
	wantObject(t, h.root, bucket, "k", etag, nil, parts...)
}

// notesOf names an object's manifests.
func (h *hostile) notesOf(t *testing.T, bucket, key string) (names []string) {
	t.Helper()
	a := h.stack.raw().do(t, request{
		method: http.MethodGet, bucket: systemBucket,
		query: query("encoding-type", "url", "list-type", "2", "prefix", "late/"+bucket+"/"+key+"\x01"),
	}).wantStatus(t, http.StatusOK)
	for _, found := range regexp.MustCompile(`<Key>([^<]*)</Key>`).FindAllSubmatch(a.body, -1) {
		name, err := url.QueryUnescape(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// A manifest serves the upload that it was written for, and no other one of the same
// key, under whatever name upstream shows it.
func TestHostileUpstreamExchangesManifestsOfUploads(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	bucket := newBucket(t, h.root)
	raw := h.stack.raw()
	_, _ = uploadRestored(t, h.root, bucket, "k", sseModes()[0].put, nil, 50)
	oldNote := h.noteOf(t, bucket, "k")
	old := raw.get(t, systemBucket, oldNote, nil).wantStatus(t, http.StatusOK)
	oldData := raw.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).body
	h.root.do(t, request{method: http.MethodDelete, bucket: bucket, key: "k"})
	raw.do(t, request{method: http.MethodDelete, bucket: systemBucket, key: oldNote})
	o, _ := uploadRestored(t, h.root, bucket, "k", sseModes()[0].put, nil, 60)
	note := h.noteOf(t, bucket, "k")
	own := raw.get(t, systemBucket, note, nil).wantStatus(t, http.StatusOK)
	put := func(name string, a answer) {
		raw.do(t, request{
			method: http.MethodPut, bucket: systemBucket, key: name, query: query("X-Amz-Meta-Sealed", a.header.Get("X-Amz-Meta-Sealed")), body: a.body,
		}).wantStatus(t, http.StatusOK)
	}
	i := strings.LastIndexByte(note, '-')
	for name, plant := range map[string]func(){
		"the older upload's, under its own name":       func() { put(oldNote, old) },
		"the older upload's, in the place of this one": func() { put(note, old) },
		"the older upload's, under this one's id":      func() { put(note[:i]+"-0123456789abcdef0123456789abcdef-3", old) },
		"its own under another ETag":                   func() { put(note[:i]+"-0123456789abcdef0123456789abcdef-3", own) },
	} {
		raw.do(t, request{method: http.MethodDelete, bucket: systemBucket, key: note})
		plant()
		for _, data := range [][]byte{nil, oldData} {
			h.forget(t)
			if data != nil {
				h.up.order(h.forged(t, bucket, "k", data))
			}
			if a := h.root.get(t, bucket, "k", nil); a.status < 300 && a.complete() {
				t.Errorf("%s: read %d bytes", name, len(a.body))
			}
			if a := h.root.head(t, bucket, "k", nil); a.status < 300 {
				t.Errorf("%s: HEAD says %d", name, a.status)
			}
			h.up.order(nil)
		}
		for _, planted := range []string{oldNote, note, note[:i] + "-0123456789abcdef0123456789abcdef-3"} {
			raw.do(t, request{method: http.MethodDelete, bucket: systemBucket, key: planted})
		}
	}
	put(note, own)
	h.forget(t)
	wantObject(t, h.root, bucket, "k", o.etag, nil, o.parts...)
}
