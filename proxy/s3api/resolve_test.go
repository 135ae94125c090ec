package s3api

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

func testTable(t *testing.T) *table {
	t.Helper()
	table, err := newTable(Routes())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// requestOf returns the query and headers that select a route.
func requestOf(r *row) (url.Values, http.Header) {
	query := url.Values{}
	for _, condition := range r.Sub {
		name, value, _ := strings.Cut(condition, "=")
		query[name] = []string{value}
	}
	header := http.Header{}
	if r.Header != "" {
		header.Set(r.Header, "x")
	}
	return query, header
}

func TestEveryRouteIsFoundByItsOwnRequest(t *testing.T) {
	t.Parallel()
	table := testTable(t)
	ops := make(map[string]bool)
	all := Routes()
	for i := range all {
		want := &all[i]
		if ops[want.Op] {
			t.Errorf("%s stands twice in the table", want.Op)
		}
		ops[want.Op] = true
		query, header := requestOf(want)
		for _, name := range want.Params {
			query[name] = []string{"1"}
		}
		got, err := table.Find(want.Scope, want.Method, query, header)
		if err != nil || got.Op != want.Op {
			t.Errorf("%s with all its parameters: %v, %v", want.Op, got, err)
		}
	}
}

// Whatever means another operation, or something to MinIO, is refused; what means
// nothing to either is dropped on reads, and what clients add for their own logs on writes.
func TestEveryRouteRefusesOrDropsParametersThatItDoesNotName(t *testing.T) {
	t.Parallel()
	table := testTable(t)
	all := Routes()
	for i := range all {
		r := &all[i]
		if r.Action == route.Refuse {
			query, header := requestOf(r)
			for name := range query {
				query[name] = append(query[name], query[name][0])
			}
			query.Set("anything", "1")
			if got, err := table.Find(r.Scope, r.Method, query, header); err != nil || got.Op != r.Op {
				t.Errorf("%s, repeated: %v, %v", r.Op, got, err)
			}
			continue
		}
		for _, name := range []string{"v", "_", "utm_source", "x-purpose", "X-Purpose", "nonsense"} {
			query, header := requestOf(r)
			want := len(query)
			query.Set(name, "1")
			query.Add(name, "2")
			got, err := table.Find(r.Scope, r.Method, query, header)
			if dropped := err == nil && got.Op == r.Op && len(query) == want; dropped != (r.Method == "GET" || r.Method == "HEAD" || route.IsOwnParameter(name)) {
				t.Errorf("%s with %q: %v, %v, %v", r.Op, name, got, err, query)
			}
		}
		for _, name := range []string{"renameObject", "RENAMEOBJECT", "session", "versioninG", "SourceIp", "ExistingObjectTag/a", "x-minio-extract", "X-Amz-Meta-Bucketseal", ""} {
			query, header := requestOf(r)
			query.Set(name, "1")
			if got, err := table.Find(r.Scope, r.Method, query, header); !errors.Is(err, route.ErrUnknown) {
				t.Errorf("%s with %q: %v, %v", r.Op, name, got, err)
			}
		}
	}
}

// isSignatureParameter says whether a parameter never reaches the table.
func isSignatureParameter(t *testing.T, name string) bool {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/?"+url.Values{name: {"1"}}.Encode(), nil)
	query, err := intake.ParseQuery(r)
	if err != nil {
		t.Fatal(err)
	}
	return len(query) == 0
}

func TestRoutesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	all := Routes()
	for i := range all {
		r := &all[i]
		for _, name := range slices.Concat(r.Headers, []string{r.Header}) {
			if name != http.CanonicalHeaderKey(name) {
				t.Errorf("%s: header %q is never found: it is not canonical", r.Op, name)
			}
			if intake.RefuseHeaders(http.Header{name: {"true"}}) != nil {
				t.Errorf("%s lets the header %q through", r.Op, name)
			}
		}
		for _, name := range r.Params {
			if storage.IsReserved(name) || isSignatureParameter(t, name) {
				t.Errorf("%s takes the parameter %q", r.Op, name)
			}
		}
		if hasBody := r.Method == "PUT" || r.Method == "POST"; r.Action == route.Forward && hasBody != (r.Body > 0) {
			t.Errorf("%s: a forwarded %s with room for a body of %d bytes", r.Op, r.Method, r.Body)
		}
	}
}

