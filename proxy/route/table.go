package route

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Table finds the row of a request.
type Table[H any] struct {
	byMethod map[class][]*Row[H] // those with the most conditions first
	known    map[string]bool     // parameters that mean something, in small letters
}

type class struct {
	scope  Scope
	method string
}

// NewTable returns the table of rows. It changes them: they are ready for use then. handled
// says whether a row has a handler, and others are parameters that mean something and that
// no row names. The error is that of Row.Check.
func NewTable[H any](rows []Row[H], handled func(*Row[H]) bool, others ...string) (*Table[H], error) {
	t := &Table[H]{byMethod: make(map[class][]*Row[H]), known: knownParameters(rows, others)}
	for i := range rows {
		r := &rows[i]
		if err := r.Check(handled(r)); err != nil {
			return nil, err
		}
		c := class{r.Scope, r.Method}
		t.byMethod[c] = append(t.byMethod[c], r)
	}
	for _, list := range t.byMethod {
		slices.SortStableFunc(list, func(a, b *Row[H]) int { return b.Conditions() - a.Conditions() })
	}
	return t, nil
}

// Find returns the row of a request. Every query parameter must be one that the row names,
// given once; what the row ignores is removed from query. A refused row says why, whatever
// else is asked. ErrUnknown, without a row if there is none at all, or ErrRepeated.
func (t *Table[H]) Find(s Scope, method string, query url.Values, header http.Header) (*Row[H], error) {
	for _, r := range t.byMethod[class{s, method}] {
		if !r.Matches(query, header) {
			continue
		}
		if r.Action == Refuse {
			return r, nil
		}
		for name := range query {
			if !r.Accepts(name) && t.ignores(r, name) {
				delete(query, name)
			}
		}
		return r, r.CheckQuery(query)
	}
	return nil, fmt.Errorf("%s of %q: %w", method, query, ErrUnknown)
}

// IsOwnParameter says whether a parameter is one that clients add for their own
// logs: AWS ignores names that begin with x-, and writes them to its access log.
// Those that begin with x-amz- or x-minio- stand for headers, or may at MinIO.
func IsOwnParameter(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "x-") && !strings.HasPrefix(lower, "x-amz-") && !strings.HasPrefix(lower, "x-minio-")
}

// ignores says whether a parameter that the row does not name is dropped, as S3
// and MinIO drop it. On reads that is every one that means nothing to either
// (cache busters, utm_source); on writes it is those that clients add for their logs. What
// means another operation is never dropped.
func (t *Table[H]) ignores(r *Row[H], name string) bool {
	if t.known[strings.ToLower(name)] {
		return false
	}
	if IsOwnParameter(name) {
		return true
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || name == "" {
		return false
	}
	for _, prefix := range []string{"x-amz-", "x-minio-", "existingobjecttag/", "requestobjecttag", "jwt:", "ldap:"} {
		if strings.HasPrefix(strings.ToLower(name), prefix) {
			return false
		}
	}
	return true
}

// knownParameters are the names, in small letters, of all parameters that mean
// something somewhere.
func knownParameters[H any](rows []Row[H], others []string) map[string]bool {
	known := make(map[string]bool)
	for i := range rows {
		for _, condition := range rows[i].Sub {
			name, _, _ := strings.Cut(condition, "=")
			known[strings.ToLower(name)] = true
		}
		for _, name := range rows[i].Params {
			known[strings.ToLower(name)] = true
		}
	}
	for _, name := range others {
		known[strings.ToLower(name)] = true
	}
	return known
}
