package proxy

import (
	"bufio"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func testTable(t *testing.T) *routeTable {
	t.Helper()
	table, err := newRouteTable(routes())
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// requestOf returns the query and headers that select a route.
func requestOf(r *route) (url.Values, http.Header) {
	query := url.Values{}
	for _, condition := range r.sub {
		name, value, _ := strings.Cut(condition, "=")
		query[name] = []string{value}
	}
	header := http.Header{}
	if r.header != "" {
		header.Set(r.header, "x")
	}
	return query, header
}

func TestEveryRouteIsFoundByItsOwnRequest(t *testing.T) {
	t.Parallel()
	table := testTable(t)
	ops := make(map[string]bool)
	all := routes()
	for i := range all {
		want := &all[i]
		if ops[want.op] {
			t.Errorf("%s stands twice in the table", want.op)
		}
		ops[want.op] = true
		query, header := requestOf(want)
		for _, name := range want.params {
			query[name] = []string{"1"}
		}
		got, err := table.find(want.scope, want.method, query, header)
		if err != nil || got.op != want.op {
			t.Errorf("%s with all its parameters: %v, %v", want.op, got, err)
		}
	}
}

// Whatever means another operation, or something to MinIO, is refused; what means
// nothing to either is dropped on reads, and what clients add for their own logs on writes.
func TestEveryRouteRefusesOrDropsParametersThatItDoesNotName(t *testing.T) {
	t.Parallel()
	table := testTable(t)
	all := routes()
	for i := range all {
		r := &all[i]
		if r.action == refuse {
			query, header := requestOf(r)
			for name := range query {
				query[name] = append(query[name], query[name][0])
			}
			query.Set("anything", "1")
			if got, err := table.find(r.scope, r.method, query, header); err != nil || got.op != r.op {
				t.Errorf("%s, repeated: %v, %v", r.op, got, err)
			}
			continue
		}
		for _, name := range []string{"v", "_", "utm_source", "x-purpose", "X-Purpose", "nonsense"} {
			query, header := requestOf(r)
			want := len(query)
			query.Set(name, "1")
			query.Add(name, "2")
			got, err := table.find(r.scope, r.method, query, header)
			if dropped := err == nil && got.op == r.op && len(query) == want; dropped != (r.method == "GET" || r.method == "HEAD" || isOwnParameter(name)) {
				t.Errorf("%s with %q: %v, %v, %v", r.op, name, got, err, query)
			}
		}
		for _, name := range []string{"renameObject", "RENAMEOBJECT", "session", "versioninG", "SourceIp", "ExistingObjectTag/a", "x-minio-extract", "X-Amz-Meta-Bucketseal", ""} {
			query, header := requestOf(r)
			query.Set(name, "1")
			if got, err := table.find(r.scope, r.method, query, header); !errors.Is(err, errUnknownOperation) {
				t.Errorf("%s with %q: %v, %v", r.op, name, got, err)
			}
		}
	}
}

func TestRoutesAreWhatTheySay(t *testing.T) {
	t.Parallel()
	all := routes()
	for i := range all {
		r := &all[i]
		for _, name := range slices.Concat(r.headers, []string{r.header}) {
			if name != http.CanonicalHeaderKey(name) {
				t.Errorf("%s: header %q is never found: it is not canonical", r.op, name)
			}
			if isReservedMeta(name) || refusedHeaders[name] {
				t.Errorf("%s lets the header %q through", r.op, name)
			}
		}
		for _, name := range r.params {
			if isReservedName(name) || isSignatureParameter(name) {
				t.Errorf("%s takes the parameter %q", r.op, name)
			}
		}
		if hasBody := r.method == "PUT" || r.method == "POST"; r.action == forward && hasBody != (r.body > 0) {
			t.Errorf("%s: a forwarded %s with room for a body of %d bytes", r.op, r.method, r.body)
		}
	}
}

func TestFindRoute(t *testing.T) {
	t.Parallel()
	table := testTable(t)
	copySource := http.Header{"X-Amz-Copy-Source": {"/b/k"}}
	for _, tt := range []struct {
		name   string
		scope  scope
		method string
		query  string
		header http.Header
		op     string
		err    error
	}{
		{"plain list is version 1", scopeBucket, "GET", "", nil, "ListObjects", nil},
		{"list-type=2", scopeBucket, "GET", "list-type=2", nil, "ListObjectsV2", nil},
		{"list-type=1 is unknown", scopeBucket, "GET", "list-type=1", nil, "", errUnknownOperation},
		{"list-type empty is unknown", scopeBucket, "GET", "list-type=", nil, "", errUnknownOperation},
		{"list-type twice", scopeBucket, "GET", "list-type=2&list-type=2", nil, "", errRepeatedParameter},
		{"list-type twice, differing", scopeBucket, "GET", "list-type=2&list-type=1", nil, "", errRepeatedParameter},
		{"two sub-resources", scopeBucket, "GET", "list-type=2&versions", nil, "", errUnknownOperation},
		{"a sub-resource with a value", scopeBucket, "GET", "policy=x", nil, "GetBucketPolicy", nil},
		{"a sub-resource in other case", scopeBucket, "GET", "Policy", nil, "", errUnknownOperation},
		{"a sub-resource of another method", scopeBucket, "DELETE", "versioning", nil, "", errUnknownOperation},
		{"a sub-resource of another scope", scopeObject, "GET", "policy", nil, "", errUnknownOperation},
		{"repeated parameter", scopeObject, "GET", "versionId=1&versionId=2", nil, "", errRepeatedParameter},
		{"unknown sub-resource on a PUT", scopeObject, "PUT", "renameObject", nil, "", errUnknownOperation},
		{"unknown method", scopeObject, "PATCH", "", nil, "", errUnknownOperation},
		{"POST of an object without sub-resource", scopeObject, "POST", "", nil, "", errUnknownOperation},
		{"PUT", scopeObject, "PUT", "", nil, "PutObject", nil},
		{"PUT with a copy source", scopeObject, "PUT", "", copySource, "CopyObject", nil},
		{"GET with a copy source", scopeObject, "GET", "", copySource, "GetObject", nil},
		{"part", scopeObject, "PUT", "uploadId=u&partNumber=1", nil, "UploadPart", nil},
		{"part with a copy source", scopeObject, "PUT", "uploadId=u&partNumber=1", copySource, "UploadPartCopy", nil},
		{"half a part", scopeObject, "PUT", "partNumber=1", nil, "", errUnknownOperation},
		{"tagging with a copy source", scopeObject, "PUT", "tagging", copySource, "", errUnknownOperation},
		{"select", scopeObject, "POST", "select&select-type=2", nil, "SelectObjectContent", nil},
		{"select of another type", scopeObject, "POST", "select&select-type=1", nil, "", errUnknownOperation},
		{"GET of a part", scopeObject, "GET", "partNumber=1", nil, "GetObject", nil},
		{"a list of parts", scopeObject, "GET", "uploadId=u", nil, "ListParts", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			query, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := table.find(tt.scope, tt.method, query, tt.header)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil && got.op != tt.op {
				t.Fatalf("found %s, want %s", got.op, tt.op)
			}
		})
	}
}

func TestTableRefusesRoutesThatDoNotFit(t *testing.T) {
	t.Parallel()
	handler := func(*Server, http.ResponseWriter, *request) error { return nil }
	for _, r := range []route{
		{op: "translated without handler"},
		{op: "forwarded with handler", action: forward, handler: handler},
		{op: "refused without reason", action: refuse},
		{op: "translated with reason", handler: handler, why: "x"},
	} {
		if _, err := newRouteTable([]route{r}); err == nil {
			t.Errorf("%s is accepted", r.op)
		}
	}
}

// routed is what the router made of a request line.
type routed struct {
	scope       scope
	bucket, key string
}

func TestRouterPassesPathsByteForByte(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		target string
		want   routed
	}{
		{"/", routed{scopeService, "", ""}},
		{"/b", routed{scopeBucket, "b", ""}},
		{"/b/", routed{scopeBucket, "b", ""}},
		{"/b/k", routed{scopeObject, "b", "k"}},
		{"/b/k/", routed{scopeObject, "b", "k/"}},
		{"/b//k", routed{scopeObject, "b", "/k"}},
		{"/b/a//b", routed{scopeObject, "b", "a//b"}},
		{"/b/a/../b", routed{scopeObject, "b", "a/../b"}},
		{"/b/./a", routed{scopeObject, "b", "./a"}},
		{"/b/a%2Fb", routed{scopeObject, "b", "a%2Fb"}},
		{"/b/%2e%2e/x", routed{scopeObject, "b", "%2e%2e/x"}},
		{"/b/a+b%20c", routed{scopeObject, "b", "a+b%20c"}},
		{"/b/%0Ax", routed{scopeObject, "b", "%0Ax"}},
		{"/b%2Fk", routed{scopeBucket, "b%2Fk", ""}},
		{"//b/k", routed{scopeObject, "", ""}},
		{"//", routed{scopeObject, "", ""}},
	} {
		t.Run(tt.target, func(t *testing.T) {
			t.Parallel()
			var got []routed
			router := newRouter(func(_ http.ResponseWriter, _ *http.Request, s scope, bucket, key string) {
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

func TestQueryWithoutTheSignature(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/b/k?versionId=1&x-id=GetObject&X-Amz-Signature=s&X-Amz-Expires=1&X-Amz-Security-Token=t", nil)
	query, err := requestQuery(r)
	if err != nil || len(query) != 1 || query.Get("versionId") != "1" {
		t.Errorf("got %v, %v", query, err)
	}
	for _, raw := range []string{"a=%zz", "a;b", "%"} {
		r.URL.RawQuery = raw
		if _, err := requestQuery(r); !errors.Is(err, errMalformedQuery) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
