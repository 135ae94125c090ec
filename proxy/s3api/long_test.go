package s3api

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// longUpload is an upload of as many parts as S3 allows, over HTTP, of which few are sent: their content is alike,
// so what is noted of one is true of each of its length.
type longUpload struct {
	*testing.T
	engine  *vaulttest.Engine
	storage *vaulttest.Borders
	url     string
	sizes   []int64 // of the parts' plaintexts, part 1 first
	size    int64   // of the object
	id      string
	etags   []string         // as clients know them, by the part's index
	md5s    map[int64][]byte // of the plaintext of a part, by its length
}

func newLongUpload(t *testing.T, sizes []int64) *longUpload {
	t.Helper()
	u := &longUpload{T: t, sizes: sizes, etags: make([]string, len(sizes)), md5s: map[int64][]byte{}}
	for _, size := range sizes {
		u.size += size
	}
	at := vaulttest.New(t, memory.Options{})
	at.Before = func(behind storage.Storage) storage.Storage {
		u.storage = vaulttest.NewBorders(behind, vaulttest.Name("long"))
		return u.storage
	}
	u.engine = at.Engine(t)
	server := httptest.NewServer(newAPI(t, u.engine.Vault))
	t.Cleanup(server.Close)
	u.url = server.URL + "/" + vaulttest.Bucket + "/long"
	var begun struct {
		UploadID string `xml:"UploadId"`
	}
	u.document(u.ask(http.MethodPost, "?uploads=", nil, 0, sse.HeaderMethod, "AES256"), &begun)
	u.id = begun.UploadID
	return u
}

