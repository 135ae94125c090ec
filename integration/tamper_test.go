package integration

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const sealedPackage = packageSize + packageOverhead

// tampering is something a hostile MinIO does with the stored bytes of an
// object of 3 packages and a bit.
type tampering struct {
	name   string
	change func([]byte) []byte
	// first says that it shows in the first package, so that the answer is an S3
	// error rather than a body that breaks off.
	first bool
}

func tamperings() []tampering {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			if at < 0 {
				b[len(b)+at] ^= 0x80
			} else {
				b[at] ^= 0x80
			}
			return b
		}
	}
	all := []tampering{
		{"swap first two packages", func(b []byte) []byte {
			return slices.Concat(b[sealedPackage:2*sealedPackage], b[:sealedPackage], b[2*sealedPackage:])
		}, true},
		{"swap later packages", func(b []byte) []byte {
			return slices.Concat(b[:sealedPackage], b[2*sealedPackage:3*sealedPackage], b[sealedPackage:2*sealedPackage], b[3*sealedPackage:])
		}, false},
		{"repeat a package", func(b []byte) []byte {
			return slices.Concat(b[:2*sealedPackage], b[sealedPackage:2*sealedPackage], b[3*sealedPackage:])
		}, false},
		{"all zero", func(b []byte) []byte { return make([]byte, len(b)) }, true},
		{"flip in first header", flip(1), true},
		{"flip in first nonce", flip(8), true},
		{"flip in first data", flip(1000), true},
		{"flip in first tag", flip(sealedPackage - 1), true},
		{"flip in second header", flip(sealedPackage + 2), false},
		{"flip in second data", flip(sealedPackage + 500), false},
		{"flip in last tag", flip(-1), false},
	}
	for name, cut := range map[string]int{
		"nothing left": 0, "cut in first header": 10, "cut in first package": 5000, "cut after first package": sealedPackage,
		"cut in second package": sealedPackage + 7, "cut before last package": 3 * sealedPackage,
	} {
		all = append(all, tampering{name, func(b []byte) []byte { return b[:cut] }, true})
	}
	all = append(all,
		tampering{"cut last byte", func(b []byte) []byte { return b[:len(b)-1] }, true},
		tampering{"append a byte", func(b []byte) []byte { return append(b, 0) }, true},
		tampering{"append a package", func(b []byte) []byte { return append(b, b[:sealedPackage]...) }, true},
	)
	return all
}

func TestTamperedCiphertextIsNeverACompleteAnswer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{liar: true})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(3*packageSize+100, 20)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	for _, tc := range tamperings() {
		t.Run(tc.name, func(t *testing.T) {
			s.liar.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				if isGet(r, bucket, "k") {
					alterBody(resp, tc.change)
				}
			}})
			defer s.liar.tell(lie{})
			a, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k"})
			a.notComplete(t, err)
			if tc.first && err == nil && a.status == http.StatusOK {
				t.Errorf("status 200 with %d bytes; it shows before the first byte: want an S3 error", len(a.body))
			}
			if n := len(a.body); a.status == http.StatusOK && (n > len(data) || !bytes.Equal(a.body, data[:n])) {
				t.Errorf("the %d bytes before the break are not the object's", n)
			}
		})
	}
	c.get(t, bucket, "k", nil).wantStatus(t, http.StatusOK).wantBody(t, data)
}

func TestBodyThatBreaksOffUpstreamBreaksOffForTheClient(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{liar: true})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(8*packageSize, 21)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	for _, cut := range []int64{0, 100, sealedPackage, sealedPackage + 5, 4 * sealedPackage, 8*sealedPackage - 1} {
		s.liar.tell(lie{alter: func(r *http.Request, resp *http.Response) {
			if isGet(r, bucket, "k") {
				resp.Body = readCloser{io.MultiReader(io.LimitReader(resp.Body, cut), errReader{})}
			}
		}})
		for _, header := range []map[string]string{nil, {"Range": "bytes=5-"}} {
			a, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k", header: header})
			a.notComplete(t, err)
		}
	}
}

func TestTamperedRangeIsNeverACompleteAnswer(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{liar: true})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(6*packageSize+77, 22)
	c.put(t, bucket, "k", data, nil).wantStatus(t, http.StatusOK)
	for name, l := range map[string]func(*http.Request, *http.Response){
		"flipped byte": func(_ *http.Request, resp *http.Response) {
			alterBody(resp, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"short": func(_ *http.Request, resp *http.Response) {
			alterBody(resp, func(b []byte) []byte { return b[:len(b)-1] })
		},
		"whole object as 200": func(r *http.Request, resp *http.Response) {
			whole := s.raw().get(t, bucket, "k", nil)
			resp.StatusCode = http.StatusOK
			resp.Header.Del("Content-Range")
			alterBody(resp, func([]byte) []byte { return whole.body })
		},
		"another range": func(r *http.Request, resp *http.Response) {
			other := s.raw().get(t, bucket, "k", map[string]string{"Range": "bytes=0-" + strconv.Itoa(2*sealedPackage-1)})
			alterBody(resp, func([]byte) []byte { return other.body })
		},
		"another range, said so": func(r *http.Request, resp *http.Response) {
			other := s.raw().get(t, bucket, "k", map[string]string{"Range": "bytes=0-" + strconv.Itoa(2*sealedPackage-1)})
			resp.Header.Set("Content-Range", other.header.Get("Content-Range"))
			alterBody(resp, func([]byte) []byte { return other.body })
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := 3*packageSize-1, 3*packageSize+1
			s.liar.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				if isGet(r, bucket, "k") && resp.StatusCode == http.StatusPartialContent {
					l(r, resp)
				}
			}})
			defer s.liar.tell(lie{})
			a, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k", header: map[string]string{"Range": "bytes=" + strconv.Itoa(from) + "-" + strconv.Itoa(to-1)}})
			if err == nil && a.status == http.StatusPartialContent && a.bodyErr == nil && bytes.Equal(a.body, data[from:to]) {
				return // It asked again, or took from the whole what was asked for.
			}
			a.notComplete(t, err)
		})
	}
}

