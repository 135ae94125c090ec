package upstream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// sent is a request as MinIO gets it, without what every request has.
type sent struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         string
}

// noise are headers that say nothing about what is asked for.
var noise = []string{"Authorization", "X-Amz-Date", HopHeader, "Accept-Encoding", "Content-Length", "Connection"}

// recordingMinIO answers every request alike, and returns what it gets.
func recordingMinIO(t *testing.T, status int, header http.Header, body string) (*Client, <-chan sent) {
	t.Helper()
	got := make(chan sent, 1)
	return fakeMinIO(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s := sent{method: r.Method, path: r.URL.EscapedPath(), query: r.URL.Query(), header: make(map[string]string), body: string(b)}
		for name, values := range r.Header {
			s.header[name] = strings.Join(values, "|")
		}
		for _, name := range noise {
			delete(s.header, name)
		}
		if r.Header.Get("Authorization") == "" {
			s.header["anonymous"] = ""
		}
		got <- s
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}), got
}

var (
	testName  = sse.Name{Bucket: "b", Key: "a/ü 1"}
	testActor = storage.Actor{
		Credential: testCredential, Agent: "curl/8", Referer: "http://from", Addr: netip.MustParseAddr("192.0.2.7"),
		Told: map[string][]string{"x-amz-server-side-encryption": {"AES256"}, "Securetransport": {"true"}, "prefix": {"not told"}},
	}
	testUpload = storage.Upload{Name: testName, ID: "id", As: &storage.Encryption{Mode: sse.ModeKMS, KMSKey: "k"}}
)

const md5ETag = `"d41d8cd98f00b204e9800998ecf8427e"`

// only is the error of a call.
func only(_ any, err error) error { return err }

func text(s string, expect bool) storage.Body {
	return storage.Body{Reader: strings.NewReader(s), Length: int64(len(s)), Expect: expect}
}

// sentCase is a call, MinIO's answer to it, and what it sends.
type sentCase struct {
	name string
	// answer is a status and a document.
	answer string
	// want is the method and the query, besides what the actor tells.
	want string
	// header are lines of "name: value", besides those that say who asks.
	header, body string
	call         func(context.Context, storage.Backend) error
}

// check makes the calls as testActor. A document is signed whole, all else is not. Requests
// about uploads tell the upload's encryption in place of the actor's.
func check(t *testing.T, cases []sentCase) {
	t.Helper()
	t.Parallel()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, answer, _ := strings.Cut(tt.answer, " ")
			code, _ := strconv.Atoi(status)
			client, got := recordingMinIO(t, code, http.Header{"Etag": {md5ETag}}, answer)
			if err := tt.call(t.Context(), client.Storage(storage.Credential{}).As(testActor)); err != nil {
				t.Fatal(err)
			}
			s, want := <-got, sent{path: "/b/a/%C3%BC%201", body: tt.body, query: maps.Clone(testActor.Told), header: actorsHeaders()}
			method, query, _ := strings.Cut(tt.want, " ")
			own, _ := url.ParseQuery(query)
			if want.method = method; own.Has("uploadId") {
				want.query["x-amz-server-side-encryption"] = []string{"aws:kms"}
				want.query["x-amz-server-side-encryption-aws-kms-key-id"] = []string{"k", "arn:aws:kms:k"}
			}
			if maps.Copy(want.query, own); own.Has("prefix") {
				want.path = "/b"
			}
			want.header["X-Amz-Content-Sha256"] = "UNSIGNED-PAYLOAD"
			if method == http.MethodPost && tt.body != "" || own.Has("X-Amz-Content-Sha256") {
				want.header["X-Amz-Content-Sha256"] = fmt.Sprintf("%x", sha256.Sum256([]byte(tt.body)))
			}
			for line := range strings.Lines(tt.header) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
				want.header[name] = value
			}
			if !reflect.DeepEqual(s, want) {
				t.Errorf("sent\n%+v, want\n%+v", s, want)
			}
		})
	}
}