// ask sends a signed request.
func (u *longUpload) ask(method, query string, body io.Reader, length int64, header ...string) *http.Response {
	u.Helper()
	r, err := http.NewRequestWithContext(u.Context(), method, u.url+query, body)
	if err != nil {
		u.Fatal(err)
	}
	r.ContentLength = length
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	credentials := aws.Credentials{AccessKeyID: "app", SecretAccessKey: "app-secret"}
	if err := v4.NewSigner().SignHTTP(u.Context(), credentials, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now()); err != nil {
		u.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		u.Fatal(err)
	}
	u.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// document reads an answer that is one.
func (u *longUpload) document(answer *http.Response, into any) {
	u.Helper()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err == nil {
		err = xml.Unmarshal(text, into)
	}
	if err != nil {
		u.Fatalf("%s %s: %v", answer.Request.Method, answer.Request.URL, err)
	}
}

// send sends a part at its full length.
func (u *longUpload) send(number int) {
	u.Helper()
	size := u.sizes[number-1]
	digest := md5.New() //nolint:gosec // see above
	content := io.Reader(&repeated{left: size})
	if u.md5s[size] == nil {
		content = io.TeeReader(content, digest)
	}
	a := u.ask(http.MethodPut, fmt.Sprintf("?partNumber=%d&uploadId=%s", number, u.id), content, size)
	if a.StatusCode != http.StatusOK {
		u.Fatalf("part %d: %s", number, a.Status)
	}
	if u.md5s[size] == nil {
		u.md5s[size] = digest.Sum(nil)
	}
	if u.etags[number-1] = a.Header.Get("ETag"); u.etags[number-1] != `"`+hex.EncodeToString(u.md5s[size])+`"` {
		u.Errorf("part %d has the ETag %s", number, u.etags[number-1])
	}
}

// plant notes all other parts, with what is known of parts of their length that were sent.
func (u *longUpload) plant(like int) {
	u.Helper()
	upstream := u.id[:strings.LastIndexByte(u.id, '.')]
	var facts sse.PartFacts
	err := u.engine.Ledger.Parts(u.Context(), upstream, like, like, func(manifest.PartID) bool { return true },
		func(_ manifest.PartID, noted sse.PartFacts) { facts = noted })
	if err != nil {
		u.Fatal(err)
	}
	for i, size := range u.sizes {
		if u.etags[i] != "" {
			continue
		}
		facts.Nonce, facts.PlainSize = sse.NewStreamNonce(), size
		etag, err := u.storage.Plant(u.Context(), upstream, i+1, sse.EncSize(size))
		if err == nil {
			err = u.engine.Ledger.AddPart(u.Context(), upstream, manifest.PartID{Number: i + 1, ETag: etag}, &facts)
		}
		if err != nil {
			u.Fatal(err)
		}
		u.etags[i] = u.etags[like-1]
	}
}

// complete puts the parts together and returns the ETag.
func (u *longUpload) complete() string {
	u.Helper()
	var list strings.Builder
	list.WriteString("<CompleteMultipartUpload>")
	for i, etag := range u.etags {
		fmt.Fprintf(&list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
	}
	list.WriteString("</CompleteMultipartUpload>")
	var done struct{ ETag string }
	u.document(u.ask(http.MethodPost, "?uploadId="+u.id, strings.NewReader(list.String()), int64(list.Len()),
		"X-Amz-Mp-Object-Size", strconv.FormatInt(u.size, 10)), &done)
	digest := md5.New() //nolint:gosec // see above
	for _, etag := range u.etags {
		raw, err := hex.DecodeString(strings.Trim(etag, `"`))
		if err != nil {
			u.Fatal(err)
		}
		_, _ = digest.Write(raw)
	}
	if want := fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(digest.Sum(nil)), len(u.sizes)); done.ETag != want {
		u.Errorf("the object's ETag is %s, want %s", done.ETag, want)
	}
	return done.ETag
}

// listed adds up what the pages of ListParts say.
func (u *longUpload) listed() {
	u.Helper()
	count, sum := 0, int64(0)
	for marker := 0; ; {
		var page struct {
			IsTruncated          bool
			NextPartNumberMarker int
			Part                 []struct {
				PartNumber int
				Size       int64
				ETag       string
			}
		}
		u.document(u.ask(http.MethodGet, fmt.Sprintf("?max-parts=1000&part-number-marker=%d&uploadId=%s", marker, u.id), nil, 0), &page)
		for _, p := range page.Part {
			if p.PartNumber != count+1 || p.Size != u.sizes[count] || p.ETag != u.etags[count] {
				u.Fatalf("part %d is listed as %+v", count+1, p)
			}
			count, sum = count+1, sum+p.Size
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= marker {
			break
		}
		marker = page.NextPartNumberMarker
	}
	if count != len(u.sizes) || sum != u.size {
		u.Errorf("%d parts of %d bytes are listed", count, sum)
	}
}

// wants reads a range and compares it. Little more than it may be read of the storage.
func (u *longUpload) wants(spec string, first, length int64) {
	u.Helper()
	before := u.storage.BytesRead()
	a := u.ask(http.MethodGet, "", nil, 0, "Range", spec)
	got, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode != http.StatusPartialContent {
		u.Errorf("%s: %s, %v", spec, a.Status, err)
		return
	}
	if want := fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, u.size); a.Header.Get("Content-Range") != want || a.ContentLength != length {
		u.Errorf("%s: %d bytes, Content-Range %s, want %s", spec, a.ContentLength, a.Header.Get("Content-Range"), want)
	}
	if !bytes.Equal(got, u.content(first, length)) {
		u.Errorf("%s: other bytes", spec)
	}
	if read := u.storage.BytesRead() - before; read > length+3*sse.PackageSize {
		u.Errorf("%s: %d bytes were read of the storage", spec, read)
	}
}

// content is what lies in the object.
func (u *longUpload) content(first, length int64) []byte {
	var out []byte
	for _, size := range u.sizes {
		if first < size && length > 0 {
			n := min(length, size-first)
			part, _ := io.ReadAll(&repeated{at: first, left: n}) // it never fails
			out, first, length = append(out, part...), first+n, length-n
		}
		first -= size
	}
	return out
}

// pattern is what parts repeat: its length fits into no package.
var pattern = sync.OnceValue(func() []byte { return vaulttest.Data(1_000_003, 1) })

// repeated is the content of parts, from an offset on.
type repeated struct{ at, left int64 }

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	of := pattern()
	n := copy(p[:min(int64(len(p)), r.left)], of[r.at%int64(len(of)):])
	r.at, r.left = r.at+int64(n), r.left-int64(n)
	return n, nil
}

// sizesOf are count parts, all but the last of one length.
func sizesOf(count int, each, last int64) []int64 {
	sizes := make([]int64, count)
	for i := range sizes {
		sizes[i] = each
	}
	sizes[count-1] = last
	return sizes
}

