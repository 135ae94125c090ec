package client

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// maxMetrics bounds the text of /v1/metrics.
const maxMetrics = 16 << 20

// Version is what a server says of itself to everybody.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// ServerStatus describes a server and the machine it runs on.
type ServerStatus struct {
	Version       string        `json:"version"`
	OS            string        `json:"os"`
	Arch          string        `json:"arch"`
	UpTime        time.Duration `json:"-"`
	CPUs          int           `json:"num_cpu"`
	UsableCPUs    int           `json:"num_cpu_used"`
	HeapInUse     uint64        `json:"mem_heap_used"`
	StackInUse    uint64        `json:"mem_stack_used"`
	StoreLatency  time.Duration `json:"-"`
	StoreDown     bool          `json:"-"`
	StoreNotReach bool          `json:"keystore_unreachable"`
}

// API describes one endpoint of a server.
type API struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	MaxBody int64  `json:"max_body"`
	// Timeout in seconds; 0 for none.
	Timeout int64 `json:"timeout"`
}

// Policy is a named set of rules. Allow and Deny are sorted path patterns and
// empty where only the description was asked for.
type Policy struct {
	Name  string
	Allow []string
	Deny  []string
	// Bucketseal says that its identities are bucketseal proxies. KES has none.
	Bucketseal bool
	CreatedAt  time.Time
	CreatedBy  string
}

// Identity is a client that a server knows.
type Identity struct {
	Identity  string
	Admin     bool
	Policy    string
	CreatedAt time.Time
	CreatedBy string
	// Allow and Deny are set by DescribeSelf.
	Allow, Deny []string
}

// Version asks any server for its version.
func (c *Client) Version(ctx context.Context) (Version, error) {
	var v Version
	return v, c.get(ctx, "/version", "", maxErrorBody, &v)
}

// ServerStatus asks a server how it is. A store that is down is part of the
// answer, not an error.
func (c *Client) ServerStatus(ctx context.Context) (ServerStatus, error) {
	var out struct {
		ServerStatus
		UpTimeSeconds int64 `json:"uptime"`
		LatencyNanos  int64 `json:"keystore_latency"`
		Unavailable   bool  `json:"keystore_unavailable"`
	}
	if err := c.get(ctx, "/v1/status", "", maxErrorBody, &out); err != nil {
		return ServerStatus{}, err
	}
	s := out.ServerStatus
	s.UpTime = time.Duration(out.UpTimeSeconds) * time.Second
	s.StoreLatency = time.Duration(out.LatencyNanos)
	s.StoreDown = out.Unavailable || out.StoreNotReach
	return s, nil
}

// APIs lists the endpoints of a server.
func (c *Client) APIs(ctx context.Context) ([]API, error) {
	var apis []API
	return apis, c.get(ctx, "/v1/api", "", maxKeyBody, &apis)
}

// Metrics returns a server's metrics in Prometheus's text format.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	text, _, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/metrics", limit: maxMetrics})
	return text, err
}

// ListPolicies returns the names of all policies that begin with prefix.
func (c *Client) ListPolicies(ctx context.Context, prefix string) ([]string, error) {
	return c.list(ctx, "/v1/policy/list/", prefix)
}

// ListIdentities returns all identities that begin with prefix.
func (c *Client) ListIdentities(ctx context.Context, prefix string) ([]string, error) {
	return c.list(ctx, "/v1/identity/list/", prefix)
}

// patterns is a set of path patterns as KES writes it: {"/path": {}}.
type patterns map[string]struct{}

func (p patterns) sorted() []string {
	list := make([]string, 0, len(p))
	for pattern := range p {
		list = append(list, pattern)
	}
	slices.Sort(list)
	return list
}

type policyAnswer struct {
	Name       string    `json:"name"`
	Allow      patterns  `json:"allow"`
	Deny       patterns  `json:"deny"`
	Bucketseal bool      `json:"bucketseal"`
	CreatedAt  time.Time `json:"created_at"`
	CreatedBy  string    `json:"created_by"`
}

// DescribePolicy returns a policy without its rules: ErrPolicyNotFound.
func (c *Client) DescribePolicy(ctx context.Context, name string) (Policy, error) {
	return c.policy(ctx, "/v1/policy/describe/", name)
}

// ReadPolicy returns a policy: ErrPolicyNotFound.
func (c *Client) ReadPolicy(ctx context.Context, name string) (Policy, error) {
	return c.policy(ctx, "/v1/policy/read/", name)
}

func (c *Client) policy(ctx context.Context, path, name string) (Policy, error) {
	if name == "" {
		return Policy{}, fmt.Errorf("%w: no name", ErrPolicyNotFound)
	}
	var p policyAnswer
	if err := c.get(ctx, path, name, maxKeyBody, &p); err != nil {
		return Policy{}, err
	}
	return Policy{Name: name, Allow: p.Allow.sorted(), Deny: p.Deny.sorted(), Bucketseal: p.Bucketseal, CreatedAt: p.CreatedAt, CreatedBy: p.CreatedBy}, nil
}

type identityAnswer struct {
	Identity  string    `json:"identity"`
	Admin     bool      `json:"admin"`
	IsAdmin   bool      `json:"is_admin"`
	Policy    string    `json:"policy"`
	Allow     patterns  `json:"allow"`
	Deny      patterns  `json:"deny"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

func (a *identityAnswer) identity(id string) Identity {
	return Identity{
		Identity: id, Admin: a.Admin || a.IsAdmin, Policy: a.Policy, CreatedAt: a.CreatedAt, CreatedBy: a.CreatedBy,
		Allow: a.Allow.sorted(), Deny: a.Deny.sorted(),
	}
}

// DescribeIdentity returns what a server knows of an identity:
// ErrIdentityNotFound.
func (c *Client) DescribeIdentity(ctx context.Context, id string) (Identity, error) {
	if id == "" {
		return Identity{}, fmt.Errorf("%w: no identity", ErrIdentityNotFound)
	}
	var a identityAnswer
	if err := c.get(ctx, "/v1/identity/describe/", id, maxKeyBody, &a); err != nil {
		return Identity{}, err
	}
	return a.identity(id), nil
}

// DescribeSelf returns what a server knows of the caller, and its policy.
func (c *Client) DescribeSelf(ctx context.Context) (Identity, error) {
	var a identityAnswer
	if err := c.get(ctx, "/v1/identity/self/describe", "", maxKeyBody, &a); err != nil {
		return Identity{}, err
	}
	id := a.Identity
	if id == "" {
		id = c.Identity()
	}
	return a.identity(id), nil
}
