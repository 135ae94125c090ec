package sigv4

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// version2Verifier accepts both versions.
func version2Verifier(tb testing.TB, now time.Time) *Verifier {
	tb.Helper()
	o := Options{Credentials: secrets{testKey: testSecret}, Version2: true}
	if !now.IsZero() {
		o.Now = func() time.Time { return now }
	}
	v, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// The same resource is signed alike, whether its bucket stands in the path or in
// the host.
func TestVersion2SignsTheBucketThatTheHostNames(t *testing.T) {
	t.Parallel()
	const date = "Tue, 27 Mar 2007 19:36:42 +0000"
	at, err := time.Parse(time.RFC1123Z, date)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]error{"johnsmith.s3.amazonaws.com": nil, "janesmith.s3.amazonaws.com": ErrSignatureDoesNotMatch, "s3.amazonaws.com": ErrSignatureDoesNotMatch} {
		v, err := New(Options{
			Credentials: secrets{testKey: testSecret}, Version2: true, Now: func() time.Time { return at },
			Bucket: func(host string) (string, bool) { return strings.CutSuffix(host, ".s3.amazonaws.com") },
		})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/photos/puppy.jpg", nil)
		r.Host = host
		r.Header.Set("Date", date)
		r.Header.Set("Authorization", "AWS "+testKey+":bWq2s1WEIj+Ydj0vQ697zp+IXMU=")
		if _, err := v.Verify(r); !errors.Is(err, want) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// The examples of "Signing and Authenticating REST Requests", in path style.
func TestVersion2ExamplesOfAWSVerify(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, target, date, signature string
		header                          []string
	}{
		"object GET":  {method: "GET", target: "/johnsmith/photos/puppy.jpg", date: "Tue, 27 Mar 2007 19:36:42 +0000", signature: "bWq2s1WEIj+Ydj0vQ697zp+IXMU="},
		"object PUT":  {method: "PUT", target: "/johnsmith/photos/puppy.jpg", date: "Tue, 27 Mar 2007 21:15:45 +0000", signature: "MyyxeRY7whkBe+bq8fHCL/2kKUg=", header: []string{"Content-Type", "image/jpeg"}},
		"list":        {method: "GET", target: "/johnsmith/?prefix=photos&max-keys=50&marker=puppy", date: "Tue, 27 Mar 2007 19:42:41 +0000", signature: "htDYFYduRNen8P9ZfE/s9SuKy0U="},
		"acl":         {method: "GET", target: "/johnsmith/?acl", date: "Tue, 27 Mar 2007 19:44:46 +0000", signature: "c2WLPFtWHVgbEmeEG93a4cG37dM="},
		"all buckets": {method: "GET", target: "/", date: "Wed, 28 Mar 2007 01:29:59 +0000", signature: "qGdzdERIC03wnaRNKh6OqZehG9s="},
		"unicode":     {method: "GET", target: "/dictionary/fran%C3%A7ais/pr%c3%a9f%c3%a8re", date: "Wed, 28 Mar 2007 01:49:49 +0000", signature: "DNEZGsoieTZ92F3bUfSPQcbGmlM="},
		"upload": {
			method: "PUT", target: "/static.johnsmith.net/db-backup.dat.gz", date: "Tue, 27 Mar 2007 21:06:08 +0000", signature: "ilyl83RwaSoYIEdixDQcA4OnAnc=",
			header: []string{
				"X-Amz-Acl", "public-read", "Content-Type", "application/x-download", "Content-Md5", "4gJE4saaMU4BqNR0kLY+lw==",
				"X-Amz-Meta-Reviewedby", "joe@johnsmith.net", "X-Amz-Meta-Reviewedby", "jane@johnsmith.net",
				"X-Amz-Meta-Filechecksum", "0x02661779", "X-Amz-Meta-Checksumalgorithm", "crc32", "Content-Encoding", "gzip",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := time.Parse(time.RFC1123Z, c.date)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest(c.method, c.target, nil)
			r.Header.Set("Date", c.date)
			for i := 0; i < len(c.header); i += 2 {
				r.Header.Add(c.header[i], c.header[i+1])
			}
			r.Header.Set("Authorization", "AWS "+testKey+":"+c.signature)
			q, err := version2Verifier(t, at).Verify(r)
			if err != nil || q.Kind != HeaderV2 || q.AccessKey != testKey || !q.Date.Equal(at) {
				t.Errorf("%+v, %v", q, err)
			}
			if _, err := newVerifier(t, at).Verify(r); !errors.Is(err, ErrSigV2NotSupported) {
				t.Errorf("version 2 is off: %v", err)
			}
		})
	}
	r := httptest.NewRequest("GET", "/johnsmith/photos/puppy.jpg?AWSAccessKeyId="+testKey+"&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620", nil)
	for seconds, want := range map[int64]error{1175139620: nil, 1175139621: ErrExpiredPresign} {
		q, err := version2Verifier(t, time.Unix(seconds, 0)).Verify(r)
		if !errors.Is(err, want) || want == nil && q.Kind != PresignedV2 {
			t.Errorf("presigned, at %d: %v", seconds, err)
		}
	}
	if _, err := newVerifier(t, time.Unix(1175139620, 0)).Verify(r); !errors.Is(err, ErrSigV2NotSupported) {
		t.Errorf("version 2 is off: %v", err)
	}
}

func TestVersion2OfMinioGoVerifies(t *testing.T) {
	t.Parallel()
	v := version2Verifier(t, time.Time{})
	for _, path := range paths() {
		for _, query := range []string{"", "?uploadId=a%2Bb&partNumber=3", "?response-content-type=text%2Fodd&versionId=null", "?prefix=a%20b&list-type=2", "?location="} {
			o := overTheWire(t, v, func(u string) *http.Request {
				r := request(t, "PUT", u+path+query, strings.NewReader("hello"))
				r.Header.Set("X-Amz-Meta-One", "a  b")
				r.Header.Set("Content-Type", "text/plain")
				return signer.SignV2(*r, testKey, testSecret, false)
			})
			if o.err != nil || string(o.data) != "hello" || o.request.Kind != HeaderV2 || !o.request.Signed("x-amz-meta-one") {
				t.Errorf("%s%s: %q, %v", path, query, o.data, o.err)
			}
			o = overTheWire(t, v, func(u string) *http.Request {
				return signer.PreSignV2(*request(t, "GET", u+path+query, nil), testKey, testSecret, 60, false)
			})
			if o.err != nil || o.request.Kind != PresignedV2 {
				t.Errorf("presigned %s%s: %v", path, query, o.err)
				continue
			}
			if values, err := url.ParseQuery(o.query); err != nil || values.Has("Signature") || values.Has("Expires") || values.Has("AWSAccessKeyId") {
				t.Errorf("presigned %s%s: the handler gets %q", path, query, o.query)
			}
		}
	}
}

// presignedV2 returns a request that is presigned by the letter of the page:
// signed is its canonical text from the x-amz-* headers on.
func presignedV2(method, target, signed, expires string) *http.Request {
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	target += separator + url.Values{"AWSAccessKeyId": {testKey}, "Expires": {expires}, "Signature": {signV2(method + "\n\n\n" + expires + "\n" + signed)}}.Encode()
	return httptest.NewRequest(method, target, nil)
}

const soon = "1772366460" // a minute after now

func TestVersion2CoversWhatMatters(t *testing.T) {
	t.Parallel()
	with := func(r *http.Request, name string, values ...string) *http.Request {
		r.Header[name] = values
		return r
	}
	more := func(r *http.Request, query string) *http.Request {
		r.URL.RawQuery += query
		return r
	}
	put := func() *http.Request { return presignedV2("PUT", "/b/k", "/b/k", soon) }
	get := func() *http.Request { return presignedV2("GET", "/b/k", "/b/k", soon) }
	for name, c := range map[string]struct {
		r    *http.Request
		want error
	}{
		"as signed":                       {put(), nil},
		"another method":                  {edited(put(), func(r *http.Request) { r.Method = "DELETE" }), ErrSignatureDoesNotMatch},
		"another key":                     {edited(put(), func(r *http.Request) { r.URL.Path = "/b/l" }), ErrSignatureDoesNotMatch},
		"x-amz header":                    {with(put(), "X-Amz-Acl", "public-read"), ErrSignatureDoesNotMatch},
		"x-amz parameter":                 {more(put(), "&x-amz-acl=public-read"), ErrSignatureDoesNotMatch},
		"copy source":                     {with(put(), "X-Amz-Copy-Source", "/other/key"), ErrSignatureDoesNotMatch},
		"content type":                    {with(put(), "Content-Type", "text/html"), ErrSignatureDoesNotMatch},
		"content type twice":              {with(put(), "Content-Type", "", "text/html"), ErrDuplicateAuth},
		"old sub-resource":                {more(put(), "&tagging"), ErrSignatureDoesNotMatch},
		"later sub-resource":              {more(put(), "&object-lock"), ErrSignatureDoesNotMatch},
		"later sub-resource, reading":     {more(get(), "&object-lock"), nil},
		"later sub-resource, signed":      {presignedV2("PUT", "/b?object-lock", "/b?object-lock", soon), nil},
		"response header":                 {more(get(), "&response-content-type=text%2Fhtml"), ErrSignatureDoesNotMatch},
		"version":                         {more(get(), "&versionId=1"), ErrSignatureDoesNotMatch},
		"sub-resource twice":              {more(presignedV2("GET", "/b/k?versionId=1", "/b/k?versionId=1", soon), "&versionId=2"), ErrSignatureDoesNotMatch},
		"parameter as header":             {presignedV2("PUT", "/b/k?x-amz-meta-a=1", "x-amz-meta-a:1\n/b/k", soon), nil},
		"parameter and header":            {with(presignedV2("PUT", "/b/k?x-amz-meta-a=1", "x-amz-meta-a:1\n/b/k", soon), "X-Amz-Meta-A", "1"), nil},
		"parameter and another header":    {with(presignedV2("PUT", "/b/k?x-amz-meta-a=1", "x-amz-meta-a:1\n/b/k", soon), "X-Amz-Meta-A", "2"), ErrConflictingHeader},
		"session token":                   {presignedV2("GET", "/b/k?x-amz-security-token=t", "x-amz-security-token:t\n/b/k", soon), nil},
		"signed chunks":                   {with(presignedV2("PUT", "/b/k", "x-amz-content-sha256:"+streamingSigned+"\n/b/k", soon), "X-Amz-Content-Sha256", streamingSigned), ErrUnsupportedStreaming},
		"signature twice":                 {more(get(), "&Signature=x"), ErrDuplicateAuth},
		"no number":                       {presignedV2("GET", "/b/k", "/b/k", "soon"), ErrMalformedExpires},
		"over":                            {presignedV2("GET", "/b/k", "/b/k", "-5"), ErrExpiredPresign},
		"key alone":                       {httptest.NewRequest("GET", "/b/k?AWSAccessKeyId=a", nil), ErrMissingQueryParams},
		"unknown key":                     {httptest.NewRequest("GET", "/b/k?AWSAccessKeyId=a&Signature=b&Expires="+soon, nil), ErrInvalidAccessKeyID},
		"beside version 4":                {more(get(), "&X-Amz-Signature=x"), ErrMultipleAuth},
		"beside a header":                 {with(get(), "Authorization", "AWS a:b"), ErrMultipleAuth},
		"header: nothing":                 {with(with(httptest.NewRequest("GET", "/", nil), "Date", now().Format(time.RFC1123)), "Authorization", "AWS"), ErrMissingFields},
		"header: no colon":                {with(with(httptest.NewRequest("GET", "/", nil), "Date", now().Format(time.RFC1123)), "Authorization", "AWS x"), ErrMissingFields},
		"header: two colons":              {with(with(httptest.NewRequest("GET", "/", nil), "Date", now().Format(time.RFC1123)), "Authorization", "AWS a:b:c"), ErrMissingFields},
		"header: two spaces":              {with(with(httptest.NewRequest("GET", "/", nil), "Date", now().Format(time.RFC1123)), "Authorization", "AWS  a:b"), ErrMissingFields},
		"header: twice":                   {with(with(httptest.NewRequest("GET", "/", nil), "Date", now().Format(time.RFC1123)), "Authorization", "AWS a:b", "AWS a:b"), ErrDuplicateAuth},
		"header: no date":                 {with(httptest.NewRequest("GET", "/", nil), "Authorization", "AWS a:b"), ErrMissingDate},
		"header: odd date":                {with(with(httptest.NewRequest("GET", "/", nil), "Date", "today"), "Authorization", "AWS a:b"), ErrMalformedDate},
		"header: old":                     {with(with(httptest.NewRequest("GET", "/", nil), "Date", "Tue, 27 Mar 2007 19:36:42 +0000"), "Authorization", "AWS a:b"), ErrRequestTimeTooSkewed},
		"header: bucket with a slash":     {inHeaderV2("GET", "/b?location", "/b/?location"), nil},
		"header: key with a slash":        {inHeaderV2("GET", "/b/k", "/b/k/"), ErrSignatureDoesNotMatch},
		"header: an unsigned parameter":   {inHeaderV2("PUT", "/b/k?x-amz-acl=public-read", "/b/k"), ErrSignatureDoesNotMatch},
		"header: the parameter is signed": {inHeaderV2("PUT", "/b/k?x-amz-acl=private", "x-amz-acl:private\n/b/k"), nil},
	} {
		q, err := version2Verifier(t, now()).Verify(c.r)
		if !errors.Is(err, c.want) || (err == nil) == (q == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
			continue
		}
		if err != nil {
			continue
		}
		if err := q.HoistQuery(c.r); err != nil {
			t.Errorf("%s: hoist: %v", name, err)
		}
		if strings.Contains(strings.ToLower(c.r.URL.RawQuery), "x-amz-") || strings.Contains(c.r.URL.RawQuery, "Signature") {
			t.Errorf("%s: %q is left of the query", name, c.r.URL.RawQuery)
		}
		if name == "session token" && q.SessionToken != "t" {
			t.Errorf("%s: %q", name, q.SessionToken)
		}
		if strings.HasPrefix(name, "parameter") && !slices.Equal(c.r.Header["X-Amz-Meta-A"], []string{"1"}) {
			t.Errorf("%s: %q", name, c.r.Header)
		}
	}
}

func FuzzVersion2(f *testing.F) {
	f.Add("PUT", "/b/k", "AWSAccessKeyId="+testKey+"&Expires="+soon+"&Signature=a%2Bb", "", "", "")
	valid := presignedV2("PUT", "/b/k?x-amz-meta-a=1&tagging", "x-amz-meta-a:1\n/b/k?tagging", soon)
	f.Add("PUT", "/b/k", valid.URL.RawQuery, "", "", "")
	header := inHeaderV2("PUT", "/b/k?acl", "/b/k?acl")
	f.Add("PUT", "/b/k", "acl", header.Header.Get("Authorization"), header.Header.Get("Date"), "x")
	v := version2Verifier(f, now())
	f.Fuzz(func(t *testing.T, method, path, query, authorization, date, meta string) {
		r := httptest.NewRequest("PUT", "/b/k", nil)
		r.Method, r.URL.Path, r.URL.RawQuery = method, path, query
		for name, value := range map[string]string{"Authorization": authorization, "Date": date, "X-Amz-Meta-B": meta} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		q, err := v.Verify(r)
		if err != nil {
			if !isSentinel(err) || q != nil {
				t.Fatalf("%v, %v", q, err)
			}
			return
		}
		if q.Kind == Anonymous {
			return
		}
		// Nobody guesses a signature: what verifies is what was signed.
		if method != "PUT" || path != "/b/k" || meta != "" && q.Kind == PresignedV2 {
			t.Fatalf("verified %s %s?%s %q %q", method, path, query, authorization, meta)
		}
		if err := q.HoistQuery(r); err != nil && !isSentinel(err) {
			t.Fatal(err)
		}
	})
}

// Whoever has a link to one version cannot make one to another of it.
func TestVersion2ValuesAbsorbNoOtherParameter(t *testing.T) {
	t.Parallel()
	v := version2Verifier(t, now())
	expires := soon
	for signed, targets := range map[string]map[string]bool{
		"/b/k?response-expires=a&versionId=v": {
			"/b/k?response-expires=a&versionId=v": true, "/b/k?response-expires=a%26versionId%3Dv": false,
		},
		"/b/k?partNumber=1&uploadId=u": {"/b/k?partNumber=1&uploadId=u": true, "/b/k?partNumber=1%26uploadId=u": false},
		"/b/k?acl&versionId=v":         {"/b/k?acl&versionId=v": true},
		"/b/k?response-content-disposition=attachment; filename=\"a&b=c&acl.txt\"": {
			"/b/k?response-content-disposition=attachment%3B%20filename%3D%22a%26b%3Dc%26acl.txt%22": true,
		},
	} {
		for target, want := range targets {
			r := presignedV2(http.MethodGet, target, signed, expires)
			if _, err := v.Verify(r); (err == nil) != want {
				t.Errorf("%s, signed as %s: %v", target, signed, err)
			}
		}
	}
}
