package server_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
	"github.com/bucketseal/bucketseal/kms/server"
	"github.com/bucketseal/bucketseal/operator/trace"
)

// tracer is a trace.Tracer that notes what it is told.
type tracer struct {
	mu  sync.Mutex
	all []*span
}

type span struct {
	of      *tracer
	parent  trace.Parent
	name    string
	said    map[string]string
	ended   bool
	sampled bool
}

func (t *tracer) add(s *span) *span {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, s)
	return s
}

// Begin implements trace.Tracer.
func (t *tracer) Begin(name string, parent trace.Parent) trace.Recorder {
	return t.add(&span{of: t, name: name, parent: parent, said: make(map[string]string), sampled: parent.Trusted})
}

// Child implements trace.Recorder.
func (s *span) Child(name string) trace.Recorder {
	return s.of.add(&span{of: s.of, name: name, said: make(map[string]string), sampled: true})
}

func (s *span) note(key, value string) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.said[key] = value
}

// Set implements trace.Recorder.
func (s *span) Set(key, value string) { s.note(key, value) }

// SetInt implements trace.Recorder.
func (s *span) SetInt(key string, value int64) { s.note(key, fmt.Sprint(value)) }

// Fail implements trace.Recorder.
func (s *span) Fail(why string) { s.note("failed", why) }

// End implements trace.Recorder.
func (s *span) End() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.ended = true
}

// IDs implements trace.Recorder.
func (s *span) IDs() trace.IDs {
	return trace.IDs{Trace: [16]byte{1}, Span: [8]byte{2}, Sampled: s.sampled}
}

// taken returns the spans of a request, its own first, and forgets them. It ends after the
// answer.
func (t *tracer) taken(test *testing.T) []*span {
	test.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		t.mu.Lock()
		all := t.all
		if len(all) > 0 && all[0].ended {
			t.all = nil
			t.mu.Unlock()
			return all
		}
		t.mu.Unlock()
		if time.Now().After(deadline) {
			test.Fatalf("%d spans, of which the first has not ended", len(all))
		}
	}
}

func TestRequestsAreTraced(t *testing.T) {
	t.Parallel()
	proxy, traces := identity.New(), new(tracer)
	k := start(t, func(_ *kit, c *config.Config, o *server.Options) {
		c.Policies["proxies"] = config.Policy{Allow: []string{"/v1/key/*"}, Identities: []identity.Identity{proxy.Identity()}, Bucketseal: true}
		c.Policies[""] = config.Policy{Bucketseal: true} // not that of somebody without a policy
		o.Tracer = traces
	})
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	ask := func(as identity.APIKey, method, path string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, k.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(trace.Header, parent)
		resp, err := k.asKey(as).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	for _, test := range []struct {
		name         string
		as           identity.APIKey
		method, path string
		trusted      bool
		op, status   string
	}{
		{"a proxy makes a key", proxy, "POST", "/v1/key/create/my-key", true, "kes:key/create", "200"},
		{"a user makes one", k.user, "POST", "/v1/key/create/my-other", false, "kes:key/create", "200"},
		{"the admin looks at one", k.admin, "GET", "/v1/key/describe/my-other", false, "kes:key/describe", "200"},
		{"a user is refused", k.user, "GET", "/v1/policy/list/", false, "kes:policy/list", "403"},
	} {
		ask(test.as, test.method, test.path)
		got := traces.taken(t)
		s := got[0]
		if s.parent.TraceParent != parent || s.parent.Trusted != test.trusted || s.said["bucketseal.operation"] != test.op ||
			s.said["http.response.status_code"] != test.status || s.said["http.request.method"] != test.method {
			t.Errorf("%s: %+v", test.name, s)
		}
	}
	for name, path := range map[string]string{"nobody knows": "/v1/key/describe/my-key", "nobody may": "/version"} {
		ask(k.stranger, "GET", path)
		ask(k.user, "GET", "/v1/status")
		if got := traces.taken(t); len(got) != 1 || got[0].said["bucketseal.operation"] != "kes:status" {
			t.Errorf("a request of whom %s is traced: %+v", name, got[0])
		}
	}
}
