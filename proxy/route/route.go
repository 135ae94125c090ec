// Package route is what the tables of operations are made of: rows that say which request
// is which operation, and what it may have.
package route

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/intake"
)

// Sentinels.
var (
	// ErrUnknown says that a table has no row for a request, or that it has a parameter
	// which its row does not name.
	ErrUnknown = errors.New("unknown operation")
	// ErrRepeated says that a query parameter is given twice.
	ErrRepeated = errors.New("repeated query parameter")
)

// Scope is what a request's path names.
type Scope int

// Scopes, by the paths that they stand for.
const (
	Service Scope = iota // /
	Bucket               // /bucket and /bucket/
	Object               // /bucket/key
	Admin                // below /minio/
)

// Action is what happens to a request of a route.
type Action int

const (
	// Translate says that the proxy answers, asking upstream in its own words.
	Translate Action = iota
	// Forward says that the request goes upstream as it is, signed anew as its caller.
	Forward
	// Refuse says that the answer is NotImplemented: upstream never sees the request.
	Refuse
)

// String returns the word that docs/compatibility.md has for it.
func (a Action) String() string {
	return [...]string{"translate", "forward", "refuse"}[a]
}

// Row is one operation, with a handler of type H.
type Row[H any] struct {
	// Op is the operation's name in S3's documentation.
	Op string
	// Scope, Method, Sub and Header select the route. Sub names the query
	// parameters that must be present, NAME or NAME=VALUE; Header a request
	// header that must be there.
	Scope  Scope
	Method string
	Sub    []string
	Header string
	// Path selects an admin route: below /minio/, and all below it if it ends in /*.
	Path   string
	Action Action
	// Params are the further query parameters the route accepts. Any other makes
	// the request one that this table does not know.
	Params []string
	// Body is the largest body in bytes that is read into memory to be checked
	// and forwarded; 0 means that the route has none, or streams it.
	Body int64
	// Headers are request headers that go upstream besides those of every
	// forwarded request.
	Headers []string
	// Handler serves translated routes.
	Handler H
	// Stream hands every piece of the answer on at once: it may never end.
	Stream bool
	// Bearer marks a route whose handler verifies a bearer token instead of a
	// signature.
	Bearer bool
	// Unplaced marks a route whose handler takes the request's place itself, once it
	// knows who asks.
	Unplaced bool
	// Frees marks a route that deletes data, and does nothing else.
	Frees bool
	// Why is said to the client of a refused route, and in docs/compatibility.md.
	Why string

	common intake.Route
}

// Route is what package intake needs to know of the row.
func (r *Row[H]) Route() *intake.Route { return &r.common }

// Check says whether action and handler fit, and makes the row ready for use.
func (r *Row[H]) Check(handled bool) error {
	if (r.Action == Translate) != handled || (r.Action == Refuse) != (r.Why != "") {
		return fmt.Errorf("route %s: action and handler do not fit", r.Op)
	}
	r.common = intake.Route{Op: r.Op, Body: r.Body, XML: r.Scope != Admin, Headers: r.Headers}
	return nil
}

// Conditions is the number of conditions that select the row besides scope and method.
func (r *Row[H]) Conditions() int {
	n := len(r.Sub)
	if r.Header != "" {
		n++
	}
	return n
}

// CheckQuery refuses parameters that the route does not name, or that are given
// twice.
func (r *Row[H]) CheckQuery(query url.Values) error {
	for name, values := range query {
		if !r.Accepts(name) {
			return fmt.Errorf("%s does not know the parameter %q: %w", r.Op, name, ErrUnknown)
		}
		if len(values) > 1 {
			return fmt.Errorf("parameter %q is repeated: %w", name, ErrRepeated)
		}
	}
	return nil
}

// Matches says whether the conditions hold for a request.
func (r *Row[H]) Matches(query url.Values, header http.Header) bool {
	if r.Header != "" && header.Get(r.Header) == "" {
		return false
	}
	for _, condition := range r.Sub {
		name, want, valued := strings.Cut(condition, "=")
		values, ok := query[name]
		if !ok || valued && values[0] != want {
			return false
		}
	}
	return true
}

// Accepts says whether the row names a query parameter.
func (r *Row[H]) Accepts(name string) bool {
	if slices.Contains(r.Params, name) {
		return true
	}
	return slices.ContainsFunc(r.Sub, func(c string) bool {
		sub, _, _ := strings.Cut(c, "=")
		return sub == name
	})
}