func get(g storage.Get) func(context.Context, storage.Backend) error {
	g.Name = testName
	return func(ctx context.Context, b storage.Backend) error { return only(b.Get(ctx, &g)) }
}

func list(l storage.List) func(context.Context, storage.Backend) error {
	l.Bucket = testName.Bucket
	return func(ctx context.Context, b storage.Backend) error { return only(b.List(ctx, &l)) }
}

func TestWhatReadsSend(t *testing.T) {
	version := &storage.Get{Name: testName, Version: "v"}
	check(t, []sentCase{
		{name: "Get", answer: "200", want: "GET", call: get(storage.Get{})},
		{
			name: "Get with all there is", answer: "206",
			want:   "GET versionId=v&partNumber=3&response-content-type=a%2Fb",
			header: "Range: bytes=5-9\nIf-Match: \"e\"\nX-Amz-Checksum-Mode: ENABLED",
			call: get(storage.Get{
				Version: "v", Range: &storage.Range{First: 5, Last: 9}, Part: 3, IfMatch: `"e"`, Checksums: true,
				Answer: map[string][]string{"response-content-type": {"a/b"}},
			}),
		},
		{name: "Get from the beginning", answer: "206", want: "GET", header: "Range: bytes=0-", call: get(storage.Get{Range: &storage.Range{Last: -1}})},
		{name: "Get the end", answer: "206", want: "GET", header: "Range: bytes=-7", call: get(storage.Get{Range: &storage.Range{First: -7}})},
		{name: "Head", answer: "200", want: "HEAD versionId=v", call: func(ctx context.Context, b storage.Backend) error {
			return only(b.Head(ctx, version))
		}},
		{
			name: "List", answer: "200 <ListBucketResult></ListBucketResult>",
			want: "GET list-type=2&prefix=p&start-after=s&metadata=true&fetch-owner=true&encoding-type=url",
			call: list(storage.List{Parameters: map[string]string{"prefix": "p", "start-after": "s"}, Metadata: true, Owner: true}),
		},
		{
			name: "List versions", answer: "200 <ListVersionsResult></ListVersionsResult>",
			want: "GET versions=&prefix=&encoding-type=url",
			call: list(storage.List{Versions: true, Parameters: map[string]string{"prefix": ""}, Owner: true}),
		},
		{name: "Tags", answer: "200 <Tagging/>", want: "GET tagging=&versionId=v", call: func(ctx context.Context, b storage.Backend) error {
			return only(b.Tags(ctx, version))
		}},
		{
			name: "ObjectParts", answer: "200 <R/>", want: "GET attributes=&versionId=v", header: "X-Amz-Object-Attributes: ObjectParts",
			call: func(ctx context.Context, b storage.Backend) error { return only(b.ObjectParts(ctx, version)) },
		},
		{name: "ListParts", answer: "200 <R/>", want: "GET uploadId=id&max-parts=1", call: func(ctx context.Context, b storage.Backend) error {
			return only(b.ListParts(ctx, &storage.ListParts{Upload: testUpload, Parameters: map[string]string{"max-parts": "1"}}))
		}},
	})
}

