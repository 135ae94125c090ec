package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
)

// maxBody is the limit of bodies, in bytes: a million, as in KES.
const maxBody = 1_000_000

// access says who may call a route.
type access int

const (
	byPolicy access = iota // the admin, and whom a policy allows the path
	byAnyone               // whoever has a certificate
	open                   // everybody, without a certificate
)

// handler serves a request; what it returns becomes the answer if it has
// written none.
type handler func(s *Server, w http.ResponseWriter, r *request) error

// route is one API.
type route struct {
	// method PUT accepts POST too: that is what most clients send.
	method string
	// path ends in "/" where a name follows.
	path string
	// maxBody bounds the body in bytes; 0: bodies are ignored.
	maxBody int64
	// timeout bounds the answer; 0: streams, which end with the connection.
	timeout time.Duration
	access  access
	// audit marks what is logged as an audit event at level INFO even if it
	// succeeds: what changes keys.
	audit  bool
	handle handler
}

// routes is the wire API of KES.
func routes() []route {
	const short, normal, stream = 10 * time.Second, 15 * time.Second, 0
	return []route{
		{http.MethodGet, "/version", 0, short, byAnyone, false, version},
		{http.MethodGet, "/v1/ready", 0, normal, byPolicy, false, ready},
		{http.MethodGet, "/v1/status", 0, normal, byPolicy, false, status},
		{http.MethodGet, "/v1/metrics", 0, normal, byPolicy, false, showMetrics},
		{http.MethodGet, "/v1/api", 0, short, byPolicy, false, listAPIs},

		{http.MethodPut, "/v1/key/create/", 0, normal, byPolicy, true, createKey},
		{http.MethodPut, "/v1/key/import/", maxBody, normal, byPolicy, true, importKey},
		{http.MethodGet, "/v1/key/describe/", 0, normal, byPolicy, false, describeKey},
		{http.MethodDelete, "/v1/key/delete/", 0, normal, byPolicy, true, deleteKey},
		{http.MethodGet, "/v1/key/list/", 0, normal, byPolicy, false, listKeys},
		{http.MethodPut, "/v1/key/generate/", maxBody, normal, byPolicy, false, generateKey},
		{http.MethodPut, "/v1/key/encrypt/", maxBody, normal, byPolicy, false, encryptKey},
		{http.MethodPut, "/v1/key/decrypt/", maxBody, normal, byPolicy, false, decryptKey},
		{http.MethodPut, "/v1/key/hmac/", maxBody, normal, byPolicy, false, hmacKey},

		{http.MethodGet, "/v1/policy/describe/", 0, normal, byPolicy, false, describePolicy},
		{http.MethodGet, "/v1/policy/read/", 0, normal, byPolicy, false, readPolicy},
		{http.MethodGet, "/v1/policy/list/", 0, normal, byPolicy, false, listPolicies},
		{http.MethodGet, "/v1/identity/describe/", 0, normal, byPolicy, false, describeIdentity},
		{http.MethodGet, "/v1/identity/list/", 0, normal, byPolicy, false, listIdentities},
		{http.MethodGet, "/v1/identity/self/describe", 0, normal, byAnyone, false, describeSelf},

		{http.MethodGet, "/v1/log/error", 0, stream, byPolicy, false, streamErrors},
		{http.MethodGet, "/v1/log/audit", 0, stream, byPolicy, false, streamAudit},
	}
}

// configured returns the routes with the settings of the api section.
func configured(api map[string]config.Endpoint) []route {
	all := append(routes(), extensions()...)
	for i := range all {
		set := api[all[i].path]
		if set.Timeout > 0 && all[i].timeout > 0 {
			all[i].timeout = set.Timeout
		}
		if set.SkipAuth && slices.Contains(config.SkippableAPI(), all[i].path) {
			all[i].access = open
		}
	}
	return all
}

// find returns the route of a path and the name that follows it. slash says
// that a route exists at the path with a "/" added.
func find(all []route, path string) (found *route, name string, slash bool) {
	for i := range all {
		r := &all[i]
		switch {
		case path == r.path:
			return r, "", false
		case !strings.HasSuffix(r.path, "/"):
		case strings.HasPrefix(path, r.path):
			return r, path[len(r.path):], false
		case path == r.path[:len(r.path)-1]:
			slash = true
		}
	}
	return nil, "", slash
}

// accepts says whether a request's method fits.
func (r *route) accepts(method string) bool {
	return method == r.method || (r.method == http.MethodPut && method == http.MethodPost)
}
