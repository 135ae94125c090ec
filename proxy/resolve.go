package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/bucketseal/bucketseal/proxy/form"
)

// routeTable finds the route of a request.
type routeTable struct {
	byMethod map[routeClass][]*route // those with the most conditions first
	known    map[string]bool         // parameters that mean something, in small letters
}

type routeClass struct {
	scope  scope
	method string
}

func newRouteTable(rows []route) (*routeTable, error) {
	t := &routeTable{byMethod: make(map[routeClass][]*route), known: knownParameters(rows)}
	for i := range rows {
		row := &rows[i]
		if err := row.check(); err != nil {
			return nil, err
		}
		class := routeClass{row.scope, row.method}
		t.byMethod[class] = append(t.byMethod[class], row)
	}
	for _, list := range t.byMethod {
		slices.SortStableFunc(list, func(a, b *route) int { return b.conditions() - a.conditions() })
	}
	return t, nil
}

// check says whether action and handler fit.
func (r *route) check() error {
	if (r.action == translate) != (r.handler != nil) || (r.action == refuse) != (r.why != "") {
		return fmt.Errorf("route %s: action and handler do not fit", r.op)
	}
	return nil
}

func (r *route) conditions() int {
	n := len(r.sub)
	if r.header != "" {
		n++
	}
	return n
}

// find returns the route of a request, or errUnknownOperation or errFormToObject. Every query
// parameter must be one that the route names, given once; what the route ignores is
// removed from query. A refused route says why, whatever else is asked.
func (t *routeTable) find(s scope, method string, query url.Values, header http.Header) (*route, error) {
	for _, row := range t.byMethod[routeClass{s, method}] {
		if !row.matches(query, header) {
			continue
		}
		if row.action == refuse {
			return row, nil
		}
		for name := range query {
			if !row.accepts(name) && t.ignores(row, name) {
				delete(query, name)
			}
		}
		return row, row.checkQuery(query)
	}
	if s == scopeObject && method == http.MethodPost && form.Is(header.Get("Content-Type")) {
		return nil, errFormToObject
	}
	return nil, fmt.Errorf("%s of %q: %w", method, query, errUnknownOperation)
}

// checkQuery refuses parameters that the route does not name, or that are given
// twice.
func (r *route) checkQuery(query url.Values) error {
	for name, values := range query {
		if !r.accepts(name) {
			return fmt.Errorf("%s does not know the parameter %q: %w", r.op, name, errUnknownOperation)
		}
		if len(values) > 1 {
			return fmt.Errorf("parameter %q is repeated: %w", name, errRepeatedParameter)
		}
	}
	return nil
}

func (r *route) matches(query url.Values, header http.Header) bool {
	if r.header != "" && header.Get(r.header) == "" {
		return false
	}
	for _, condition := range r.sub {
		name, want, valued := strings.Cut(condition, "=")
		values, ok := query[name]
		if !ok || valued && values[0] != want {
			return false
		}
	}
	return true
}

func (r *route) accepts(name string) bool {
	if slices.Contains(r.params, name) {
		return true
	}
	return slices.ContainsFunc(r.sub, func(c string) bool {
		sub, _, _ := strings.Cut(c, "=")
		return sub == name
	})
}

// newRouter maps path shapes to scopes. It decodes nothing, cleans nothing and
// redirects nothing: keys reach the handlers byte for byte.
func newRouter(serve func(http.ResponseWriter, *http.Request, scope, string, string)) http.Handler {
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	on := func(s scope) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			vars := mux.Vars(r)
			serve(w, r, s, vars["bucket"], vars["key"])
		}
	}
	router.Path("/{bucket:[^/]+}/{key:(?s:.+)}").HandlerFunc(on(scopeObject))
	router.Path("/{bucket:[^/]+}/").HandlerFunc(on(scopeBucket))
	router.Path("/{bucket:[^/]+}").HandlerFunc(on(scopeBucket))
	router.Path("/").HandlerFunc(on(scopeService))
	router.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve(w, r, scopeObject, "", "") // a path that begins with two slashes
	})
	return router
}

// requestQuery returns r's query without the parameters of the signature and the one
// that AWS's SDKs add, or errMalformedQuery.
func requestQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("parse query: %w", errMalformedQuery)
	}
	for name := range query {
		if name == "x-id" || isSignatureParameter(name) {
			delete(query, name)
		}
	}
	return query, nil
}

func isSignatureParameter(name string) bool {
	switch name {
	case "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
		"X-Amz-Signature", "X-Amz-Content-Sha256", "X-Amz-Security-Token":
		return true
	}
	return false
}
