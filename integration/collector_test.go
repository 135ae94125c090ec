package integration

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// traceCollector takes traces by OTLP, as a collector does.
type traceCollector struct {
	*httptest.Server

	mu    sync.Mutex
	spans []*tracepb.Span
	text  []byte // all that came, as it was
	auth  []string
}

func newTraceCollector(t *testing.T) *traceCollector {
	t.Helper()
	c := new(traceCollector)
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// ServeHTTP implements http.Handler.
func (c *traceCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := c.take(r); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func (c *traceCollector) take(r *http.Request) error {
	if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return fmt.Errorf("%s of %s", r.URL.Path, r.Header.Get("Content-Type"))
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(zip)
	if err != nil {
		return err
	}
	var sent collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &sent); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text, c.auth = append(c.text, body...), append(c.auth, r.Header.Get("Authorization"))
	for _, of := range sent.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	return nil
}

// trace returns the spans of a trace, once its request's is there.
func (c *traceCollector) trace(t *testing.T, id string) spanTree {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c.mu.Lock()
		var tree spanTree
		whole := false
		for _, s := range c.spans {
			if hex.EncodeToString(s.TraceId) == id {
				tree, whole = append(tree, s), whole || s.Name == "request"
			}
		}
		c.mu.Unlock()
		if whole {
			return tree
		}
		if time.Now().After(deadline) {
			t.Fatalf("no trace %s came", id)
		}
	}
}

// seen returns all that came, as text and as spans.
func (c *traceCollector) seen() ([]byte, []*tracepb.Span, []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.text), slices.Clone(c.spans), slices.Clone(c.auth)
}

// spanTree is one trace.
type spanTree []*tracepb.Span

// below returns the names of the spans right below one, sorted.
func (tree spanTree) below(parent *tracepb.Span) (names []string) {
	for _, s := range tree {
		if string(s.ParentSpanId) == string(parent.SpanId) {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return names
}

// named returns the first span of a name.
func (tree spanTree) named(t *testing.T, name string) *tracepb.Span {
	t.Helper()
	for _, s := range tree {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %s", name)
	return nil
}

// attribute returns an attribute as text, "" for none.
func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			if n := a.Value.GetIntValue(); n != 0 {
				return fmt.Sprint(n)
			}
			return a.Value.GetStringValue()
		}
	}
	return ""
}
