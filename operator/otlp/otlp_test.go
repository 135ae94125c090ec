package otlp

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bucketseal/bucketseal/operator/trace"
)

// sink is a collector that answers with statuses in turn, and then with 200.
type sink struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []int
	requests int
	spans    []*tracepb.Span
	header   http.Header
}

func newSink(t *testing.T, answers ...int) *sink {
	s := &sink{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.requests++
		s.header = r.Header.Clone()
		if len(s.answers) > 0 {
			status := s.answers[0]
			s.answers = s.answers[1:]
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			return
		}
		zip, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, _ := io.ReadAll(zip)
		var sent collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &sent); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		for _, of := range sent.ResourceSpans {
			if a := of.Resource.Attributes; len(a) < 2 || a[0].Value.GetStringValue() != "seal" {
				t.Errorf("resource: %v", a)
			}
			for _, scope := range of.ScopeSpans {
				s.spans = append(s.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *sink) tracer(t *testing.T, ratio float64, o Options) *Tracer {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	o.Endpoint, o.Ratio, o.Service = u, ratio, "seal"
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	tracer, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	tracer.exporter.pause = time.Millisecond
	return tracer
}

func (s *sink) end(t *testing.T, tracer *Tracer) []*tracepb.Span {
	t.Helper()
	if err := tracer.Close(context.Background()); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spans
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"

func TestATreeOfSpansIsSent(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	tracer := s.tracer(t, 0, Options{Headers: map[string]string{"X-Key": "token"}})
	ctx, request := trace.Begin(context.Background(), tracer, "request", trace.Parent{TraceParent: parent + "1", Trusted: true})
	below, child := trace.Start(ctx, "upstream")
	child.Set("key", "value")
	child.SetInt("number", 7)
	child.Fail("no answer")
	header := trace.TraceParent(below)
	child.End()
	request.End()
	spans := s.end(t, tracer)
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	up, down := spans[1], spans[0]
	if up.Name != "request" || up.Kind != tracepb.Span_SPAN_KIND_SERVER || up.Status.GetCode() != 0 || down.Name != "upstream" || down.Kind != tracepb.Span_SPAN_KIND_CLIENT ||
		string(down.ParentSpanId) != string(up.SpanId) || down.Status.GetMessage() != "no answer" || down.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("%v\n%v", up, down)
	}
	if a := down.Attributes; len(a) != 2 || a[0].Value.GetStringValue() != "value" || a[1].Value.GetIntValue() != 7 {
		t.Errorf("attributes %v", a)
	}
	if ids, ok := trace.Parse(header); !ok || string(ids.Span[:]) != string(down.SpanId) || string(ids.Trace[:]) != string(up.TraceId) || !strings.HasPrefix(header, parent[:35]) {
		t.Errorf("the header says %q", header)
	}
	if s.header.Get("X-Key") != "token" || s.header.Get("Content-Type") != "application/x-protobuf" {
		t.Errorf("headers %v", s.header)
	}
}

// Whoever sends requests cannot have all of them recorded, nor keep them from being so.
func TestOnlyATrustedFlagDecides(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	for _, tt := range []struct {
		ratio   float64
		flag    string
		trusted bool
		want    bool
	}{
		{0, "1", false, false}, {0, "1", true, true}, {1, "0", false, true}, {1, "0", true, false}, {1, "x", false, true}, {0, "x", true, false},
	} {
		tracer := s.tracer(t, tt.ratio, Options{})
		ids := tracer.Begin("request", trace.Parent{TraceParent: parent + tt.flag, Trusted: tt.trusted}).IDs()
		if ids.Sampled != tt.want || (tt.flag != "x") != strings.HasPrefix(ids.String(), parent[:35]) {
			t.Errorf("%+v: %v", tt, ids)
		}
		s.end(t, tracer)
	}
}

func TestWhatIsNotTakenIsTriedAgainAndThenLost(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		answers    []int
		requests   int
		sent, lost float64
	}{
		{"taken", nil, 1, 1, 0},
		{"taken later", []int{503, 429}, 3, 1, 0},
		{"never taken", []int{503, 502, 504, 503}, 3, 0, 1},
		{"refused", []int{401}, 1, 0, 1},
		{"sent elsewhere", []int{307}, 1, 0, 1}, // with headers that are secret
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			s, r := newSink(t, tt.answers...), prometheus.NewRegistry()
			tracer := s.tracer(t, 1, Options{Metrics: r, Logger: slog.New(slog.NewTextHandler(&log, nil)), Headers: map[string]string{"Authorization": "token"}})
			tracer.Begin("request", trace.Parent{}).End()
			s.end(t, tracer)
			families, err := r.Gather()
			if err != nil || len(families) != 1 {
				t.Fatalf("%v, %v", families, err)
			}
			m := families[0].GetMetric() // lost, sent
			if s.requests != tt.requests || m[0].GetCounter().GetValue() != tt.lost || m[1].GetCounter().GetValue() != tt.sent {
				t.Errorf("%d requests, %v", s.requests, m)
			}
			if (log.Len() > 0) != (tt.lost > 0) || strings.Contains(log.String(), "token") {
				t.Errorf("log: %s", log.String())
			}
		})
	}
}

// A collector that is away costs requests nothing.
func TestACollectorThatHangsDelaysNobody(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer s.Close()
	defer close(hang)
	u, _ := url.Parse(s.URL)
	tracer, err := New(Options{Endpoint: u, Ratio: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for range 5 * queueSize {
		tracer.Begin("request", trace.Parent{}).End()
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("%d spans took %v", 5*queueSize, took)
	}
}
