package s3api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/form"
	"github.com/bucketseal/bucketseal/proxy/route"
)

// routeTable finds the route of a request.
type routeTable struct {
	byMethod map[routeClass][]*row // those with the most conditions first
	known    map[string]bool       // parameters that mean something, in small letters
}

type routeClass struct {
	scope  route.Scope
	method string
}

func newRouteTable(rows []row) (*routeTable, error) {
	t := &routeTable{byMethod: make(map[routeClass][]*row), known: knownParameters(rows)}
	for i := range rows {
		r := &rows[i]
		if err := r.Check(r.Handler != nil); err != nil {
			return nil, err
		}
		class := routeClass{r.Scope, r.Method}
		t.byMethod[class] = append(t.byMethod[class], r)
	}
	for _, list := range t.byMethod {
		slices.SortStableFunc(list, func(a, b *row) int { return b.Conditions() - a.Conditions() })
	}
	return t, nil
}

// find returns the route of a request, or route.ErrUnknown or errFormToObject. Every query
// parameter must be one that the route names, given once; what the route ignores is
// removed from query. A refused route says why, whatever else is asked.
func (t *routeTable) find(s route.Scope, method string, query url.Values, header http.Header) (*row, error) {
	for _, r := range t.byMethod[routeClass{s, method}] {
		if !r.Matches(query, header) {
			continue
		}
		if r.Action == route.Refuse {
			return r, nil
		}
		for name := range query {
			if !r.Accepts(name) && t.ignores(r, name) {
				delete(query, name)
			}
		}
		return r, r.CheckQuery(query)
	}
	if s == route.Object && method == http.MethodPost && form.Is(header.Get("Content-Type")) {
		return nil, errFormToObject
	}
	return nil, fmt.Errorf("%s of %q: %w", method, query, route.ErrUnknown)
}
