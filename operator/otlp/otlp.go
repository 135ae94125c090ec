// Package otlp records traces with OpenTelemetry's SDK and sends them to a collector by
// OTLP over HTTP, in protobuf. It is the only package that knows the SDK; what is traced
// knows package trace.
//
// It has an exporter of its own: OpenTelemetry's links gRPC, with or without it.
package otlp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"

	"github.com/bucketseal/bucketseal/operator/trace"
)

const (
	// queueSize bounds the spans that wait to be sent; those beyond it are lost.
	queueSize = 4096
	// batchSize is how many go at once, and batchWait how long one waits for others.
	batchSize = 512
	batchWait = 2 * time.Second
	// exportTimeout bounds the sending of a batch, with its repetitions.
	exportTimeout = 20 * time.Second
)

// Options are what New needs.
type Options struct {
	// Endpoint is the collector's URL; without a path, /v1/traces is added. Required.
	Endpoint *url.URL
	// Headers are sent with every request, as in Authorization.
	Headers map[string]string
	// TLS is for an https endpoint; nil means the system's authorities.
	TLS *tls.Config
	// Ratio is the share of the requests that are recorded, 0 to 1.
	Ratio float64
	// Service and Version name this program.
	Service, Version string
	// Logger is told when spans cannot be sent. Required.
	Logger *slog.Logger
	// Metrics registers the tracer's metrics; nil means none.
	Metrics prometheus.Registerer
}

// Tracer is a trace.Tracer. It is safe for concurrent use.
type Tracer struct {
	ratio    float64
	provider *sdk.TracerProvider
	tracer   otel.Tracer
	exporter *exporter
}

// New returns a tracer, which the caller closes. It makes no request.
func New(o Options) (*Tracer, error) {
	if o.Endpoint == nil || o.Logger == nil {
		return nil, errors.New("tracing: incomplete options")
	}
	e := newExporter(o)
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(e, sdk.WithMaxQueueSize(queueSize), sdk.WithMaxExportBatchSize(batchSize), sdk.WithBatchTimeout(batchWait), sdk.WithExportTimeout(exportTimeout)),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version))),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Ratio))),
	)
	return &Tracer{ratio: o.Ratio, provider: provider, tracer: provider.Tracer("bucketseal"), exporter: e}, nil
}

// Close sends what waits, while ctx lasts.
func (t *Tracer) Close(ctx context.Context) error {
	err := t.provider.Shutdown(ctx)
	t.exporter.client.CloseIdleConnections()
	return err
}

// Begin implements trace.Tracer.
func (t *Tracer) Begin(name string, parent trace.Parent) trace.Recorder {
	ctx := context.Background()
	if ids, ok := trace.Parse(parent.TraceParent); ok {
		sampled := ids.Sampled
		if !parent.Trusted {
			sampled = rand.Float64() < t.ratio //nolint:gosec // no secret
		}
		ctx = otel.ContextWithRemoteSpanContext(ctx, otel.NewSpanContext(otel.SpanContextConfig{
			TraceID: ids.Trace, SpanID: ids.Span, TraceFlags: otel.TraceFlags(0).WithSampled(sampled), Remote: true,
		}))
	}
	return t.start(ctx, name, otel.SpanKindServer)
}

func (t *Tracer) start(ctx context.Context, name string, kind otel.SpanKind) *recorder {
	ctx, span := t.tracer.Start(ctx, name, otel.WithSpanKind(kind))
	c := span.SpanContext()
	return &recorder{t: t, ctx: ctx, span: span, ids: trace.IDs{Trace: c.TraceID(), Span: c.SpanID(), Sampled: c.IsSampled()}}
}

// recorder is a trace.Recorder.
type recorder struct {
	t    *Tracer
	ctx  context.Context
	span otel.Span
	ids  trace.IDs
}

// Child implements trace.Recorder.
func (r *recorder) Child(name string) trace.Recorder {
	kind := otel.SpanKindInternal
	if name == "upstream" {
		kind = otel.SpanKindClient
	}
	return r.t.start(r.ctx, name, kind)
}

// Set implements trace.Recorder.
func (r *recorder) Set(key, value string) { r.span.SetAttributes(attribute.String(key, value)) }

// SetInt implements trace.Recorder.
func (r *recorder) SetInt(key string, value int64) {
	r.span.SetAttributes(attribute.Int64(key, value))
}

// Fail implements trace.Recorder.
func (r *recorder) Fail(why string) { r.span.SetStatus(codes.Error, why) }

// End implements trace.Recorder.
func (r *recorder) End() { r.span.End() }

// IDs implements trace.Recorder.
func (r *recorder) IDs() trace.IDs { return r.ids }