// storeRaw writes an object straight into MinIO, with another one's metadata.
func storeRaw(t *testing.T, s *stack, bucket, key string, body []byte, from http.Header) {
	t.Helper()
	var pairs []string
	for name, values := range from {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			pairs = append(pairs, name, values[0])
		}
	}
	s.raw().do(t, request{method: http.MethodPut, bucket: bucket, key: key, body: body, query: query(pairs...)}).wantStatus(t, http.StatusOK)
}

func TestExchangedAndPlantedObjectsAreErrors(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{})
	c := s.client()
	bucket, other := newBucket(t, c), newBucket(t, c)
	data, data2 := testData(2*packageSize+50, 23), testData(2*packageSize+50, 24)
	c.put(t, bucket, "a", data, nil).wantStatus(t, http.StatusOK)
	c.put(t, bucket, "b", data2, nil).wantStatus(t, http.StatusOK)
	a, b := s.raw().get(t, bucket, "a", nil), s.raw().get(t, bucket, "b", nil)

	storeRaw(t, s, bucket, "moved", a.body, a.header)
	storeRaw(t, s, other, "a", a.body, a.header)
	storeRaw(t, s, bucket, "body-of-b", b.body, a.header)
	storeRaw(t, s, bucket, "no-record", a.body, nil)
	storeRaw(t, s, bucket, "planted", []byte("planted plaintext"), nil)
	storeRaw(t, s, bucket, "planted-with-record", []byte("planted plaintext"), a.header)
	storeRaw(t, s, bucket, "emptied", nil, a.header)
	storeRaw(t, s, bucket, "a", b.body, a.header)
	for _, at := range []struct{ bucket, key string }{
		{bucket, "moved"},
		{other, "a"},
		{bucket, "body-of-b"},
		{bucket, "no-record"},
		{bucket, "planted"},
		{bucket, "planted-with-record"},
		{bucket, "emptied"},
		{bucket, "a"},
	} {
		for _, header := range []map[string]string{nil, {"Range": "bytes=3-9"}} {
			got, err := c.try(request{method: http.MethodGet, bucket: at.bucket, key: at.key, header: header})
			got.notComplete(t, err)
			if got.status == http.StatusNotFound {
				t.Errorf("%s is said not to exist: it is there and cannot be trusted", at.key)
			}
		}
	}
	c.get(t, bucket, "b", nil).wantStatus(t, http.StatusOK).wantBody(t, data2)
}

func TestTamperedRecordIsAnError(t *testing.T) {
	t.Parallel()
	needsSeal(t)
	s := newStack(t, stackOptions{liar: true})
	c := s.client()
	bucket := newBucket(t, c)
	data := testData(70_000, 25)
	for _, mode := range sseModes() {
		c.put(t, bucket, "k", data, mode.put).wantStatus(t, http.StatusOK)
		stored := s.raw().head(t, bucket, "k", nil)
		name, record := recordOf(t, stored.header)
		for i := 0; i < len(record); i += max(1, len(record)/60) {
			changed := []byte(record)
			// The next letter of the same class, so that every encoding stays decodable.
			changed[i] = map[bool]byte{true: 'B', false: 'A'}[changed[i] == 'A']
			if changed[i] == record[i] {
				continue
			}
			s.liar.tell(lie{alter: func(r *http.Request, resp *http.Response) {
				if resp.Header.Get(name) != "" {
					resp.Header.Set(name, string(changed))
				}
			}})
			got, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k"})
			if err == nil && got.status == http.StatusOK && got.bodyErr == nil {
				t.Errorf("%s: record with byte %d of %d changed is accepted", mode.name, i, len(record))
			}
			if h := c.head(t, bucket, "k", nil); h.status == http.StatusOK && h.size(t) != int64(len(data)) {
				t.Errorf("%s: HEAD says %d bytes with byte %d of the record changed", mode.name, h.size(t), i)
			}
		}
		s.liar.tell(lie{alter: func(_ *http.Request, resp *http.Response) { resp.Header.Del(name) }})
		got, err := c.try(request{method: http.MethodGet, bucket: bucket, key: "k"})
		got.notComplete(t, err)
		s.liar.tell(lie{})
	}
}

func recordOf(t *testing.T, h http.Header) (name, value string) {
	t.Helper()
	for name, values := range h {
		if strings.HasPrefix(name, "X-Amz-Meta-Bucketseal") {
			return name, values[0]
		}
	}
	t.Fatalf("no record in %v", h)
	return "", ""
}