func TestFindRoute(t *testing.T) {
	t.Parallel()
	table := testTable(t)
	copySource := http.Header{"X-Amz-Copy-Source": {"/b/k"}}
	for _, tt := range []struct {
		name   string
		scope  route.Scope
		method string
		query  string
		header http.Header
		op     string
		err    error
	}{
		{"plain list is version 1", route.Bucket, "GET", "", nil, "ListObjects", nil},
		{"list-type=2", route.Bucket, "GET", "list-type=2", nil, "ListObjectsV2", nil},
		{"list-type=1 is unknown", route.Bucket, "GET", "list-type=1", nil, "", route.ErrUnknown},
		{"list-type empty is unknown", route.Bucket, "GET", "list-type=", nil, "", route.ErrUnknown},
		{"list-type twice", route.Bucket, "GET", "list-type=2&list-type=2", nil, "", route.ErrRepeated},
		{"list-type twice, differing", route.Bucket, "GET", "list-type=2&list-type=1", nil, "", route.ErrRepeated},
		{"two sub-resources", route.Bucket, "GET", "list-type=2&versions", nil, "", route.ErrUnknown},
		{"a sub-resource with a value", route.Bucket, "GET", "policy=x", nil, "GetBucketPolicy", nil},
		{"a sub-resource in other case", route.Bucket, "GET", "Policy", nil, "", route.ErrUnknown},
		{"a sub-resource of another method", route.Bucket, "DELETE", "versioning", nil, "", route.ErrUnknown},
		{"a sub-resource of another scope", route.Object, "GET", "policy", nil, "", route.ErrUnknown},
		{"repeated parameter", route.Object, "GET", "versionId=1&versionId=2", nil, "", route.ErrRepeated},
		{"unknown sub-resource on a PUT", route.Object, "PUT", "renameObject", nil, "", route.ErrUnknown},
		{"unknown method", route.Object, "PATCH", "", nil, "", route.ErrUnknown},
		{"POST of an object without sub-resource", route.Object, "POST", "", nil, "", route.ErrUnknown},
		{"PUT", route.Object, "PUT", "", nil, "PutObject", nil},
		{"PUT with a copy source", route.Object, "PUT", "", copySource, "CopyObject", nil},
		{"GET with a copy source", route.Object, "GET", "", copySource, "GetObject", nil},
		{"part", route.Object, "PUT", "uploadId=u&partNumber=1", nil, "UploadPart", nil},
		{"part with a copy source", route.Object, "PUT", "uploadId=u&partNumber=1", copySource, "UploadPartCopy", nil},
		{"half a part", route.Object, "PUT", "partNumber=1", nil, "", route.ErrUnknown},
		{"tagging with a copy source", route.Object, "PUT", "tagging", copySource, "", route.ErrUnknown},
		{"select", route.Object, "POST", "select&select-type=2", nil, "SelectObjectContent", nil},
		{"select of another type", route.Object, "POST", "select&select-type=1", nil, "", route.ErrUnknown},
		{"GET of a part", route.Object, "GET", "partNumber=1", nil, "GetObject", nil},
		{"a list of parts", route.Object, "GET", "uploadId=u", nil, "ListParts", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			query, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := table.Find(tt.scope, tt.method, query, tt.header)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && got.Op != tt.op {
				t.Fatalf("found %s, want %s", got.Op, tt.op)
			}
		})
	}
}

func TestTableRefusesRoutesThatDoNotFit(t *testing.T) {
	t.Parallel()
	handler := func(*API, http.ResponseWriter, *intake.Request) error { return nil }
	for _, r := range []row{
		{Op: "translated without handler"},
		{Op: "forwarded with handler", Action: route.Forward, Handler: handler},
		{Op: "refused without reason", Action: route.Refuse},
		{Op: "translated with reason", Handler: handler, Why: "x"},
	} {
		if _, err := newTable([]row{r}); err == nil {
			t.Errorf("%s is accepted", r.Op)
		}
	}
}

// routed is what the router made of a request line.
type routed struct {
	scope       route.Scope
	bucket, key string
}

func TestRouterPassesPathsByteForByte(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		target string
		want   routed
	}{
		{"/", routed{route.Service, "", ""}},
		{"/b", routed{route.Bucket, "b", ""}},
		{"/b/", routed{route.Bucket, "b", ""}},
		{"/b/k", routed{route.Object, "b", "k"}},
		{"/b/k/", routed{route.Object, "b", "k/"}},
		{"/b//k", routed{route.Object, "b", "/k"}},
		{"/b/a//b", routed{route.Object, "b", "a//b"}},
		{"/b/a/../b", routed{route.Object, "b", "a/../b"}},
		{"/b/./a", routed{route.Object, "b", "./a"}},
		{"/b/a%2Fb", routed{route.Object, "b", "a%2Fb"}},
		{"/b/%2e%2e/x", routed{route.Object, "b", "%2e%2e/x"}},
		{"/b/a+b%20c", routed{route.Object, "b", "a+b%20c"}},
		{"/b/%0Ax", routed{route.Object, "b", "%0Ax"}},
		{"/b%2Fk", routed{route.Bucket, "b%2Fk", ""}},
		{"//b/k", routed{route.Object, "", ""}},
		{"//", routed{route.Object, "", ""}},
	} {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			var got []routed
			router := newRouter(func(_ http.ResponseWriter, _ *http.Request, s route.Scope, bucket, key string) {
				got = append(got, routed{s, bucket, key})
			})
			for _, method := range []string{"GET", "DELETE"} {
				r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + tt.target + " HTTP/1.1\r\nHost: h\r\n\r\n")))
				if err != nil {
					t.Fatal(err)
				}
				w := httptest.NewRecorder()
				router.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					t.Fatalf("the router itself answers %d", w.Code)
				}
			}
			if want := []routed{tt.want, tt.want}; !slices.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}
