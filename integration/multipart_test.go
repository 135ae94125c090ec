package integration

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oddParts are parts whose packages begin anywhere; the last one is short.
func oddParts() [][]byte {
	return [][]byte{partData(minPart+1, 1), partData(minPart+packageSize-1, 2), partData(minPart, 3), partData(packageSize+77, 4)}
}

// uploadParts stores an object of parts numbered 3, 6, 9 and so on.
func uploadParts(t *testing.T, c *client, bucket, key string, m sseMode, parts ...[]byte) string {
	t.Helper()
	u := c.createUpload(t, bucket, key, m.put)
	for i, data := range parts {
		u.put(t, 3*i+3, data)
	}
	return u.complete(t)
}

func TestPartsAreCiphertextEachUnderItsOwnKey(t *testing.T) {
	needsSeal(t)
	s := sharedStack(t)
	c := s.client()
	bucket := newBucket(t, c)
	same := partData(minPart, 8)
	u := c.createUpload(t, bucket, "k", nil)
	u.put(t, 1, same)
	u.put(t, 2, same)
	u.complete(t)
	a := wantSealed(t, s, bucket, "k", bytes.Join([][]byte{same, same}, nil))
	half := len(a.body) / 2
	if bytes.Equal(a.body[16:1000], a.body[half+16:half+1000]) {
		t.Error("two parts of the same bytes have the same ciphertext")
	}
}