// An object of 5 TiB, which is S3's limit, in 10,000 parts: the last two, or six with BUCKETSEAL_LONG=1, are encrypted
// at their full length of 512 MiB and some. Of the others the storage and the ledger only say that they are there.
func TestFiveTebibytesInTenThousandParts(t *testing.T) {
	t.Parallel()
	const size, each = 5 << 40, 549_755_814
	const last = size - 9_999*each
	u := newLongUpload(t, sizesOf(10_000, each, last))
	sent, long := []int{9_999, 10_000}, os.Getenv("BUCKETSEAL_LONG") != ""
	if long {
		sent = append(sent, 1, 2, 5_000, 5_001)
	}
	for _, number := range sent {
		u.send(number)
	}
	u.plant(9_999)
	u.listed()
	etag := u.complete()

	head := u.ask(http.MethodHead, "", nil, 0)
	if head.ContentLength != size || head.Header.Get("ETag") != etag || head.Header.Get(sse.HeaderMethod) != "AES256" {
		t.Errorf("HEAD: %s, %d bytes, %v", head.Status, head.ContentLength, head.Header)
	}
	var attributes struct {
		ObjectSize  int64
		ObjectParts struct{ TotalPartsCount, PartsCount int }
	}
	u.document(u.ask(http.MethodGet, "?attributes=", nil, 0, "X-Amz-Object-Attributes", "ObjectSize,ObjectParts"), &attributes)
	if count := cmp.Or(attributes.ObjectParts.TotalPartsCount, attributes.ObjectParts.PartsCount); attributes.ObjectSize != size || count != 10_000 {
		t.Errorf("GetObjectAttributes: %+v", attributes)
	}
	const behind = 5_000 * each // part 5,001
	if long {
		u.wants("bytes=0-9", 0, 10)
		u.wants("bytes=65530-65545", 65530, 16)
		u.wants(fmt.Sprintf("bytes=%d-%d", each-1, each-1), each-1, 1)
		u.wants(fmt.Sprintf("bytes=%d-%d", each, each), each, 1)
		u.wants(fmt.Sprintf("bytes=%d-%d", each-100_000, each+99_999), each-100_000, 200_000)
		u.wants(fmt.Sprintf("bytes=%d-%d", int64(behind-70_000), int64(behind+9)), behind-70_000, 70_010)
	}
	u.wants(fmt.Sprintf("bytes=%d-%d", size-last-each, size-last-each), size-last-each, 1)
	u.wants(fmt.Sprintf("bytes=%d-%d", size-last-1, size-last), size-last-1, 2)
	u.wants(fmt.Sprintf("bytes=%d-", size-1), size-1, 1)
	u.wants("bytes=-70000", size-70_000, 70_000)
	u.wants(fmt.Sprintf("bytes=%d-%d", size-5, int64(1)<<62-1), size-5, 5)

	if beyond := u.ask(http.MethodGet, "", nil, 0, "Range", fmt.Sprintf("bytes=%d-", int64(size))); beyond.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %s", beyond.Status)
	}
	part := u.ask(http.MethodHead, "?partNumber=10000", nil, 0)
	if want := fmt.Sprintf("bytes %d-%d/%d", int64(size-last), int64(size-1), int64(size)); part.ContentLength != last ||
		part.Header.Get("Content-Range") != want || part.Header.Get("X-Amz-Mp-Parts-Count") != "10000" {
		t.Errorf("the last part: %s, %d bytes, Content-Range %s", part.Status, part.ContentLength, part.Header.Get("Content-Range"))
	}
}

// The most that the limits on parts let be, almost: 9,999 of 5 GiB, and one more.
func TestAlmostFiftyTebibytesInParts(t *testing.T) {
	t.Parallel()
	const each, last = 5 << 30, 1<<20 + 1
	const size = 9_999*each + last
	u := newLongUpload(t, sizesOf(10_000, each, last))
	u.send(10_000)
	u.plant(10_000)
	u.listed()
	etag := u.complete()
	if head := u.ask(http.MethodHead, "", nil, 0); head.ContentLength != size || head.Header.Get("ETag") != etag {
		t.Errorf("HEAD: %s, %d bytes", head.Status, head.ContentLength)
	}
	u.wants(fmt.Sprintf("bytes=%d-%d", int64(size-last), int64(size-last)), size-last, 1)
	u.wants("bytes=-1", size-1, 1)
	// What the storage does not have any more cannot be read, and does not look whole.
	if a := u.ask(http.MethodGet, "", nil, 0, "Range", "bytes=0-9"); a.StatusCode < 500 {
		t.Errorf("of a part that is not there: %s", a.Status)
	}
}