func TestWhatWritesSend(t *testing.T) {
	meta := func() storage.Metadata { return storage.Metadata{"X-Amz-Meta-A": {"1"}} }
	check(t, []sentCase{
		{
			name: "Put", answer: "200", want: "PUT X-Amz-Meta-Bucketseal=rec", body: "data",
			header: "If-Match: \"e\"\nIf-None-Match: *\nX-Amz-Meta-A: 1\nExpect: 100-continue",
			call: func(ctx context.Context, b storage.Backend) error {
				return only(b.Put(ctx, &storage.Put{
					Name: testName, Meta: meta(), Record: "rec", Conditions: storage.Conditions{IfMatch: `"e"`, IfNoneMatch: "*"}, Body: text("data", true),
				}))
			},
		},
		{name: "Put of nothing", answer: "200", want: "PUT", call: func(ctx context.Context, b storage.Backend) error {
			return only(b.Put(ctx, &storage.Put{Name: testName}))
		}},
		{
			name: "Delete", answer: "204", want: "DELETE versionId=v&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD", header: "X-Amz-Mfa: 1",
			call: func(ctx context.Context, b storage.Backend) error {
				said := storage.Metadata{"X-Amz-Mfa": {"1"}, "X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}
				return only(b.Delete(ctx, &storage.Delete{Name: testName, Version: "v", Meta: said}))
			},
		},
		{
			name: "Copy", answer: "200 <R/>", want: "PUT X-Amz-Meta-Bucketseal=rec",
			header: "X-Amz-Meta-A: 1\nX-Amz-Copy-Source: /s/a%20b/c+?versionId=v%2B\nX-Amz-Copy-Source-If-Match: \"e\"\n" +
				"X-Amz-Metadata-Directive: REPLACE\nX-Amz-Tagging-Directive: COPY\nX-Amz-Checksum-Algorithm: CRC32",
			call: func(ctx context.Context, b storage.Backend) error {
				return only(b.Copy(ctx, &storage.Copy{
					Name: testName, Meta: meta(), Record: "rec", SourceMatch: `"e"`, Tagging: "COPY", Checksum: "CRC32",
					Source: storage.Source{Name: sse.Name{Bucket: "s", Key: "a b/c+"}, Version: "v+", Slash: true},
				}))
			},
		},
		{
			name: "CreateUpload", answer: "200 <R><UploadId>id</UploadId></R>", want: "POST uploads=&X-Amz-Meta-Bucketseal=rec",
			header: "X-Amz-Meta-A: 1\nIf-None-Match: *",
			call: func(ctx context.Context, b storage.Backend) error {
				return only(b.CreateUpload(ctx, &storage.CreateUpload{Name: testName, Meta: meta(), Record: "rec", Conditions: storage.Conditions{IfNoneMatch: "*"}}))
			},
		},
		{name: "PutPart", answer: "200", want: "PUT uploadId=id&partNumber=7", header: "X-Amz-Meta-A: 1", body: "data", call: func(ctx context.Context, b storage.Backend) error {
			return only(b.PutPart(ctx, &storage.PutPart{Upload: testUpload, Number: 7, Meta: meta(), Body: text("data", false)}))
		}},
		{
			name: "Complete", answer: "200 <R/>", want: "POST uploadId=id", header: "If-Match: \"e\"",
			body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&lt;e</ETag></Part>" +
				"<Part><PartNumber>9</PartNumber><ETag>f</ETag><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part></CompleteMultipartUpload>",
			call: func(ctx context.Context, b storage.Backend) error {
				parts := []storage.CompletePart{{Number: 1, ETag: "<e"}, {Number: 9, ETag: "f", Algorithm: "CRC32C", Checksum: "AAAAAA=="}}
				return only(b.Complete(ctx, &storage.Complete{Upload: testUpload, Parts: parts, Conditions: storage.Conditions{IfMatch: `"e"`}}))
			},
		},
		{name: "Abort", answer: "204", want: "DELETE uploadId=id", call: func(ctx context.Context, b storage.Backend) error {
			return b.Abort(ctx, &testUpload)
		}},
	})
}

func TestWhatQuestionsSend(t *testing.T) {
	const none = "404 <Error><Code>NoSuchUpload</Code></Error>"
	ask := func(right storage.Right) func(context.Context, storage.Backend) error {
		return func(ctx context.Context, b storage.Backend) error {
			meta := storage.Metadata{"X-Amz-Acl": {"private"}}
			err := b.May(ctx, &storage.Question{Right: right, Name: testName, As: testUpload.As, Meta: meta})
			if len(meta) != 1 {
				return fmt.Errorf("the caller's metadata became %v", meta)
			}
			return err
		}
	}
	check(t, []sentCase{
		{
			name: "write", answer: "412 <Error><Code>PreconditionFailed</Code></Error>", want: "PUT",
			header: "X-Amz-Acl: private\nIf-Match: " + noETag + "\nContent-Md5: " + noMD5, call: ask(storage.WriteObject),
		},
		{name: "send a part", answer: none, want: "PUT partNumber=1&uploadId=" + noUpload, call: ask(storage.SendPart)},
		{
			name: "complete", answer: none, want: "POST uploadId=" + noUpload, call: ask(storage.CompleteUpload),
			body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>d41d8cd98f00b204e9800998ecf8427e</ETag></Part></CompleteMultipartUpload>",
		},
		{name: "abort", answer: none, want: "DELETE uploadId=" + noUpload, call: ask(storage.AbortUpload)},
		{name: "read an upload", answer: none, want: "GET uploadId=" + noUpload, call: ask(storage.ReadUpload)},
		{name: "list uploads", answer: "200", want: "GET uploads=&max-uploads=1&prefix=" + url.QueryEscape(testName.Key), call: ask(storage.ListUploads)},
	})
}

func actorsHeaders() map[string]string {
	return map[string]string{"User-Agent": "curl/8", "Referer": "http://from", "X-Forwarded-For": "192.0.2.7", "X-Real-Ip": "192.0.2.7"}
}

func TestWhoAsks(t *testing.T) {
	t.Parallel()
	client, got := recordingMinIO(t, 200, nil, "")
	s := client.Storage(storage.Credential{AccessKey: "own", SecretKey: "secret"})
	signed := func(h map[string]string) map[string]string {
		h["X-Amz-Content-Sha256"] = "UNSIGNED-PAYLOAD"
		return h
	}
	unsigned := testActor
	unsigned.Credential = nil
	anonymous := actorsHeaders()
	anonymous["anonymous"] = ""
	for _, tt := range []struct {
		name    string
		backend storage.Backend
		header  map[string]string
	}{
		{"a caller", s.As(testActor), signed(actorsHeaders())},
		{"an anonymous caller", s.As(unsigned), anonymous},
		{"a caller who says nothing", s.As(storage.Actor{}), map[string]string{"anonymous": ""}},
		{"the proxy for a caller", s.Own(testActor), signed(actorsHeaders())},
		{"the proxy for an anonymous caller", s.Own(unsigned), signed(actorsHeaders())},
		{"the proxy for itself", s.Own(storage.Actor{}), signed(map[string]string{"User-Agent": "bucketseal"})},
	} {
		for range 2 {
			if _, err := tt.backend.Head(t.Context(), &storage.Get{Name: testName, Version: "v"}); err != nil {
				t.Fatal(err)
			}
			if seen := <-got; !reflect.DeepEqual(seen.header, tt.header) {
				t.Errorf("%s sends %v, want %v", tt.name, seen.header, tt.header)
			}
		}
	}
	if len(testActor.Told) != 3 {
		t.Errorf("what the actor told became %v", testActor.Told)
	}
}

func TestRequestsOfTheProxyAreSignedWithItsOwnCredential(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Authorization") })
	s := client.Storage(storage.Credential{AccessKey: "own", SecretKey: "secret"})
	for who, b := range map[string]storage.Backend{"access": s.As(testActor), "own": s.Own(testActor)} {
		if _, err := b.Head(t.Context(), &storage.Get{Name: testName}); err != nil {
			t.Fatal(err)
		}
		if header := <-got; !strings.Contains(header, "Credential="+who+"/") {
			t.Errorf("signed %q, want %q", header, who)
		}
	}
}

func TestDirectivesOfCopiesAreToldByBothNames(t *testing.T) {
	t.Parallel()
	client, got := recordingMinIO(t, 200, nil, "<R></R>")
	actor := storage.Actor{Told: map[string][]string{storage.ToldDirective: {"COPY"}}}
	if _, err := client.Storage(storage.Credential{}).As(actor).Copy(t.Context(), &storage.Copy{Name: testName}); err != nil {
		t.Fatal(err)
	}
	want := url.Values{storage.ToldDirective: {"COPY"}, "X-Amz-Metadata-Directive": {"COPY"}}
	if s := <-got; !reflect.DeepEqual(s.query, want) || s.header["X-Amz-Metadata-Directive"] != "REPLACE" {
		t.Errorf("sent %+v", s)
	}
}

func TestBodiesAreSignedWhereNothingElseProtectsThem(t *testing.T) {
	t.Parallel()
	again := func() (io.ReadCloser, error) { return nil, errors.New("not called") }
	trailer := storage.Metadata{"X-Amz-Checksum-Crc32": {"AAAAAA=="}}
	for _, tt := range []struct {
		body         storage.Body
		secure       bool
		signed, anew bool
	}{
		{storage.Body{Again: again}, false, false, true},
		{storage.Body{Again: again, Unprotected: true}, true, false, true},
		{storage.Body{Again: again, Unprotected: true}, false, true, false},
		{storage.Body{Again: again, Trailer: trailer}, true, true, false},
	} {
		r := &Request{Header: http.Header{}}
		if r.body(&tt.body, tt.secure); r.SignBody != tt.signed || (r.GetBody != nil) != tt.anew {
			t.Errorf("%+v, secure %v: signed %v, sent anew %v", tt.body, tt.secure, r.SignBody, r.GetBody != nil)
		}
	}
}

func TestTrailersFollowTheirBody(t *testing.T) {
	t.Parallel()
	client, got := recordingMinIO(t, 200, http.Header{"Etag": {md5ETag}}, "")
	trailer := storage.Metadata{"X-Amz-Checksum-Crc32": {"AAAAAA=="}}
	body := storage.Body{Length: 4, Trailer: trailer, Reader: io.MultiReader(strings.NewReader("data"), readerFunc(func([]byte) (int, error) {
		trailer.Set("X-Amz-Checksum-Crc32", "BBBBBB==")
		return 0, io.EOF
	}))}
	if _, err := client.Storage(storage.Credential{}).As(testActor).PutPart(t.Context(), &storage.PutPart{Upload: storage.Upload{Name: testName}, Body: body}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; !strings.Contains(s.body, "\r\ndata\r\n") || !strings.Contains(strings.ToLower(s.body), "x-amz-checksum-crc32:bbbbbb==") {
		t.Errorf("sent %q", s.body)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestFailedBodiesStoreNothingAndAreClosed(t *testing.T) {
	t.Parallel()
	stored := make(chan error, 2)
	client := fakeMinIO(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		stored <- err
	})
	b := client.Storage(storage.Credential{}).As(testActor)
	own := errors.New("the client's fault")
	for name, call := range map[string]func(storage.Body) error{
		"Put": func(body storage.Body) error {
			return only(b.Put(t.Context(), &storage.Put{Name: testName, Body: body}))
		},
		"PutPart": func(body storage.Body) error {
			return only(b.PutPart(t.Context(), &storage.PutPart{Upload: storage.Upload{Name: testName}, Body: body}))
		},
	} {
		closed := &trackedBody{Reader: io.MultiReader(bytes.NewReader(make([]byte, 1<<17)), errorReader{own})}
		if err := call(storage.Body{Reader: closed, Length: 1 << 18}); !errors.Is(err, own) {
			t.Errorf("%s: %v", name, err)
		}
		if !closed.closed {
			t.Errorf("%s left the body open", name)
		}
		if err := <-stored; err == nil {
			t.Errorf("%s: a whole body came", name)
		}
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	client := fakeMinIO(t, func(http.ResponseWriter, *http.Request) {})
	if c := client.Storage(storage.Credential{}).Capabilities(); c.Missing() != "" || !c.ListsMetadata || !c.KeepsCreationDates || !c.Secure {
		t.Errorf("%+v", c)
	}
}