func TestPartsInAnyOrderTwiceAndInParallel(t *testing.T) {
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	u := c.createUpload(t, bucket, "k", nil)
	parts := make([][]byte, 6)
	var wg sync.WaitGroup
	var mu sync.Mutex
	numbers := []int{6, 2, 4, 1, 5, 3}
	for _, n := range numbers {
		parts[n-1] = partData(minPart+n, uint64(n))
		wg.Go(func() {
			for range 2 {
				a, err := c.try(u.partRequest(n, parts[n-1]))
				if err != nil || a.status != http.StatusOK || a.header.Get("Etag") != md5ETag(parts[n-1]) {
					t.Errorf("part %d: %d %s, %v", n, a.status, a.code, err)
				}
				mu.Lock()
				u.etags[n] = a.header.Get("Etag")
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if listed, _, _ := u.parts(t); len(listed) != 6 || listed[2].Size != int64(len(parts[2])) || listed[2].ETag != md5ETag(parts[2]) {
		t.Errorf("ListParts: %v", listed)
	}
	etag := u.complete(t)
	if etag != multipartETag(parts...) {
		t.Errorf("ETag %s", etag)
	}
	wantObject(t, c, bucket, "k", etag, nil, parts...)
}

// chunkedPart is a part that is sent without a length.
func (u *mp) chunkedPart(number int, data []byte) request {
	r := u.partRequest(number, nil)
	r.stream, r.size = onlyReader{bytes.NewReader(data)}, -1
	return r
}

type onlyReader struct{ io.Reader }

func TestPartsOfUnknownLength(t *testing.T) {
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	for _, size := range []int{0, 1, packageSize, 3 << 20} {
		data := partData(size, 9)
		u := c.createUpload(t, bucket, fmt.Sprint(size), nil)
		a := c.do(t, u.chunkedPart(1, data)).wantStatus(t, http.StatusOK)
		u.etags[1] = a.header.Get("Etag")
		wantObject(t, c, bucket, fmt.Sprint(size), u.complete(t), nil, data)
	}
	if targetIsMinIO() {
		return
	}
	u := c.createUpload(t, bucket, "large", nil)
	c.do(t, u.chunkedPart(1, partData(9<<20, 10))).wantError(t, http.StatusLengthRequired, "MissingContentLength", "")
	if listed, _, _ := u.parts(t); len(listed) != 0 {
		t.Errorf("the refused part is listed: %v", listed)
	}
}

// As at AWS, a part that says it is too large is refused before its first byte; MinIO
// takes it.
func TestPartOfMoreThanFiveGibibytesIsRefused(t *testing.T) {
	needsSeal(t)
	c := sharedStack(t).client()
	u := c.createUpload(t, newBucket(t, c), "k", nil)
	r := u.partRequest(1, nil)
	body := newGenerator(5<<30 + 1)
	r.stream, r.size, r.header = onlyReader{body}, body.total, map[string]string{"Expect": "100-continue"}
	c.do(t, r).wantError(t, http.StatusBadRequest, "EntityTooLarge", "")
	if body.offset > 0 {
		t.Errorf("%d bytes were asked for", body.offset)
	}
}

func TestPartThatBreaksOffIsNotStored(t *testing.T) {
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	u := c.createUpload(t, bucket, "k", nil)
	first := partData(packageSize*3, 11)
	u.put(t, 1, first)
	for _, sent := range []int{0, 1, packageSize, 2*packageSize + 5} {
		r := u.partRequest(1, nil)
		r.stream, r.size = io.MultiReader(bytes.NewReader(partData(packageSize*3, 12)[:sent]), errorReader{}), packageSize*3
		if a, err := c.try(r); err == nil && a.status == http.StatusOK {
			t.Errorf("a part cut at %d is acknowledged", sent)
		}
	}
	for name, header := range map[string]map[string]string{
		"MD5": {"Content-Md5": contentMD5([]byte("x"))}, "SHA256": {"X-Amz-Checksum-Sha256": checksumOf(checksums()["SHA256"], []byte("x"))},
	} {
		r := u.partRequest(1, partData(packageSize*3, 12))
		r.header = header
		if a := c.do(t, r); a.status != http.StatusBadRequest {
			t.Errorf("a part with a wrong %s: %d", name, a.status)
		}
	}
	wantObject(t, c, bucket, "k", u.complete(t), nil, first)
}

type errorReader struct{}

func (errorReader) Read([]byte) (int, error) { return 0, errShort }

func TestListMultipartUploads(t *testing.T) {
	needsSeal(t)
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	other := newBucket(t, c)
	ids := map[string][]string{}
	var keys []string
	for _, key := range []string{"a", "a/1", "a/2", "b/x/1", "b/x/2", "b/y", "c d+e", "d&<>", "ü", "a", "/rooted", strings.Repeat("s", 240), strings.Repeat("p/", 450) + "x"} {
		u := c.createUpload(t, bucket, key, nil)
		key = strings.TrimPrefix(key, "/") // as it is called
		if ids[key] == nil {
			keys = append(keys, key)
		}
		ids[key] = append(ids[key], u.id)
	}
	c.createUpload(t, other, "a", nil)
	slices.Sort(keys)
	var want []upload
	for _, key := range keys {
		for _, id := range ids[key] {
			want = append(want, upload{key, id})
		}
	}
	all := c.uploads(t, bucket)
	if !slices.Equal(all.Upload, want) || all.IsTruncated {
		t.Errorf("all: %v, want %v", all.Upload, want)
	}
	for _, size := range []string{"1", "2", "3", "5", "12"} {
		var got []upload
		pairs := []string{"max-uploads", size}
		for pages := 0; ; pages++ {
			p := c.uploads(t, bucket, pairs...)
			got = append(got, p.Upload...)
			if !p.IsTruncated || pages > 20 {
				break
			}
			pairs = []string{"max-uploads", size, "key-marker", p.NextKeyMarker, "upload-id-marker", p.NextUploadIdMarker}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %s: %v", size, got)
		}
	}
	for prefix, n := range map[string]int{"a": 4, "a/": 2, "b/x/": 2, "none": 0, "ü": 1, "c d": 1, "root": 1, "/root": 0} {
		if p := c.uploads(t, bucket, "prefix", prefix); len(p.Upload) != n {
			t.Errorf("prefix %q: %v, want %d", prefix, p.Upload, n)
		}
	}
	p := c.uploads(t, bucket, "delimiter", "/", "prefix", "b/")
	if len(p.CommonPrefixes) != 1 || p.CommonPrefixes[0].Prefix != "b/x/" || len(p.Upload) != 1 || p.Upload[0].Key != "b/y" {
		t.Errorf("delimiter: %v, %v", p.CommonPrefixes, p.Upload)
	}
	folded := 0
	for pairs := []string{"delimiter", "/", "max-uploads", "1"}; ; {
		p := c.uploads(t, bucket, pairs...)
		folded += len(p.CommonPrefixes)
		if !p.IsTruncated || folded > 10 {
			break
		}
		pairs = []string{"delimiter", "/", "max-uploads", "1", "key-marker", p.NextKeyMarker, "upload-id-marker", p.NextUploadIdMarker}
	}
	if folded != 3 { // "a/", "b/", "p/"
		t.Errorf("%d common prefixes one by one", folded)
	}
	// What ends while somebody pages must not hide the rest.
	c.do(t, request{method: http.MethodDelete, bucket: bucket, key: "a", query: query("uploadId", ids["a"][0])}).wantStatus(t, http.StatusNoContent)
	eventually(t, "the aborted upload is gone", func() bool { return len(c.uploads(t, bucket, "prefix", "a").Upload) == 3 })
	p = c.uploads(t, bucket, "key-marker", "a", "upload-id-marker", ids["a"][0])
	if len(p.Upload) == 0 || p.Upload[0] != (upload{"a", ids["a"][1]}) {
		t.Errorf("after a marker that has ended: %v", p.Upload)
	}
	c.do(t, request{method: http.MethodGet, bucket: bucket, query: "max-uploads=x&uploads="}).wantError(t, http.StatusBadRequest, "InvalidArgument", "")
	c.do(t, request{method: http.MethodGet, bucket: "no-such-bucket-anywhere", query: "uploads="}).wantError(t, http.StatusNotFound, "NoSuchBucket", "")
}

// eventually waits for what happens after the answer.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("never happened: %s", what)
			return
		}
	}
}

func TestUploadsUnderEveryPossibleKey(t *testing.T) {
	c := sharedStack(t).client()
	bucket := newBucket(t, c)
	data := partData(3000, 13)
	keys := []string{
		"plain", "a b+c%2F&<>\"'", "ünïcode/日本", strings.Repeat("s", 255), strings.Repeat("s", 200), strings.Repeat("0123456789/", 80) + "x",
		strings.Repeat("0123456789/", 90) + "xyz", strings.Repeat("d", 250) + "/" + strings.Repeat("e", 250), "-", "~", "a..b",
	}
	for _, key := range keys {
		u := c.createUpload(t, bucket, key, nil)
		u.put(t, 1, data)
		if listed, _, _ := u.parts(t); len(listed) != 1 || listed[0].Size != 3000 {
			t.Errorf("%.40q: ListParts %v", key, listed)
		}
		etag := u.complete(t)
		if !targetIsMinIO() && etag != multipartETag(data) {
			t.Errorf("%.40q: ETag %s", key, etag)
		}
		c.get(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantBody(t, data)
		c.head(t, bucket, key, nil).wantStatus(t, http.StatusOK).wantHeader(t, map[string]string{"Etag": etag})
	}
	l := c.list(t, bucket, "list-type", "2")
	for _, o := range l.Contents {
		if o.Size != 3000 || o.ETag != multipartETag(data) {
			t.Errorf("%.40q: listed with %d bytes, %s", o.Key, o.Size, o.ETag)
		}
	}
	if len(l.Contents) != len(keys) {
		t.Errorf("%d of %d keys are listed", len(l.Contents), len(keys))
	}
}

// secondProxy starts another proxy over the same upstream and data.
func secondProxy(t *testing.T, s *stack) *client {
	t.Helper()
	args := slices.Clone(s.seal.args)
	if i := slices.Index(args, "--config"); i >= 0 { // an address of its own can be nobody else's
		config, err := os.ReadFile(args[i+1])
		if err != nil {
			t.Fatal(err)
		}
		config = regexp.MustCompile(`(?m)^metrics: .*$`).ReplaceAll(config, nil)
		args[i+1] = writeFile(t, t.TempDir(), "second.yml", config)
	}
	second, err := startSeal(s.dir, "", s.seal.upstream, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.kill)
	return newClient(second.endpoint(), rootUser, rootPassword)
}

func TestPartsMayGoThroughAnyProxy(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	one, two := s.client(), secondProxy(t, s)
	bucket := newBucket(t, one)
	for _, m := range sseModes()[:3] {
		parts := [][]byte{partData(minPart, 14), partData(minPart+9, 15), partData(100, 16)}
		u := one.createUpload(t, bucket, m.name, m.put)
		v := u.via(two)
		u.put(t, 1, parts[0])
		v.put(t, 2, parts[1])
		u.put(t, 3, []byte("another"))
		v.put(t, 3, parts[2])
		for _, w := range []*mp{u, v} {
			if listed, _, _ := w.parts(t); len(listed) != 3 || listed[2].Size != 100 || listed[1].ETag != u.etags[2] {
				t.Errorf("ListParts: %v", listed)
			}
		}
		if l := two.uploads(t, bucket, "prefix", m.name); len(l.Upload) != 1 {
			t.Errorf("uploads: %v", l.Upload)
		}
		etag := v.complete(t)
		wantObject(t, one, bucket, m.name, etag, nil, parts...)
		wantObject(t, two, bucket, m.name, etag, nil, parts...)
		if again := u.complete(t); again != etag {
			t.Errorf("repeated elsewhere: %s", again)
		}
		other := two.createUpload(t, bucket, "aborted", m.put)
		other.put(t, 1, []byte("x"))
		one.do(t, other.via(one).request(http.MethodDelete)).wantStatus(t, http.StatusNoContent)
		two.do(t, other.partRequest(1, []byte("x"))).wantError(t, http.StatusNotFound, "NoSuchUpload", "")
	}
}

// Two clients send the same part at once: the one that upstream kept is the one
// described.
func TestRivalPartsAreDescribedAsKept(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	clients := []*client{s.client(), secondProxy(t, s)}
	bucket := newBucket(t, clients[0])
	for round := range 12 {
		u := clients[0].createUpload(t, bucket, fmt.Sprint(round), nil)
		versions := make([][]byte, 4)
		var wg sync.WaitGroup
		for i := range versions {
			versions[i] = partData(1000+300_000*(i%2)+i, uint64(20+i))
			wg.Go(func() {
				if a, err := clients[i%2].try(u.partRequest(1, versions[i])); err != nil || a.status != http.StatusOK {
					t.Errorf("part: %d %s %v", a.status, a.code, err)
				}
			})
		}
		wg.Wait()
		listed, _, _ := u.parts(t)
		if len(listed) != 1 {
			t.Fatalf("parts: %v", listed)
		}
		kept := slices.IndexFunc(versions, func(v []byte) bool { return md5ETag(v) == listed[0].ETag })
		if kept < 0 || listed[0].Size != int64(len(versions[kept])) {
			t.Fatalf("listed is none that was sent: %v", listed)
		}
		u.etags[1] = md5ETag(versions[(kept+1)%4])
		u.c.do(t, u.completeRequest()).wantError(t, http.StatusBadRequest, "InvalidPart", "")
		u.etags[1] = listed[0].ETag
		wantObject(t, clients[1], bucket, fmt.Sprint(round), u.complete(t), nil, versions[kept])
	}
}

// Rivals end one upload in different ways, through two proxies: what is there
// afterwards is what one of them was told, and nothing else.
func TestRivalEndsOfAnUpload(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	clients := []*client{s.client(), secondProxy(t, s)}
	bucket := newBucket(t, clients[0])
	part := func(n int) []byte { return partData(minPart+n, uint64(30+n)) }
	again := partData(minPart+9, 39)
	var won [4]atomic.Int64
	for round := range 10 {
		key := fmt.Sprint(round)
		u := clients[0].createUpload(t, bucket, key, nil)
		for n := 1; n <= 3; n++ {
			u.put(t, n, part(n))
		}
		type end struct {
			r      request
			result [][]byte
		}
		ends := []end{
			{u.completeRequest(1, 2, 3), [][]byte{part(1), part(2), part(3)}},
			{u.completeRequest(1, 3), [][]byte{part(1), part(3)}},
		}
		if round%3 == 1 {
			ends = append(ends, end{u.request(http.MethodDelete), nil})
		}
		if round%3 == 2 {
			ends = append(ends, end{u.partRequest(1, again), nil})
		}
		answers := make([]answer, len(ends))
		var wg sync.WaitGroup
		for _, i := range rand.Perm(len(ends)) {
			wg.Go(func() { answers[i], _ = clients[i%2].try(ends[i].r) })
		}
		wg.Wait()
		winner := -1
		for i, a := range answers[:2] {
			switch {
			case a.status == http.StatusOK && winner >= 0:
				t.Errorf("round %d: two lists were put together", round)
			case a.status == http.StatusOK:
				winner = i
			case a.code != "NoSuchUpload" && a.code != "InvalidPart":
				t.Errorf("round %d: Complete: %d %s %s", round, a.status, a.code, a.message)
			}
		}
		if winner >= 0 {
			won[winner].Add(1)
			wantObject(t, clients[round%2], bucket, key, multipartETag(ends[winner].result...), nil, ends[winner].result...)
			// The loser's list stays no, the winner's stays yes.
			if a := clients[0].do(t, ends[winner].r); a.status != http.StatusOK {
				t.Errorf("round %d: repeat: %d %s", round, a.status, a.code)
			}
			clients[1].do(t, ends[1-winner].r).wantError(t, http.StatusNotFound, "NoSuchUpload", "")
			continue
		}
		won[2].Add(1)
		clients[0].get(t, bucket, key, nil).wantError(t, http.StatusNotFound, "NoSuchKey", "")
		if round%3 == 2 { // the part was exchanged before either: the upload goes on
			u.etags[1] = md5ETag(again)
			wantObject(t, clients[1], bucket, key, u.complete(t), nil, again, part(2), part(3))
		}
	}
	t.Logf("first list %d times, second %d, neither %d", won[0].Load(), won[1].Load(), won[2].Load())
}

// Two lists that differ only in the number of an empty part are of the same data, and
// upstream gives both the same ETag.
func TestRivalListsMayNameOtherEmptyParts(t *testing.T) {
	t.Parallel()
	h := newHostile(t, "")
	c := h.root
	bucket := newBucket(t, c)
	data := partData(minPart, 1)
	u := c.createUpload(t, bucket, "k", nil)
	u.put(t, 1, data)
	u.put(t, 2, nil)
	u.put(t, 3, nil)
	// The first one has written its manifest when upstream fails it.
	h.up.order(onObject(bucket, "k", http.MethodPost, raw("HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n", 0)))
	c.do(t, u.completeRequest(1, 2)).wantStatus(t, http.StatusServiceUnavailable)
	h.up.honest()
	c.do(t, u.completeRequest(1, 3)).wantStatus(t, http.StatusOK)
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}
